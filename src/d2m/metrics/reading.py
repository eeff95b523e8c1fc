"""Reading a dance: energy, jerk, expansion, symmetry and verticality, free of the camera's scale.

Poses are (t, 14, 2) in pixels, x right and y down; joints in the order of :data:`d2m.core.skeleton.JOINTS` (COCO /
OpenPose). Lengths are in torso lengths (neck to hip midpoint), so that a dancer near the camera is no livelier than
one far away. Dances that are compared (original, neutral, target) share one scale, :func:`common_scale`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, N_JOINTS, NECK
from d2m.motion.kinematics import expansion, hip_midpoint, jerk, kinetic_energy, torso_length, velocity

Floats = NDArray[np.float64]
Array = NDArray[np.floating]

ENERGY_UNIT = "torso lengths²/s²"
#: Left joints in the place of right ones and the other way round.
_SWAP = [JOINTS.index(j.replace("right", "#").replace("left", "right").replace("#", "left")) for j in JOINTS]


def _check(poses: Array) -> Floats:
    p = np.asarray(poses, np.float64)
    if p.ndim != 3 or p.shape[1:] != (N_JOINTS, 2) or len(p) < 4:
        raise ValueError(f"poses of shape {p.shape}; give (t, 14, 2) with four frames or more")
    return p


def common_scale(dances: Iterable[Array]) -> float:
    """Median torso length (px) over the frames of all the dances that are to be compared.

    Raises:
        D2MError: no frame shows a torso.
    """
    scale = torso_length(np.concatenate([np.asarray(p, np.float64) for p in dances]))
    if not (np.isfinite(scale) and scale > 0):
        raise D2MError("poses show no torso (neck and hips coincide or are missing); energy has no unit")
    return scale


def drifting_scale(poses: Array, fps: float = FPS, window_s: float = 4.0) -> Floats:
    """(t, 14, 2) -> (t,) running median of the torso length: the scale of a camera that zooms.

    Bends of a dancer are shorter than the window and stay in the dance.
    """
    p = _check(poses)
    torso = np.linalg.norm(p[:, NECK] - hip_midpoint(p), axis=-1)
    window = min(round(window_s * fps) | 1, (len(p) - 1) | 1)
    return np.asarray(np.maximum(median_filter(torso, window, mode="nearest"), 1e-9), np.float64)


def in_torso_lengths(poses: Array, scale: float | Floats | None = None) -> Floats:
    """(t, 14, 2) px -> torso lengths.

    Args:
        scale: px per torso length; the dance's own median where None. With (t,), one per frame, the body is scaled
            about its hips and the hips' path is integrated at the scale of its time: zooming alone is no movement.
    """
    p = _check(poses)
    if scale is None:
        scale = common_scale([p])
    if np.ndim(scale) == 0:
        return np.asarray(p / scale, np.float64)
    s = np.asarray(scale, np.float64)
    if s.shape != (len(p),):
        raise ValueError(f"scale of shape {s.shape} for {len(p)} frames")
    hips = hip_midpoint(p)
    step = np.diff(hips, axis=0) / (0.5 * (s[1:] + s[:-1]))[:, None]
    path = np.concatenate([hips[:1] / s[0], hips[:1] / s[0] + np.cumsum(step, axis=0)])
    return np.asarray((p - hips[:, None]) / s[:, None, None] + path[:, None], np.float64)


def energy_map(poses: Array, scale: float | Floats | None = None, fps: float = FPS) -> Floats:
    """Kinetic energy v^2 / 2 of every joint and frame, (t, 14, 2) -> (t - 1, 14), torso lengths^2 / s^2."""
    return kinetic_energy(in_torso_lengths(poses, scale), fps)


def energy_per_joint(poses: Array, scale: float | Floats | None = None, fps: float = FPS) -> Floats:
    """Mean over frames of :func:`energy_map`, (14,): the study's figure 4."""
    return np.asarray(energy_map(poses, scale, fps).mean(0), np.float64)


def symmetry(poses: Array) -> Floats:
    """(t, 14, 2) -> (t,) in [0, 1]: 1 where the pose equals its mirror image about the vertical through the hips.

    1 - |p - mirror(p)| / (2 |p|), p relative to the hip midpoint; of the picture, so a dancer seen from the side is
    symmetric only where the limbs overlap.
    """
    p = _check(poses)
    p = p - hip_midpoint(p)[:, None]
    mirrored = p[:, _SWAP] * np.array([-1.0, 1.0])
    apart = np.linalg.norm((p - mirrored).reshape(len(p), -1), axis=1)
    size = np.linalg.norm(p.reshape(len(p), -1), axis=1)
    return np.asarray(1 - apart / np.maximum(2 * size, 1e-12), np.float64)


def verticality(poses: Array, fps: float = FPS) -> float:
    """Share of the kinetic energy that is vertical, in [0, 1]; 0.5 where both directions move alike, nan at rest."""
    square = np.square(velocity(_check(poses), fps)).sum(axis=(0, 1))
    total = float(square.sum())
    return float(square[1] / total) if total > 0 else float("nan")


def read_motion(poses: Array, scale: float | Floats | None = None, fps: float = FPS) -> dict[str, float]:
    """The five readings of a dance (t, 14, 2), means over joints and frames.

    Returns:
        energy (torso^2/s^2), jerk (torso/s^3), expansion (torso; rms distance of the joints from their centroid),
        symmetry and verticality (0 to 1).
    """
    p = in_torso_lengths(poses, scale)
    return {
        "energy": float(kinetic_energy(p, fps).mean()),
        "jerk": float(jerk(p, fps).mean()),
        "expansion": float(expansion(p).mean()),
        "symmetry": float(symmetry(p).mean()),
        "verticality": verticality(p, fps),
    }
