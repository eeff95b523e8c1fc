"""Projections of 3-D dancers by orthographic (1 px = 1 cm) or pinhole cameras; y down, the dancer in the centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS
from d2m.motion.kinematics import hip_midpoint, torso_length

_ANKLES = (JOINTS.index("right_ankle"), JOINTS.index("left_ankle"))
#: Seconds. The floor drifts more slowly than this, and a dancer puts a foot down within it.
_FLOOR_WINDOW_S = 4.0
#: Distance (cm) below which a pinhole camera sees nothing.
_NEAR_CM = 10.0
#: The median torso (neck to hip midpoint) of the ballroom dancers is 50 cm: 2-D motions are scaled to it.
TORSO_CM = 50.0


def floor_height(joints: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """(t, 14, 3) y up -> (t,): slow lower envelope of the lower ankle.

    Motion capture suits and single cameras drift: some of the ballroom dances rise 50 cm in a minute, more than any
    dancer moves up and down. Changes within a few seconds are attributed to the dancer.
    """
    lower: NDArray[np.float64] = joints[:, _ANKLES, 1].min(axis=1).astype(np.float64)
    window = round(_FLOOR_WINDOW_S * fps) | 1
    envelope = minimum_filter1d(lower, window, mode="nearest")
    return np.asarray(gaussian_filter1d(envelope, 0.25 * window, mode="nearest"), np.float64)


def centre(joints: NDArray[np.floating], fps: float = FPS) -> NDArray[np.float64]:
    """(t, 14, 3) y up -> the same without the horizontal path of the hips and the drift of the floor.

    x and z are relative to the hip midpoint of the same frame; y is relative to the dancer's median hip
    height above the floor, so bounces and drops are kept.
    """
    joints = np.asarray(joints, np.float64)
    hips = hip_midpoint(joints)
    floor = floor_height(joints, fps)
    origin = np.stack([hips[:, 0], floor + np.median(hips[:, 1] - floor), hips[:, 2]], axis=-1)
    centred: NDArray[np.float64] = joints - origin[:, None]
    return centred


def project(centred: NDArray[np.floating], yaws: Sequence[float]) -> NDArray[np.float32]:
    """Orthographic projections by cameras that look horizontally at the dancer.

    Args:
        centred: (t, j, 3) cm, y up, right-handed.
        yaws: (v,) degrees; 0 looks along -z (x to the right), 90 looks along -x (-z to the right).

    Returns:
        (v, t, j, 2) pixels, x right, y down. Nothing is mirrored.
    """
    angle = np.deg2rad(np.asarray(yaws, np.float64))[:, None, None]
    x = np.cos(angle) * centred[None, ..., 0] - np.sin(angle) * centred[None, ..., 2]
    y = np.broadcast_to(-centred[None, ..., 1], x.shape)
    return np.stack([x, y], axis=-1).astype(np.float32)


def project_pinhole(
    centred: NDArray[np.floating], yaws: Sequence[float], distance_cm: float = 400.0, focal_px: float | None = None
) -> NDArray[np.float32]:
    """Perspective projections by pinhole cameras that look horizontally at the origin.

    A point at (x, y, z) in the camera's own axes (x right, y up, z towards the camera) is projected to
    focal_px * (x, -y) / (distance_cm - z). As the distance goes to infinity, this becomes :func:`project`.

    Args:
        centred, yaws: as in :func:`project`.
        distance_cm: of the camera from the origin.
        focal_px: focal length in pixels; by default ``distance_cm``, so that 1 px = 1 cm at the origin's depth.

    Returns:
        (v, t, j, 2) pixels from the middle of the picture, x right, y down.

    Raises:
        D2MError: an invalid distance or focal length, or a dancer who reaches the camera.
    """
    focal = distance_cm if focal_px is None else focal_px
    if not (np.isfinite(distance_cm) and np.isfinite(focal) and distance_cm > 0 and focal > 0):
        raise D2MError(f"a camera at {distance_cm:g} cm of focal length {focal:g} px; give both above 0")
    angle = np.deg2rad(np.asarray(yaws, np.float64))[:, None, None]
    x = np.cos(angle) * centred[None, ..., 0] - np.sin(angle) * centred[None, ..., 2]
    depth = distance_cm - (np.sin(angle) * centred[None, ..., 0] + np.cos(angle) * centred[None, ..., 2])
    if depth.size and depth.min() < _NEAR_CM:
        raise D2MError(f"the dancer reaches a camera at {distance_cm:g} cm; centre the motion or move the camera back")
    y = np.broadcast_to(-centred[None, ..., 1], x.shape)
    return np.asarray(np.stack([x, y], axis=-1) * (focal / depth)[..., None], np.float32)


def lift(joints: NDArray[np.floating], torso_cm: float = TORSO_CM) -> NDArray[np.float64]:
    """Pictures (t, 14, 2), y down -> (t, 14, 3), y up, z = 0, scaled to a body whose torso is ``torso_cm`` long.

    The result can be passed to :func:`centre` and :func:`project` (yaw 0) like a 3-D motion, so that kinetic energies
    depend neither on the distance nor on the position of the camera.

    Raises:
        D2MError: a body without extent.
    """
    x = np.asarray(joints, np.float64)
    torso = torso_length(x)
    if not torso > 1e-6:
        raise D2MError("neck and hips coincide; correct the poses")
    flat = np.stack([x[..., 0], -x[..., 1], np.zeros(x.shape[:-1])], axis=-1)
    return np.asarray(flat * (torso_cm / torso), np.float64)
