"""How dances meet a canvas: poses between frames, and one scale and one floor for all panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, N_JOINTS
from d2m.motion.kinematics import torso_length

Poses = NDArray[np.float64]

_ANKLES = [JOINTS.index("right_ankle"), JOINTS.index("left_ankle")]


def check_panels(panels: Sequence[ArrayLike], captions: Sequence[str] | None = None) -> list[Poses]:
    """Panels as float64 (t, 14, 2), joints with a NaN or infinite coordinate all NaN.

    Raises:
        D2MError: no panel, a panel that is not (t, 14, 2) or (t, 28) with t >= 1, too few or many captions.
    """
    out = []
    for k, panel in enumerate(panels):
        try:
            a = np.array(panel, np.float64)
        except (TypeError, ValueError) as e:
            raise D2MError(f"panel {k}: not an array of numbers; give poses (t, 14, 2)") from e
        if a.ndim == 2 and a.shape[1] == 2 * N_JOINTS:
            a = a.reshape(-1, N_JOINTS, 2)
        if a.ndim != 3 or a.shape[1:] != (N_JOINTS, 2) or not len(a):
            raise D2MError(f"panel {k}: poses have shape {a.shape}; give (t, 14, 2) with t >= 1")
        a[~np.isfinite(a).all(-1)] = np.nan
        out.append(a)
    if not out:
        raise D2MError("nothing to draw: give at least one panel of poses (t, 14, 2)")
    if captions is not None and len(captions) != len(out):
        raise D2MError(f"{len(captions)} captions for {len(out)} panels; give one per panel, or none")
    return out


def poses_at(poses: Poses, frames: NDArray[np.float64]) -> Poses:
    """Poses (t, 14, 2) at fractional frame positions (n,): (n, 14, 2).

    Catmull-Rom cubic: it passes through every given pose. The first and last are held outside. A joint that
    is NaN in either neighbouring pose is NaN between them.
    """
    t = len(poses)
    at = np.clip(frames, 0, t - 1)
    i = np.minimum(at.astype(int), max(t - 2, 0))
    u = (at - i)[:, None, None]
    p1, p2 = poses[i], poses[np.minimum(i + 1, t - 1)]
    p0, p3 = poses[np.maximum(i - 1, 0)], poses[np.minimum(i + 2, t - 1)]
    chord = p2 - p1
    m1, m2 = (p2 - p0) / 2, (p3 - p1) / 2
    # No neighbour, at an end or NaN: the chord's own slope.
    m1 = np.where(np.isfinite(m1) & (i > 0)[:, None, None], m1, chord)
    m2 = np.where(np.isfinite(m2) & (i < t - 2)[:, None, None], m2, chord)
    out = p1 + u * (m1 + u * (3 * chord - 2 * m1 - m2 + u * (m1 + m2 - 2 * chord)))
    # On a given pose a missing neighbour must not spread into it.
    placed: Poses = np.where(u == 0, p1, np.where(u == 1, p2, out))
    return placed


def _range(low: NDArray[np.float64], high: NDArray[np.float64], slack: float) -> tuple[float, float]:
    """Range of per-frame extremes, without the frames that leave the 1-99 % range by more than ``slack``."""
    a, b = float(np.percentile(low, 1)) - slack, float(np.percentile(high, 99)) + slack
    return float(low[low >= a].min()), float(high[high <= b].max())


def box(poses: Poses) -> tuple[float, float, float, float, float]:
    """(left, right, top, bottom, floor) of a dance; zeros for no known joint.

    A rare jump or reach counts in full; a joint thrown further than a body goes (two torsos) does not.
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(poses).all(-1))
    poses, known = poses[known.any(1)], known[known.any(1)]
    if not len(poses):
        return 0.0, 0.0, 0.0, 0.0, 0.0
    low = np.where(known[..., None], poses, np.inf).min(1)
    high = np.where(known[..., None], poses, -np.inf).max(1)
    standing: NDArray[np.bool_] = np.asarray(known[:, _ANKLES].all(1))
    if standing.any():
        floor = float(np.percentile(poses[standing][:, _ANKLES, 1].max(1), 90))
    else:
        floor = float(np.percentile(high[:, 1], 90))
    torso = torso_length(poses)
    slack = 2 * torso if torso > 0 else 0.5 * float(np.median((high - low).max(1)))
    left, right = _range(low[:, 0], high[:, 0], slack)
    top, bottom = _range(low[:, 1], high[:, 1], slack)
    return left, right, top, bottom, floor


@dataclass(frozen=True)
class View:
    """pixel = (pose - origin) * scale + anchor; one origin per panel: its dance's middle, on the floor."""

    scale: float
    origins: NDArray[np.float64]  # (panels, 2)
    anchor: NDArray[np.float64]  # (2,): position of the origin in every panel
    torso: float  # length in drawn pixels

    def place(self, poses: Poses, panel: int) -> Poses:
        """Poses (t, 14, 2) to pixels of a panel."""
        pixels: Poses = (poses - self.origins[panel]) * self.scale + self.anchor
        return pixels


def fit(panels: Sequence[Poses], size: tuple[int, int], top: int, bottom: int) -> View:
    """One scale for all panels such that every dance, with its head and thick limbs, fits with a margin.

    Args:
        size: (width, height) of a panel in pixels, of which ``top`` and ``bottom`` rows stay free.
    """
    boxes = np.array([box(p) for p in panels])
    left, right, high, low, floor = boxes.T
    height = max(float((low - high).max()), 1e-6)
    torsos = [t for t in map(torso_length, panels) if t > 0]
    torso = float(np.clip(max(torsos, default=0.3 * height), 0.05 * height, height))
    half = float((right - left).max()) / 2 + 0.30 * torso
    above = float((floor - high).max()) + 0.42 * torso  # the head is a circle round the nose
    below = max(float((low - floor).max()), 0.0) + 0.30 * torso
    room = size[1] - top - bottom
    scale = min(0.94 * size[0] / (2 * half), room / (above + below))
    slack = room - scale * (above + below)
    anchor = np.array([size[0] / 2, top + 0.6 * slack + scale * above])
    return View(scale, np.stack([(left + right) / 2, floor], 1), anchor, scale * torso)
