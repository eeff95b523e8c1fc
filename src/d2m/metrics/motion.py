"""Metrics of a dance: energy, jerk, expansion, symmetry, verticality, errors and seams.

Poses are (t, 14, 2) in pixels at 15 fps, x right and y down; joints in the order of :data:`d2m.core.skeleton.JOINTS`
(COCO / OpenPose). Lengths are in torso lengths (neck to hip midpoint), so that the distance of the camera does not
matter. Dances that are compared (original, neutral, target; real and generated) share one scale,
:func:`common_scale`. A new metric of this kind is a function here and a line in :data:`MOTION_METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, N_JOINTS, UNIT_FRAMES
from d2m.motion.kinematics import ENERGY_UNIT, expansion, hip_midpoint, jerk, kinetic_energy, torso_length, velocity

Floats = NDArray[np.float64]
Array = NDArray[np.floating]

#: Indices that exchange left and right joints.
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
        raise D2MError("the poses have no torso (neck and hips coincide or are missing), so energy has no unit")
    return scale


def in_torso_lengths(poses: Array, scale: float | None = None) -> Floats:
    """(t, 14, 2) px -> torso lengths; ``scale``: px per torso length, the dance's own median if None."""
    p = _check(poses)
    return np.asarray(p / (common_scale([p]) if scale is None else scale), np.float64)


def energy_map(poses: Array, scale: float | None = None, fps: float = FPS) -> Floats:
    """Kinetic energy v^2 / 2 of every joint and frame, (t, 14, 2) px -> (t - 1, 14), torso lengths^2 / s^2."""
    return kinetic_energy(in_torso_lengths(poses, scale), fps)


def mean_energy(poses: Array, scale: float | None = None, fps: float = FPS) -> float:
    """Mean of :func:`energy_map`, torso lengths^2 / s^2."""
    return float(energy_map(poses, scale, fps).mean())


def symmetry(poses: Array) -> Floats:
    """(t, 14, 2) -> (t,) in [0, 1]: 1 if the pose equals its mirror image about the vertical through the hips.

    1 - |p - mirror(p)| / (2 |p|), p relative to the hip midpoint; it refers to the picture, so a dancer seen from the
    side is symmetric only if the limbs overlap.
    """
    p = _check(poses)
    p = p - hip_midpoint(p)[:, None]
    mirrored = p[:, _SWAP] * np.array([-1.0, 1.0])
    apart = np.linalg.norm((p - mirrored).reshape(len(p), -1), axis=1)
    size = np.linalg.norm(p.reshape(len(p), -1), axis=1)
    return np.asarray(1 - apart / np.maximum(2 * size, 1e-12), np.float64)


def verticality(poses: Array, fps: float = FPS) -> float:
    """Share of the kinetic energy that is vertical, in [0, 1]; 0.5 if both directions move alike, nan at rest."""
    square = np.square(velocity(_check(poses), fps)).sum(axis=(0, 1))
    total = float(square.sum())
    return float(square[1] / total) if total > 0 else float("nan")


class Metric(NamedTuple):
    """of: poses (t, 14, 2) in torso lengths and frames per second -> a number. unit: in words."""

    of: Callable[[Floats, float], float]
    unit: str


#: Shown in every table of dances, in reports and evaluation: means over joints and frames.
MOTION_METRICS: dict[str, Metric] = {
    "energy": Metric(lambda p, fps: float(kinetic_energy(p, fps).mean()), ENERGY_UNIT),
    "jerk": Metric(lambda p, fps: float(jerk(p, fps).mean()), "torso lengths/s³"),
    "expansion": Metric(lambda p, _: float(expansion(p).mean()), "torso lengths, of the joints from their centroid"),
    "symmetry": Metric(lambda p, _: float(symmetry(p).mean()), "0 to 1"),
    "verticality": Metric(verticality, "0 to 1"),
}
UNITS = "; ".join(f"{name}: {metric.unit}" for name, metric in MOTION_METRICS.items())


def measure_motion(poses: Array, scale: float | None = None, fps: float = FPS) -> dict[str, float]:
    """All of :data:`MOTION_METRICS` of a dance (t, 14, 2) px."""
    p = in_torso_lengths(poses, scale)
    return {name: metric.of(p, fps) for name, metric in MOTION_METRICS.items()}


def content_distance(dance: Array, original: Array) -> float:
    """Mean distance of joints (t, 14, 2) px from the original's at the same time, in the original's torso lengths."""
    scale = common_scale([original])
    return joint_position_error(in_torso_lengths(dance, scale), in_torso_lengths(original, scale))


def joint_position_error(a: Array, b: Array) -> float:
    """Mean Euclidean distance of joints (MPJPE without alignment), (..., 14, 2) each; in their unit."""
    if a.shape != b.shape:
        raise ValueError(f"joint_position_error: shapes {a.shape} and {b.shape} differ")
    return float(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1).mean())


def boundary_jump_ratio(poses: Array) -> float:
    """Mean joint step from unit to unit over mean joint step within units, of an unwarped dance (t, 14, 2).

    1 is a dance without seams. At least two units.
    """
    steps = np.linalg.norm(np.diff(np.asarray(poses, np.float64), axis=0), axis=-1).mean(-1)
    at_boundary = (np.arange(1, len(poses)) % UNIT_FRAMES) == 0
    if not at_boundary.any():
        raise ValueError("boundary_jump_ratio: needs at least two units")
    return float(steps[at_boundary].mean() / max(steps[~at_boundary].mean(), 1e-12))
