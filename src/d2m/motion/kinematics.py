"""Speed, kinetic energy, jerk, expansion, and the beats of a motion: pure functions of arrays.

Poses are (t frames, j joints, c coordinates), 2-D or 3-D, in any unit of length; results follow that unit,
per second. If a body travels, absolute and root-relative numbers differ a lot; these functions use
the poses as given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from d2m.core.skeleton import LEFT_HIP, NECK, RIGHT_HIP

Array = NDArray[np.floating]

#: The unit of all energies shown to users: v^2 / 2 per joint of mass 1, with lengths in torso lengths.
ENERGY_UNIT = "torso lengths²/s²"
Floats = NDArray[np.float64]


def _check(poses: Array, at_least: int) -> Floats:
    poses = np.asarray(poses)
    if poses.ndim != 3:
        raise ValueError(f"poses are (t, j, c), not {poses.shape}")
    if len(poses) < at_least:
        raise ValueError(f"{at_least} frames are needed, there are {len(poses)}")
    return poses.astype(np.float64, copy=False)


def velocity(poses: Array, fps: float) -> Floats:
    """(t, j, c) -> (t - 1, j, c): forward differences, unit/s."""
    return np.asarray(np.diff(_check(poses, 1), axis=0) * fps, np.float64)


def speed(poses: Array, fps: float) -> Floats:
    """(t, j, c) -> (t - 1, j): length of the velocity, unit/s."""
    return np.asarray(np.linalg.norm(velocity(poses, fps), axis=-1), np.float64)


def kinetic_energy(poses: Array, fps: float) -> Floats:
    """(t, j, c) -> (t - 1, j): v^2 / 2 of every joint (unit mass), unit^2/s^2."""
    return np.asarray(0.5 * np.square(velocity(poses, fps)).sum(axis=-1), np.float64)


def jerk(poses: Array, fps: float) -> Floats:
    """(t, j, c) -> (t - 3, j): length of the third difference, unit/s^3."""
    return np.asarray(np.linalg.norm(np.diff(_check(poses, 1), n=3, axis=0), axis=-1) * fps**3, np.float64)


def hip_midpoint(poses: Array) -> Floats:
    """(t, 14, c) -> (t, c)."""
    return np.asarray(0.5 * (poses[:, RIGHT_HIP] + poses[:, LEFT_HIP]), np.float64)


def torso_length(poses: Array) -> float:
    """(t, 14, c) -> median distance from neck to hip midpoint; ignoring frames that are not finite.

    NaN if there are none. Used as the unit of length, it makes bodies of different sizes comparable. In 2-D, bending
    forward shortens the torso, which is why the median is used.
    """
    poses = _check(poses, 1)
    length = np.linalg.norm(poses[:, NECK] - hip_midpoint(poses), axis=-1)
    length = length[np.isfinite(length)]
    return float(np.median(length)) if len(length) else float("nan")


def expansion(poses: Array) -> Floats:
    """(t, j, c) -> (t,): root mean square distance of the joints from their centroid."""
    poses = _check(poses, 1)
    offsets = poses - poses.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt(np.square(offsets).sum(axis=-1).mean(axis=-1)), np.float64)


def joint_speed(poses: Array, fps: float) -> Floats:
    """(t, j, c) -> (t, j): speed at every frame by central differences (one-sided at the ends)."""
    return np.asarray(np.linalg.norm(np.gradient(_check(poses, 2), axis=0), axis=-1) * fps, np.float64)


def motion_envelope(poses: Array, fps: float, smooth_s: float = 0.05) -> Floats:
    """(t, j, c) -> (t,): mean joint speed at every frame, smoothed by a Gaussian of ``smooth_s`` seconds."""
    mean_speed = joint_speed(poses, fps).mean(axis=1)
    return np.asarray(gaussian_filter1d(mean_speed, smooth_s * fps, mode="nearest"), np.float64)


def parabolic_peaks(x: Array, peaks: NDArray[np.integer]) -> Floats:
    """Positions of local maxima between samples: the vertex of the parabola through each and its neighbours.

    Args:
        x: (t,).
        peaks: indices of local maxima; those at the ends are returned unchanged.
    """
    peaks = np.asarray(peaks)
    inner = np.clip(peaks, 1, max(len(x) - 2, 1))
    left, mid, right = x[inner - 1], x[inner], x[np.minimum(inner + 1, len(x) - 1)]
    curve = left - 2 * mid + right
    shift = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, 1.0), 0.0)
    return np.asarray(peaks + np.where(inner == peaks, np.clip(shift, -0.5, 0.5), 0.0), np.float64)


def kinematic_beats(
    poses: Array, fps: float, prominence: float = 0.1, smooth_s: float = 0.05, min_interval_s: float = 0.2
) -> Floats:
    """Kinematic beats: local minima of the mean joint speed (Lee et al. 2019, section 3.1).

    Args:
        poses: (t, j, c).
        prominence: minimum depth of a minimum, as a fraction of the range (5th to 95th percentile) of the speed.
        smooth_s: width of the smoothing in seconds.
        min_interval_s: of two minima closer than this, the deeper one counts.

    Returns:
        (n,) seconds, increasing; empty if the body stands still.
    """
    if len(poses) < 3:
        return np.empty(0)
    drop = -motion_envelope(poses, fps, smooth_s)
    low, high = np.percentile(drop, [5, 95])
    if high - low <= 1e-9 * max(1.0, abs(low)):
        return np.empty(0)
    distance = max(1, round(min_interval_s * fps))
    peaks, _ = find_peaks(drop, prominence=prominence * (high - low), distance=distance)
    return parabolic_peaks(drop, peaks) / fps
