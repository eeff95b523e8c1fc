"""Physical plausibility: bone lengths, frozen frames, joints outside the stage, foot contact."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LIMBS, N_JOINTS, UNIT_FRAMES
from d2m.motion.kinematics import speed
from d2m.stats.percentiles import percentiles

Array = NDArray[np.floating]
Floats = NDArray[np.float64]

BONES: tuple[str, ...] = tuple(f"{JOINTS[a]} to {JOINTS[b]}".replace("_", " ") for a, b, _ in LIMBS)
#: Mean joint speed (torso lengths/s) below which a frame is frozen; 2 % of the frames of the ballroom dances are.
FROZEN_SPEED = 0.1
#: Distance (torso lengths) outside the range of real dances at which a joint has escaped; and that range (percentiles).
ESCAPE_MARGIN = 0.5
REACH_PERCENTILES = (0.1, 99.9)
#: Rate of the frames between which feet slide in :func:`physical_foot_contact`.
FOOT_FPS = 30.0
#: Torso lengths, about 5 cm for an adult: lower bound of the real width in relative errors.
LEAST_WIDTH = 0.1


def _poses(poses: Array, at_least: int = 1) -> Floats:
    p = np.asarray(poses, np.float64)
    if p.ndim != 3 or p.shape[1:] != (N_JOINTS, 2) or len(p) < at_least or not np.isfinite(p).all():
        raise D2MError(f"poses {p.shape}; give finite (t, 14, 2) with {at_least} frames or more")
    return p


def _scale(scale: float) -> float:
    if not (np.isfinite(scale) and scale > 0):
        raise D2MError(f"a torso of {scale} px is not a unit of length; give the median torso length of the dances")
    return scale


def bone_lengths(poses: Array) -> Floats:
    """(t, 14, 2) px -> (t, 13) px, as projected, in the order of :data:`BONES`."""
    p = _poses(poses)
    ends = np.array([limb[:2] for limb in LIMBS])
    return np.asarray(np.linalg.norm(p[:, ends[:, 0]] - p[:, ends[:, 1]], axis=-1), np.float64)


def bone_drift(poses: Array, window: int = UNIT_FRAMES) -> float:
    """How much the bones' lengths change from window to window of a dance (t, 14, 2); 0 for a rigid body in the plane.

    Mean over the bones of the coefficient of variation, over windows of ``window`` frames, of the 95th percentile of
    the projected length (the length of a bone that lies in the picture plane). Turning away foreshortens real bones
    too, so the best value is that of real dances. nan with fewer than two windows.
    """
    lengths = bone_lengths(poses)
    n = len(lengths) // window
    if n < 2:
        return float("nan")
    longest = np.percentile(lengths[: n * window].reshape(n, window, -1), 95, axis=1)
    return float((longest.std(0) / np.maximum(longest.mean(0), 1e-9)).mean())


def bone_ranges(poses: Array, scale: float) -> Floats:
    """(t, 14, 2) px -> (13, 2): 5th and 95th percentile of every projected bone, torso lengths.

    Args:
        scale: px per torso length.
    """
    return np.asarray(np.percentile(bone_lengths(poses) / _scale(scale), [5, 95], axis=0).T, np.float64)


def range_errors(ranges: Floats, real: Floats) -> Floats:
    """|width - real width| / real width of :func:`bone_ranges` (13, 2) each -> (13,); lower is better.

    The real width is taken to be at least :data:`LEAST_WIDTH`, as ratios to tiny widths are meaningless.
    """
    width, real_width = np.ptp(ranges, axis=1), np.ptp(real, axis=1)
    return np.asarray(np.abs(width - real_width) / np.maximum(real_width, LEAST_WIDTH), np.float64)


def frozen_share(poses: Array, fps: float, scale: float, threshold: float = FROZEN_SPEED) -> float:
    """Share of the steps of a dance (t, 14, 2) px with a mean joint speed below ``threshold`` torso lengths/s.

    Best is the value of real dances, since dancers pause.
    """
    return float((speed(_poses(poses, 2), fps).mean(1) / _scale(scale) < threshold).mean())


class Canvas(NamedTuple):
    """Where the joints of real dances are: (2,) lowest and (2,) highest x and y, torso lengths."""

    low: Floats
    high: Floats

    @classmethod
    def of(cls, dances: Callable[[], Iterable[Array]]) -> Canvas:
        """0.1th to 99.9th percentile of the joints' x and y of real dances, each (t, 14, 2) torso lengths.

        Args:
            dances: returns a new iterable on every call, see :func:`d2m.stats.percentiles.percentiles`.
        """
        return cls(*percentiles(lambda: (_poses(d).reshape(-1, 2) for d in dances()), REACH_PERCENTILES))


def canvas_escape(poses: Array, canvas: Canvas, scale: float, margin: float = ESCAPE_MARGIN) -> float:
    """Share of the frames (t, 14, 2) px with a joint more than ``margin`` torso lengths outside the canvas.

    In [0, 1], lower is better. Hips must be placed as in the dances from which the canvas was computed.
    """
    p = _poses(poses) / _scale(scale)
    outside = (p < canvas.low - margin) | (p > canvas.high + margin)
    return float(outside.any(axis=(1, 2)).mean())


def physical_foot_contact(feet: Array, fps: float) -> float:
    """Does the body accelerate while both feet move? Tseng et al., "EDGE", CVPR 2023, section 4.2; lower is better.

    Mean over frames of |a| v_left v_right, divided by the largest |a|: a the root's acceleration without its downward
    part (gravity needs no foot), v_* how far the slower of a foot's ankle and toe moves horizontally in 1/30 s, a frame
    of theirs. Times 10,000, as published; at least 0, unit m^2 / 10,000. The root stands for the centre of mass, as in
    the authors' evaluation.

    Args:
        feet: (t, 5, 3) metres, y up: root, left ankle, left toe, right ankle, right toe.

    Raises:
        D2MError: another shape (2-D poses have no floor), fewer than three frames, numbers that are not finite.
    """
    p = np.asarray(feet, np.float64)
    if p.ndim != 3 or p.shape[1:] != (5, 3) or len(p) < 3 or not np.isfinite(p).all():
        raise D2MError(
            f"foot contact of {p.shape}; it needs root, ankles and toes in 3-D, (t, 5, 3), three frames or more"
        )
    acceleration = np.diff(p[:, 0], n=2, axis=0) * fps**2
    acceleration[:, 1] = np.maximum(acceleration[:, 1], 0)
    push = np.linalg.norm(acceleration, axis=-1)
    sliding = np.linalg.norm(np.diff(p[1:, 1:], axis=0)[..., [0, 2]], axis=-1) * fps / FOOT_FPS
    left, right = sliding[:, :2].min(1), sliding[:, 2:].min(1)
    return float(1e4 * (push * left * right).mean() / push.max()) if push.max() > 0 else 0.0
