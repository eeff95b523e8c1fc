"""The result of every reader: the 14 joints of one dancer at the file's own frame rate, with confidences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import N_JOINTS


@dataclass(frozen=True, eq=False)
class PoseClip:
    """One dancer's motion, as read from a file.

    joints: (t, 14, 2) pixels, y down, or (t, 14, 3) cm, y up, right-handed; float32, NaN if unseen; in the order of
    :data:`d2m.core.skeleton.JOINTS`. confidence: (t, 14) in [0, 1]; 1 if the format has none, 0 for unseen joints.
    fps: the file's own rate. genre: if the file states one. cm_per_unit: factor applied to 3-D joints because the file
    states their unit.
    """

    joints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    fps: float
    genre: str | None = None
    cm_per_unit: float = 1.0

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.joints) / self.fps


def make_clip(
    joints: NDArray[np.floating],
    fps: float,
    where: str,
    confidence: NDArray[np.floating] | None = None,
    genre: str | None = None,
) -> PoseClip:
    """A checked clip; joints that are not finite, or have confidence 0, become NaN with confidence 0.

    Args:
        joints: (t, 14, 2 or 3).
        where: name of the file in messages.
        confidence: (t, 14); clipped to [0, 1]; by default 1 if the joint is finite.

    Raises:
        D2MError: a wrong shape, fewer than 2 frames, an invalid frame rate.
    """
    with np.errstate(over="ignore"):  # overflow to infinity counts as unseen
        joints = np.array(joints, np.float32)
    if joints.ndim != 3 or joints.shape[1] != N_JOINTS or joints.shape[2] not in (2, 3):
        raise D2MError(f"{where}: poses have shape {joints.shape}; (frames, 14 joints, 2 or 3) is needed")
    if not np.isfinite(fps) or not 1 <= fps <= 1000:
        raise D2MError(f"{where}: fps is {fps:g}; give the frames per second, 1 to 1000")
    if len(joints) < 2:
        raise D2MError(f"{where}: {len(joints)} frames; a motion needs at least 2")
    sure = np.ones(joints.shape[:2], np.float32) if confidence is None else np.array(confidence, np.float32)
    if sure.shape != joints.shape[:2]:
        raise D2MError(
            f"{where}: confidences have shape {sure.shape} for poses {joints.shape}; one per joint is needed"
        )
    sure = np.clip(np.nan_to_num(sure, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    unseen = ~np.isfinite(joints).all(axis=-1) | (sure <= 0)
    joints[unseen], sure[unseen] = np.nan, 0.0
    return PoseClip(joints, sure, float(fps), genre or None)
