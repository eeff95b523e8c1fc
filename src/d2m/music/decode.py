"""Any sound file to blocks of samples on one clock: the seconds of its container's time stamps.

Second 0 is the start of the first picture or sound (:func:`d2m.music.containers.start_of`): sound that starts after
its pictures is preceded by silence, gaps are silence, and overlaps are dropped. What is damaged becomes silence of its
length, so that nothing after it moves; a file that holds clearly less than its header states is refused. See
docs/adr/0060-one-clock.md.

Healthy wav, flac, ogg, aiff and the like are read by libsndfile, everything else by FFmpeg. Both take the encoder's
delay and padding off.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import soundfile as sf
import soxr

from d2m.music.containers import BLOCK, Blocks, Plan, Replan, check_rate, check_readable, with_channels
from d2m.music.ffmpeg import by_ffmpeg
from d2m.music.headers import first_plan

T = TypeVar("T")


def decode(file: Path, use: Callable[[Blocks], T]) -> tuple[Plan, T]:
    """Pass the blocks of a sound file to ``use``; again from the start if the file turns out to need another reader.

    Returns:
        The plan by which :func:`blocks` reads the same again, and what ``use`` returned.

    Raises:
        D2MError: missing, a folder, empty, no sound, corrupt, damaged beyond repair, or cut off.
    """
    check_readable(file)
    plan = first_plan(file)
    while True:
        try:
            return plan, use(blocks(file, plan))
        except Replan as better:
            plan = better.plan


def blocks(file: Path, plan: Plan) -> Blocks:
    """The blocks of a file, read by a plan that :func:`decode` returned."""
    if not plan.links:
        yield from by_ffmpeg(str(file), file, plan) if plan.ffmpeg else _by_libsndfile(str(file), file, plan)
        return
    first: tuple[int, int] | None = None
    for start, end in plan.links:
        with open(file, "rb") as stream:
            stream.seek(start)
            link = io.BytesIO(stream.read(end - start))
        convert = None
        for rate, planes in by_ffmpeg(link, file, plan) if plan.ffmpeg else _by_libsndfile(link, file, plan):
            first = first or (rate, len(planes))
            if convert is None:
                convert = soxr.ResampleStream(rate, first[0], first[1], dtype="float32")
            planes = with_channels(planes, first[1])
            yield first[0], planes if rate == first[0] else convert.resample_chunk(planes.T).reshape(-1, first[1]).T
        if first is not None and convert is not None and rate != first[0]:
            yield first[0], convert.resample_chunk(np.zeros((0, first[1]), "f4"), last=True).reshape(-1, first[1]).T


def has_sound(file: Path) -> bool:
    """Whether a file's header names a stream of sound; cheap. False for what cannot be read."""
    try:
        with av.open(str(file), metadata_errors="ignore") as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False


def _by_libsndfile(source: str | io.BytesIO, file: Path, plan: Plan) -> Blocks:
    n = 0
    try:
        with sf.SoundFile(source) as sound:
            check_rate(file, sound.samplerate)
            for block in sound.blocks(max(1, BLOCK // sound.channels), dtype="float32", always_2d=True):
                n += len(block)
                yield int(sound.samplerate), block.T
            complete = n == sound.frames
    except (sf.SoundFileError, RuntimeError, TypeError, ValueError):
        complete = False
    if not complete:
        raise Replan(replace(plan, ffmpeg=True))
