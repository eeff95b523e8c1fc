"""Frames and sound to an mp4 that plays everywhere: H.264 (yuv420p) and AAC, the header first (faststart)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import ArrayLike

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS, SAMPLE_RATE
from d2m.draw.render import VIDEO_FPS, Frame, Theme, draw_dance
from d2m.music.sound import Sound, open_sound

Audio = ArrayLike | str | os.PathLike[str] | Sound


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame],
    fps: float = VIDEO_FPS,
    *,
    audio: Audio | None = None,
    sample_rate: int = SAMPLE_RATE,
    duration_s: float | None = None,
    crf: int = 22,
) -> Path:
    """Encode frames, with sound if given; the file appears whole or not at all.

    Args:
        path: the .mp4 file; missing parent folders are made.
        frames: uint8 RGB (height, width, 3), all of one size; an odd size is widened by one pixel.
        fps: frames per second.
        audio: a waveform (n,) or (n, channels) at ``sample_rate``, or a song's file, whose own sound is taken
            at its own rate, in stereo if it is stereo.
        duration_s: of the video in seconds; default: the sound's, else the frames'. Missing frames
            repeat the last, surplus ones are not drawn; sound is cut or followed by silence. The picture
            lasts round(duration_s * fps) frames.
        crf: x264's quality, 0 (lossless) to 51.

    Returns:
        ``path``.

    Raises:
        D2MError: unreadable sound, no frames, wrong or changing shapes, or a file that cannot be written.
    """
    sound = None if audio is None else open_sound(audio, sample_rate)
    if duration_s is None and sound is not None:
        duration_s = sound.seconds
    if not 0 < fps <= 1000 or (duration_s is not None and not 0 < duration_s < float("inf")):
        raise D2MError(f"{path}: cannot write {duration_s} s at {fps} frames/s; give both above 0")
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise D2MError(f"{path}: no frames to write; draw at least one")
    _check(first, first, path)
    stream: Iterator[Frame] = chain([first], source)
    if duration_s is not None:
        stream = _exactly(stream, max(1, round(duration_s * fps)))
    try:
        with atomic_path(path) as temp:
            _encode(temp, stream, first.shape, Fraction(fps).limit_denominator(1001), sound, duration_s, crf, path)
    except av.FFmpegError as e:
        raise D2MError(f"{path}: FFmpeg cannot write it ({e}); install PyAV from PyPI, which includes x264") from e
    return Path(path)


def render_dance(
    path: str | os.PathLike[str],
    panels: Sequence[ArrayLike],
    captions: Sequence[str] | None = None,
    *,
    audio: Audio | None = None,
    sample_rate: int = SAMPLE_RATE,
    seconds: float | None = None,
    size: tuple[int, int] = (512, 512),
    fps_in: float = FPS,
    fps_out: float = VIDEO_FPS,
    theme: str | Theme = "dark",
    crf: int = 22,
) -> Path:
    """Draw dances side by side (:func:`d2m.draw.render.draw_dance`), write them with sound (:func:`write_video`).

    The video lasts ``seconds``, by default as long as the sound, else as the longest dance.

    Raises:
        D2MError: as both.
    """
    sound = None if audio is None else open_sound(audio, sample_rate)
    if seconds is None and sound is not None:
        seconds = sound.seconds
    n = None if seconds is None else max(1, round(seconds * fps_out))
    frames = draw_dance(panels, captions, size=size, fps_in=fps_in, fps_out=fps_out, n_frames_out=n, theme=theme)
    return write_video(path, frames, fps_out, audio=sound, duration_s=seconds, crf=crf)


def _exactly(frames: Iterator[Frame], n: int) -> Iterator[Frame]:
    """The first n frames; if there are fewer, the last one repeats."""
    last = None
    for _ in range(n):
        last = next(frames, last)
        assert last is not None  # the caller has seen one
        yield last


def _check(frame: Frame, first: Frame, path: str | os.PathLike[str]) -> None:
    if (
        frame.ndim != 3
        or frame.shape[2] != 3
        or frame.dtype != np.uint8
        or frame.shape != first.shape
        or not frame.size
    ):
        raise D2MError(
            f"{path}: a frame is {frame.dtype} {frame.shape}, the first {first.dtype} {first.shape}; "
            "give uint8 (height, width, 3), all of one size"
        )


def _encode(
    temp: Path,
    frames: Iterator[Frame],
    shape: tuple[int, ...],
    fps: Fraction,
    sound: Sound | None,
    duration_s: float | None,
    crf: int,
    path: str | os.PathLike[str],
) -> None:
    height, width = shape[:2]
    pad = (height % 2, width % 2)  # yuv420p halves both sizes
    like = np.empty(shape, np.uint8)
    flags = {"movflags": "+faststart", "fflags": "+bitexact"}  # bitexact: no tag that names the encoder
    with av.open(str(temp.absolute()), "w", format="mp4", options=flags) as out:
        video: Any = out.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width + pad[1], height + pad[0], "yuv420p"
        # Flat colours need neither B-frames nor fine motion search: it takes a third less time. One thread
        # measured as fast as several on two cores, and makes the file the same on every machine.
        fast = "subme=1:bframes=0"
        video.options = {"preset": "veryfast", "crf": str(crf), "threads": "1", "x264-params": fast}
        video.codec_context.time_base = 1 / fps
        # BT.601 as cv2 converts, limited.
        video.codec_context.colorspace, video.codec_context.color_range = 6, 1
        track = None if sound is None else _Track(out, sound, duration_s)
        for k, frame in enumerate(frames):
            _check(frame, like, path)
            if any(pad):
                frame = np.pad(frame, ((0, pad[0]), (0, pad[1]), (0, 0)), "edge")
            planes: Any = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            picture.pts, picture.time_base = k, 1 / fps
            out.mux(video.encode(picture))
            if track is not None:
                track.write_until(float((k + 1) / fps))
        out.mux(video.encode(None))
        if track is not None:
            track.finish()


class _Track:
    """The audio stream, written step by step next to the pictures so that players need not seek."""

    def __init__(self, out: Any, sound: Sound, seconds: float | None):
        rates = av.Codec("aac", "w").audio_rates or [sound.rate]
        rate = sound.rate if sound.rate in rates else 44100
        self.out, self.rate, self.done = out, sound.rate, 0
        self.layout = "mono" if sound.channels == 1 else "stereo"
        self.stream = out.add_stream("aac", rate=rate, layout=self.layout)
        self.stream.options = {"aac_coder": "fast"}
        self.stream.bit_rate = min(96_000, 5 * rate) * sound.channels  # AAC holds at most 6 bits a sample
        self.blocks = sound.blocks(None if seconds is None else round(seconds * sound.rate))

    def write_until(self, seconds: float) -> None:
        """Encode sound up to a time, as far as there is any."""
        while self.done < seconds * self.rate:
            block = next(self.blocks, None)
            if block is None:
                return
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self.done, Fraction(1, self.rate)
            self.done += block.shape[1]
            self.out.mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Encode the rest."""
        self.write_until(float("inf"))
        self.out.mux(self.stream.encode(None))


@dataclass(frozen=True)
class VideoInfo:
    """Contents of a video file; durations in seconds, None if there is no such stream."""

    seconds: float
    video_seconds: float
    audio_seconds: float | None
    n_frames: int
    fps: float
    width: int
    height: int
    pix_fmt: str
    video_codec: str
    audio_codec: str | None
    sample_rate: int | None
    channels: int | None


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Read a video file's header.

    Raises:
        D2MError: not a video.
    """
    try:
        with av.open(str(Path(path).absolute())) as f:
            if not f.streams.video:
                raise D2MError(f"{path}: has no video stream; give a video file")
            v, a = f.streams.video[0], f.streams.audio[0] if f.streams.audio else None
            return VideoInfo(
                seconds=float((f.duration or 0) / av.time_base),
                video_seconds=float((v.duration or 0) * (v.time_base or 0)),
                audio_seconds=float((a.duration or 0) * (a.time_base or 0)) if a else None,
                n_frames=v.frames,
                fps=float(v.average_rate or 0),
                width=v.width,
                height=v.height,
                pix_fmt=v.pix_fmt or "",
                video_codec=v.codec_context.name,
                audio_codec=a.codec_context.name if a else None,
                sample_rate=a.rate if a else None,
                channels=a.channels if a else None,
            )
    except (av.FFmpegError, OSError) as e:
        raise D2MError(f"{path}: not a readable video ({e})") from e


def video_gif(path: str | os.PathLike[str], fps: float = 10.0, height: int = 256) -> tuple[bytes, tuple[int, int]]:
    """A video without its sound as a moving GIF, for viewers that play no mp4; returns it and its (width, height).

    Raises:
        D2MError: not a video.
    """
    from PIL import Image

    info = probe(path)
    fps = min(fps, info.fps)
    pictures: list[Any] = []
    size = (max(1, round(info.width * height / info.height)), height)
    with av.open(str(Path(path).absolute())) as f:
        for k, frame in enumerate(f.decode(video=0)):
            if int(k * fps / info.fps) >= len(pictures):
                pictures.append(
                    Image.fromarray(cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA))
                )
    buffer = io.BytesIO()
    flat = [p.quantize(32) for p in pictures]
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=round(1000 / fps), loop=0)
    return buffer.getvalue(), size


def poster(path: str | os.PathLike[str], height: int = 360) -> bytes:
    """A JPEG of the frame in the middle of a video: what a page shows before the video plays.

    Raises:
        D2MError: not a video.
    """
    info = probe(path)
    try:
        with av.open(str(Path(path).absolute())) as f:
            stream, middle = f.streams.video[0], 0.5 * info.video_seconds
            f.seek(round(middle / float(stream.time_base or 1)), stream=stream)  # to the key frame before it
            frame = next(x for x in f.decode(stream) if (x.time or 0.0) >= middle)
    except (av.FFmpegError, OSError, StopIteration) as e:
        raise D2MError(f"{path}: not a readable video ({e})") from e
    size = (max(1, round(info.width * height / info.height)), height)
    picture = cv2.resize(frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
