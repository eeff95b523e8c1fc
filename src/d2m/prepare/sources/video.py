"""Video files: FFmpeg decodes them, a 2-D pose estimator finds people, and one dancer is tracked.

The estimator is any callable from a picture to people (:class:`PoseEstimator`).
:mod:`d2m.prepare.sources.rtmo` runs RTMO on ONNX Runtime (the extra ``video``), with weights from a file that the user
names: ``weights=`` or the environment's ``D2M_POSE_WEIGHTS``. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import N_JOINTS
from d2m.music.containers import MAX_SHORT, is_short, pictures_of, start_of
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.follow import follow
from d2m.prepare.sources.orders import reorder

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
WEIGHTS_VARIABLE = "D2M_POSE_WEIGHTS"
#: Highest rate, fps, at which pictures are processed: more would not improve a dance at 15 fps.
_MAX_FPS = 31.0

# For some containers (avi), decoders place the first picture up to this much after the header's start.
_DELAY_S = 0.1

Picture = NDArray[np.uint8]


class PoseEstimator(Protocol):
    """Finds people in a picture."""

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        """uint8 RGB (height, width, 3) -> (people, 17, 3): COCO-17, x and y in pixels, confidence in [0, 1]."""
        ...


def decode(path: str | Path, max_fps: float = _MAX_FPS) -> tuple[float, Iterator[tuple[float, Picture]]]:
    """Decode a video's first video stream to upright pictures (phones store rotated ones).

    Only every second, third, ... picture is kept, so that there are at most ``max_fps`` per second.

    Returns:
        The frame rate of the yielded pictures, and an iterator of (seconds, RGB picture), on the clock of the film's
            own sound (:func:`d2m.music.containers.start_of`): if the sound starts first, the first picture is not at 0.

    Raises:
        D2MError: not a video, no pictures, or (while iterating) damaged from some point on.
    """
    path = Path(path)
    if not path.is_file():
        raise D2MError(f"{path}: no such video; correct the pose column of the manifest")
    try:
        with av.open(str(path.absolute()), metadata_errors="ignore") as f:
            if not (streams := pictures_of(f)):
                raise D2MError(f"{path}: contains no pictures; give a video")
            rate = float(streams[0].average_rate or streams[0].guessed_rate or 0)
    except (av.FFmpegError, OSError, ValueError, IndexError) as e:
        raise D2MError(f"{path}: not a readable video ({(str(e).splitlines() or [type(e).__name__])[0]})") from e
    if not 1 <= rate <= 1000:
        raise D2MError(f"{path}: its frame rate is {rate:g}; re-encode it at a constant rate")
    step = max(1, int(np.ceil(rate / max_fps)))
    return rate / step, _pictures(path, step)


def _pictures(path: Path, step: int) -> Iterator[tuple[float, Picture]]:
    try:
        with av.open(str(path.absolute()), metadata_errors="ignore") as f:
            stream = pictures_of(f)[0]
            stream.thread_type = "AUTO"
            zero, head = start_of(f), stream.start_time
            ahead = float(head * (stream.time_base or 0) - zero) if zero is not None and head is not None else 0.0
            start: float | None = None
            number, time, stated = -1, 0.0, stream.frames if "mp4" in f.format.name else 0
            ends = float((stream.duration or 0) * (stream.time_base or 0))  # edits are in it, not in the count
            for number, frame in enumerate(f.decode(stream)):
                if number % step:
                    continue
                time = float(frame.time) if frame.time is not None else number / float(stream.average_rate or 1)
                if start is None:
                    # If the first pictures cannot be decoded, use the first time stamp rather than the header's start.
                    begins = 0.0 if zero is None else time - float(zero)
                    start = time - (ahead if abs(begins - ahead) <= _DELAY_S else begins)
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                turns = round(getattr(frame, "rotation", 0) / 90) % 4
                yield time - start, np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
            lasts = time - (start or 0.0) + 1 / float(stream.average_rate or 1)
            if stated - number - 1 > MAX_SHORT * stated and is_short(lasts, ends):
                raise D2MError(
                    f"{path}: is cut off or damaged, {number + 1} of its {stated} pictures can be decoded; copy or "
                    "export it again, or re-encode what is left (ffmpeg -i OLD NEW.mp4)"
                )
    except (av.FFmpegError, OSError, ValueError, IndexError) as e:
        raise D2MError(
            f"{path}: the video breaks off ({(str(e).splitlines() or [type(e).__name__])[0]}); re-encode it"
        ) from e


def _estimator(weights: str | Path | None, path: str | Path) -> PoseEstimator:
    from d2m.prepare.sources.rtmo import Rtmo

    chosen = weights or os.environ.get(WEIGHTS_VARIABLE)
    if not chosen:
        raise D2MError(
            f"{path}: poses of a video need an estimator's weights; export RTMO as ONNX and set {WEIGHTS_VARIABLE}"
        )
    return Rtmo(chosen)


def read_video(
    path: str | Path,
    estimator: PoseEstimator | None = None,
    weights: str | Path | None = None,
    max_fps: float = _MAX_FPS,
) -> PoseClip:
    """Read the poses of one dancer from a video.

    Pictures are assigned to a regular clock by their time stamps; times without a nearby picture (dropped frames,
    variable rates) count as frames without people.

    Args:
        estimator: by default RTMO with ``weights``, or with the file named by ``D2M_POSE_WEIGHTS``.
        max_fps: see :func:`decode`.

    Raises:
        D2MError: not a video, no weights, extra not installed, no people in the pictures.
    """
    fps, pictures = decode(path, max_fps)
    find = estimator if estimator is not None else _estimator(weights, path)
    times: list[float] = []
    people: list[NDArray[np.float32]] = []
    for time, picture in pictures:
        times.append(time)
        people.append(reorder(np.asarray(find(picture), np.float32).reshape(-1, 17, 3), "coco17"))
    if not times:
        raise D2MError(f"{path}: contains no pictures; give a playable video")
    nobody = np.zeros((0, N_JOINTS, 3), np.float32)
    clock = np.arange(int(times[-1] * fps + 0.5) + 1) / fps
    near = _nearest(clock, times)
    frames = [people[i] if abs(times[i] - t) <= 0.75 / fps else nobody for i, t in zip(near, clock, strict=True)]
    poses = follow(frames, fps)
    if not (poses[..., 2] > 0).any():
        raise D2MError(f"{path}: no dancer in {len(frames)} pictures; leave the recording out")
    return make_clip(poses[..., :2], fps, str(path), poses[..., 2])


def _nearest(clock: NDArray[np.float64], times: list[float]) -> NDArray[np.int64]:
    """(n,) for every time of the clock, the index of the nearest picture."""
    known = np.asarray(times)
    if len(known) == 1:
        return np.zeros(len(clock), np.int64)
    right = np.clip(np.searchsorted(known, clock), 1, len(known) - 1)
    return np.where(clock - known[right - 1] <= known[right] - clock, right - 1, right)
