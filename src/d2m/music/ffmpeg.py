"""Sound that FFmpeg decodes, put on one clock: by time stamps, or by bytes if the container stores none."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from d2m.core.errors import D2MError
from d2m.music.containers import (
    BLOCK,
    MAX_SHORT,
    STATED,
    Blocks,
    Plan,
    Planes,
    Replan,
    check_rate,
    corrupt,
    damaged,
    incomplete,
    is_short,
    pictures_of,
    start_of,
    with_channels,
)  # fmt: skip
from d2m.music.headers import id3_bytes, read_at

# Time stamps may be this far off before samples are added or dropped: some containers count milliseconds, phones
# stamp what their clock says. Less than one dance frame.
_JITTER_S = 0.04
# More silence than this is not a gap but broken time stamps.
_MAX_GAP_S = 600.0
# A jump back by more, or in formats that may be spliced forward by more, starts a new recording: FFmpeg's own rule.
_SPLICE_BACK_S, _SPLICE_ON_S = 1.0, 10.0
_SPLICED = frozenset(("mpegts", "mpeg", "ogg"))
# Their time stamps are counted by FFmpeg: what cannot be read does not show in them.
_COUNTED = frozenset(("mp3", "aac", "ac3", "eac3"))
# Whose sound has no gaps unless something is lost.
_GAPLESS = frozenset(("flac", "ogg"))
# A file with more than this share of damage is refused.
_MAX_DAMAGED = 0.1
# Bytes: tags after the sound may be as long.
_TAGS = 1 << 16
# The padding that a coder may leave beyond the length that an mp4 states.
_PADDING_S = 0.2


def by_ffmpeg(source: str | io.BytesIO, file: Path, plan: Plan) -> Blocks:
    try:
        with av.open(source, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise D2MError(f"{file}: has no audio stream; give a file with sound")
            reader = _Counted(container, file, plan) if container.format.name in _COUNTED else _Stamped(container, file)
            yield from reader.blocks()
    except (av.FFmpegError, OSError, ValueError, IndexError):  # IndexError: PyAV, of a stream that begins later
        raise corrupt(file) from None


class _Reader:
    """The first stream of sound of a container, packet by packet, as float planes."""

    def __init__(self, container: Any, file: Path):
        self.container, self.file = container, file
        self.stream = container.streams.audio[0]
        if self.stream.codec_context is None:  # no decoder knows it
            raise corrupt(file)
        self.rate = int(self.stream.rate or 0)
        check_rate(file, self.rate)
        self.n = 0  # samples put out so far
        self.n_damaged = 0  # of them silence in place of what is damaged
        self.channels = 0
        self.start = Fraction(0)  # second 0 in the container's own time
        self._convert: Any = None
        self._kind: tuple[Any, ...] = ()

    def planes(self, frame: Any) -> Iterator[Planes]:
        """A frame's samples; None empties the converter."""
        kind = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind is not None and kind != self._kind:
            if self._convert is not None:
                yield from self.planes(None)
            self._kind, self._convert = kind, av.AudioResampler(format="fltp", rate=self.rate)
        if self._convert is None:
            return
        for block in self._convert.resample(frame):
            planes = block.to_ndarray()
            self.channels = self.channels or len(planes)
            yield with_channels(planes.astype(np.float32, copy=False), self.channels)

    def put(self, planes: Planes) -> tuple[int, Planes]:
        self.n += planes.shape[1]
        return self.rate, planes

    def silence(self, n: int, damaged: bool) -> Blocks:
        if n > _MAX_GAP_S * self.rate:
            raise D2MError(f"{self.file}: its time stamps jump by {n / self.rate:.0f} s; re-encode it")
        self.n_damaged += n if damaged else 0
        length = self.container.duration
        if damaged is False and length and (self.n + n) / self.rate > length / av.time_base + 1:
            raise D2MError(f"{self.file}: its time stamps lie outside its {length / av.time_base:.1f} s; re-encode it")
        step = max(1, BLOCK // max(self.channels, 1))
        for at in range(0, n, step):
            yield self.put(np.zeros((self.channels, min(step, n - at)), np.float32))

    def check(self, stated: float | None) -> None:
        """Check that enough was decoded. stated: number of samples by the header."""
        if not self.n and (stated or self.container.format.name not in STATED):
            raise corrupt(self.file)
        whole = max(self.n, stated or 0)
        if self.n_damaged > _MAX_DAMAGED * whole:
            raise damaged(self.file, (self.n - self.n_damaged) / self.rate, whole / self.rate)
        if stated and is_short(self.n / self.rate, stated / self.rate):
            raise incomplete(self.file, self.n / self.rate, stated / self.rate)


class _Stamped(_Reader):
    """A container that stores time stamps."""

    def blocks(self) -> Blocks:
        zero = start_of(self.container)
        name = self.container.format.name
        broken = False
        n_packets = n_broken = 0
        length = self.stream.duration and self.stream.duration * self.stream.time_base * self.rate
        end: int | None = None
        tail: list[Planes] = []  # beyond the end that an mp4 states
        for packet in self.container.demux(self.stream):
            n_packets += 1
            try:
                frames = [*packet.decode(), *([None] if packet.dts is None and packet.size == 0 else [])]
            except av.FFmpegError:
                n_broken, broken = n_broken + 1, True
                continue
            for frame in frames:
                late = 0
                if frame is not None and frame.pts is not None and frame.time_base:
                    time = frame.pts * frame.time_base
                    zero = time if zero is None else zero
                    self.start = self.start if self.n else zero
                    late = round((time - zero) * self.rate) - self.n
                    back = not self.n or late < -_SPLICE_BACK_S * self.rate
                    if (late < 0 and back) or (late > _SPLICE_ON_S * self.rate and self.n and name in _SPLICED):
                        zero, late = time - Fraction(self.n, self.rate), 0
                    elif self.n and abs(late) <= (0.001 if broken else _JITTER_S) * self.rate:
                        late = 0
                for planes in self.planes(frame):
                    if late > 0:
                        yield from self.silence(late, damaged=broken or name in _GAPLESS)
                        late = 0
                    if end is None and length and "mp4" in name:
                        end = self.n + round(length)
                    drop = min(-late, planes.shape[1])
                    late += drop
                    planes = planes[:, drop:]
                    broken = False
                    room = planes.shape[1] if end is None else max(0, end - self.n)
                    if planes[:, :room].size:
                        yield self.put(planes[:, :room])
                    if planes[:, room:].size:
                        tail.append(planes[:, room:])
        if sum(t.shape[1] for t in tail) > _PADDING_S * self.rate:  # no padding: the header is wrong
            yield from (self.put(t) for t in tail)
        if n_broken > _MAX_DAMAGED * n_packets:
            raise corrupt(self.file)
        self.check(self._stated() or (1.0 if n_broken else None))

    def _stated(self) -> float | None:
        """Samples by the header."""
        name = self.container.format.name
        if name in STATED and self.stream.duration:
            return float(self.stream.duration * self.stream.time_base * self.rate)
        if name == "matroska,webm":
            hours = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self.stream.metadata.get("DURATION", ""))
            if hours:
                end = int(hours[1]) * 3600 + int(hours[2]) * 60 + float(hours[3])
            elif not pictures_of(self.container) and self.container.duration:
                end = self.container.duration / av.time_base
            else:
                return None
            return (end - max(float(self.start), 0)) * self.rate
        return None


class _Counted(_Reader):
    """A bare stream of coded frames: what was lost follows from the bytes that could not be decoded.

    If the header states the length (most MP3 files), the silences restore it exactly.
    """

    def __init__(self, container: Any, file: Path, plan: Plan):
        super().__init__(container, file)
        self.plan = plan

    def blocks(self) -> Blocks:
        losses: list[int] = []  # bytes
        lost = good = n_good = samples = 0
        reached: int | None = None
        silences = list(self.plan.silences or ())
        for packet in self.container.demux(self.stream):
            if packet.pos is not None and packet.size:
                lost += max(0, packet.pos - reached) if reached is not None else 0
                reached = packet.pos + packet.size
            try:
                frames = [*packet.decode(), *([None] if packet.dts is None and packet.size == 0 else [])]
            except av.FFmpegError:
                lost += packet.size
                continue
            good, n_good = good + packet.size, n_good + bool(packet.size)
            samples = max((f.samples for f in frames if f is not None), default=samples)
            for frame in frames:
                for planes in self.planes(frame):
                    if lost:
                        losses.append(lost)
                        lost = 0
                        if silences:
                            yield from self.silence(silences.pop(0), damaged=True)
                    yield self.put(planes)
        if self.container.format.name == "aac" and reached and self.plan.silences is None:
            # The ADTS demuxer drops what it cannot read, so that the positions of what follows count from there.
            dropped = self.file.stat().st_size - id3_bytes(self.file) - reached
            losses = [n + dropped * n // sum(losses) for n in losses]
            if not losses and dropped > max(MAX_SHORT * reached, _TAGS):
                raise incomplete(self.file, self.n / self.rate, self.n / self.rate * (1 + dropped / reached))
        stated = self._stated()
        if losses and self.plan.silences is None and self.n:
            raise Replan(replace(self.plan, silences=self._silences(losses, good / max(n_good, 1), samples, stated)))
        self.check(stated)

    def _silences(self, losses: list[int], frame_bytes: float, samples: int, stated: float | None) -> tuple[int, ...]:
        by_bytes = sum(losses) / frame_bytes * samples
        total: float = round(by_bytes / samples) * samples
        if stated is not None:
            missing = stated - self.n
            if abs(missing - by_bytes) > max(0.5 * by_bytes, 4 * samples):
                raise damaged(self.file, self.n / self.rate, stated / self.rate)
            total = max(0, missing)
        edges = np.rint(np.cumsum([0, *losses]) / sum(losses) * total).astype(int)
        return tuple(int(n) for n in np.diff(edges))

    def _stated(self) -> float | None:
        """Samples by the MP3's Xing or Info header; elsewhere FFmpeg can only estimate."""
        if self.container.format.name != "mp3" or not self.stream.duration:
            return None
        with open(self.file, "rb") as stream:
            start = read_at(stream, id3_bytes(self.file), 512)
        at = max(start[:256].find(b"Xing"), start[:256].find(b"Info"))
        if at < 0 or not (start[at + 7 : at + 8] or b"\0")[0] & 1:
            return None
        return float(self.stream.duration * self.stream.time_base * self.rate)
