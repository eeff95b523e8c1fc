"""Videos that reveal nothing but their content: same codec, length, frame and file size, no metadata."""

from __future__ import annotations

import os
import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from d2m.blind.material import Clip
from d2m.core.errors import D2MError
from d2m.draw.render import THEMES, VIDEO_FPS, Frame, draw_dance
from d2m.draw.video import probe, write_video
from d2m.music.sound import Sound

#: Time stamp of every file: 2000-01-01, since archives cannot represent 1970.
STAMP_S = 946_684_800


@dataclass(frozen=True)
class Excerpt:
    """The part of every dance to a song that is shown, in a square of ``size`` pixels."""

    start_s: float
    seconds: float
    size: int


def read_poses(clip: Clip) -> tuple[NDArray[np.float64], float]:
    """Poses (t, 14, 2) of the clip's version, in pixels, and their frames per second.

    Raises:
        D2MError: unreadable, or another shape.
    """
    path = clip.poses
    assert path is not None
    try:
        with np.load(path, allow_pickle=False) as f:
            key = f"poses_{clip.version}" if clip.version != "target" else "poses"
            poses, fps = np.asarray(f[key], np.float64), float(f["fps"])
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, AttributeError) as e:
        raise D2MError(f"{path}: no poses of version '{clip.version}' and fps in it; d2m infer writes both") from e
    if poses.ndim != 3 or poses.shape[1:] != (14, 2) or not len(poses) or not 0 < fps < 1000:
        raise D2MError(f"{path}: poses {poses.shape} at {fps:g} frames/s; give (t, 14, 2) and a rate above 0")
    return poses, fps


def length_s(clip: Clip, drawn: bool) -> float:
    """Duration of a dance in seconds.

    Raises:
        D2MError: unreadable.
    """
    if drawn:
        poses, fps = read_poses(clip)
        return len(poses) / fps
    assert clip.video is not None
    return probe(clip.video).video_seconds


def frames_of(clip: Clip, part: Excerpt, drawn: bool, frozen: bool) -> Iterator[Frame]:
    """The frames of an excerpt at :data:`d2m.draw.render.VIDEO_FPS`; frozen: only the middle one, repeated."""
    n = round(part.seconds * VIDEO_FPS)
    if drawn:
        poses, fps = read_poses(clip)
        shown = poses[round(part.start_s * fps) : round((part.start_s + part.seconds) * fps) + 1]
        frames = draw_dance([shown], size=(part.size, part.size), fps_in=fps, n_frames_out=n, legend=False)
    else:
        frames = _film(clip, part, n)
    if not frozen:
        return frames
    middle = next(frame for k, frame in enumerate(frames) if k == n // 2)
    return repeat(middle, n)


def _film(clip: Clip, part: Excerpt, n: int) -> Iterator[Frame]:
    """n frames of a video, by its own time stamps, scaled to fit the square."""
    assert clip.video is not None
    try:
        with av.open(str(clip.video.absolute())) as f:
            pictures = ((float(x.time or 0.0), x) for x in f.decode(video=0))
            _, picture = next(pictures)
            coming = next(pictures, None)
            drawn, square = None, np.empty(0, np.uint8)
            for k in range(n):
                while coming is not None and coming[0] <= part.start_s + k / VIDEO_FPS + 1e-6:
                    picture, coming = coming[1], next(pictures, None)
                if picture is not drawn:
                    drawn, square = (
                        picture,
                        _square(np.asarray(picture.to_ndarray(format="rgb24"), np.uint8), part.size),
                    )
                yield square
    except (av.FFmpegError, OSError, StopIteration) as e:
        raise D2MError(f"{clip.video}: not a readable video ({e})") from e


def _square(image: Frame, size: int) -> Frame:
    """An image scaled to fit a square, padded with the background colour."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    small = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    out = np.empty((size, size, 3), np.uint8)
    out[:] = THEMES["dark"].background
    y, x = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out


def sound_of(sound: Sound, part: Excerpt) -> tuple[NDArray[np.float32], int]:
    """The excerpt of a song, (n, channels), and its samples per second; padded with silence."""
    low, high = round(part.start_s * sound.rate), round((part.start_s + part.seconds) * sound.rate)
    return np.concatenate(list(sound.blocks(high)), axis=1)[:, low:high].T, sound.rate


def write_clip(
    path: Path, clip: Clip, part: Excerpt, *, drawn: bool, frozen: bool, sound: tuple[NDArray[np.float32], int] | None
) -> None:
    """Encode one dance.

    Raises:
        D2MError: unreadable, or it cannot be written.
    """
    frames = frames_of(clip, part, drawn, frozen)
    wave, rate = sound or (None, 1)
    write_video(path, frames, audio=wave, sample_rate=rate, duration_s=part.seconds)


def level(files: Sequence[Path], secret: bytes) -> int:
    """Pad files to equal size with a ``free`` box of noise, which players ignore; returns the size in bytes.

    The noise depends on the secret and the file name, so that two videos of the same dance differ in their bytes.
    """
    size = 1024 * (max(f.stat().st_size for f in files) // 1024 + 2)
    for file in files:
        left = size - file.stat().st_size
        noise = random.Random(secret + file.name.encode()).randbytes(left - 8)
        with open(file, "ab") as f:
            f.write(left.to_bytes(4, "big") + b"free" + noise)
    return size


def stamp(folder: Path) -> None:
    """Give a folder and everything in it the same modification time."""
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        os.utime(path, (STAMP_S, STAMP_S))
