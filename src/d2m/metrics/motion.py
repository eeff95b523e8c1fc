"""Motion metrics on poses (t, 14, 2) in pixels at 15 fps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import FPS, UNIT_FRAMES
from d2m.motion.kinematics import kinetic_energy


def mean_kinetic_energy(poses: NDArray[np.floating]) -> float:
    """1/2 v^2 (px^2/s^2; unit mass), averaged over joints and frames. At least two frames."""
    return float(np.mean(kinetic_energy(poses, FPS)))


def joint_position_error(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Mean Euclidean distance of joints (MPJPE without alignment), (..., 14, 2) each; in their unit."""
    if a.shape != b.shape:
        raise ValueError(f"joint_position_error: shapes {a.shape} and {b.shape} differ")
    return float(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1).mean())


def boundary_jump_ratio(poses: NDArray[np.floating]) -> float:
    """Mean joint step from unit to unit over mean joint step within units, of an unwarped dance (t, 14, 2).

    1 is a dance without seams. At least two units.
    """
    steps = np.linalg.norm(np.diff(np.asarray(poses, np.float64), axis=0), axis=-1).mean(-1)
    at_boundary = (np.arange(1, len(poses)) % UNIT_FRAMES) == 0
    if not at_boundary.any():
        raise ValueError("boundary_jump_ratio: needs at least two units")
    return float(steps[at_boundary].mean() / max(steps[~at_boundary].mean(), 1e-12))
