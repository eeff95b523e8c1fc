"""Any sound file to blocks of samples on one clock: the seconds of its container's time stamps.

Second 0 is the start of the first picture or sound (:func:`start_of`): sound that starts after its pictures is preceded
by silence, gaps are silence, and overlaps are dropped. What is damaged becomes silence of its length, so that nothing
after it moves; a file that holds clearly less than its header states is refused. See docs/adr/0060-one-clock.md.

Healthy wav, flac, ogg, aiff and the like are read by libsndfile, everything else by FFmpeg. Both take the encoder's
delay and padding off.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from d2m.core.errors import D2MError

#: (channels, n) float32, full scale at 1.
Planes = NDArray[np.float32]
#: Blocks with the rate of their samples in Hz, the same for all blocks of a file.
Blocks = Iterator[tuple[int, Planes]]
T = TypeVar("T")

# Never given to libsndfile: its MPEG decoder keeps the encoder's padding and writes to stderr about broken headers.
_MPEG_SUFFIXES = frozenset((".mp3", ".mp2", ".mpga"))
_BLOCK = 1 << 17  # samples of all channels together
_RATES = (1000, 1_000_000)  # Hz
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
# The headers that state a length. Elsewhere FFmpeg estimates it.
_STATED = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "flac", "wav", "w64", "aiff", "caf", "au", "wv", "tta", "ape"))
# A file with more than this share of damage is refused,
_MAX_DAMAGED = 0.1
# and one that ends earlier than its header states by more than both of these.
_MAX_SHORT, _MAX_SHORT_S = 0.02, 0.25
# Bytes: tags after the sound may be as long.
_TAGS = 1 << 16
# The padding that a coder may leave beyond the length that an mp4 states.
_PADDING_S = 0.2


@dataclass(frozen=True)
class Plan:
    """How a file is read: by libsndfile or FFmpeg; the silences, in samples, in place of what is damaged; the bytes of
    its links, if it is a chain of Ogg files."""

    ffmpeg: bool
    silences: tuple[int, ...] | None = None
    links: tuple[tuple[int, int], ...] = ()


class _Replan(Exception):
    """What was read so far was read in a wrong way; start again with another plan."""

    def __init__(self, plan: Plan):
        self.plan = plan


def decode(file: Path, use: Callable[[Blocks], T]) -> tuple[Plan, T]:
    """Pass the blocks of a sound file to ``use`` (again from the start if they were not to be believed).

    Returns:
        The plan by which :func:`blocks` reads the same again, and what ``use`` returned.

    Raises:
        D2MError: missing, a folder, empty, no sound, corrupt, damaged beyond repair, or cut off.
    """
    check_readable(file)
    plan = _first_plan(file)
    while True:
        try:
            return plan, use(blocks(file, plan))
        except _Replan as better:
            plan = better.plan


def blocks(file: Path, plan: Plan) -> Blocks:
    """The blocks of a file, read by a plan that :func:`decode` returned."""
    if not plan.links:
        yield from _by_ffmpeg(str(file), file, plan) if plan.ffmpeg else _by_libsndfile(str(file), file, plan)
        return
    first: tuple[int, int] | None = None
    for start, end in plan.links:
        with open(file, "rb") as stream:
            stream.seek(start)
            link = io.BytesIO(stream.read(end - start))
        convert = None
        for rate, planes in _by_ffmpeg(link, file, plan) if plan.ffmpeg else _by_libsndfile(link, file, plan):
            first = first or (rate, len(planes))
            if convert is None:
                convert = soxr.ResampleStream(rate, first[0], first[1], dtype="float32")
            planes = _with_channels(planes, first[1])
            yield first[0], planes if rate == first[0] else convert.resample_chunk(planes.T).reshape(-1, first[1]).T
        if first is not None and convert is not None and rate != first[0]:
            yield first[0], convert.resample_chunk(np.zeros((0, first[1]), "f4"), last=True).reshape(-1, first[1]).T


def start_of(container: Any) -> Fraction | None:
    """Second 0 of a container's clock, in its own time: the earlier of its first picture and its first sound.

    None if its headers do not say: then it is the first that is decoded.
    """
    streams = [*container.streams.audio[:1], *pictures_of(container)[:1]]
    starts = [s.start_time * s.time_base for s in streams if s.start_time is not None and s.time_base]
    return min(starts, default=None) if len(starts) == len(streams) > 1 else None


def pictures_of(container: Any) -> list[Any]:
    """Video streams, without pictures of covers."""
    return [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]


def has_sound(file: Path) -> bool:
    """Whether a file's header names a stream of sound; cheap. False for what cannot be read."""
    try:
        with av.open(str(file), metadata_errors="ignore") as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False


def check_readable(file: Path) -> None:
    """See that there is a file with something in it.

    Raises:
        D2MError: there is not.
    """
    if file.is_dir():
        raise D2MError(f"{file}: is a folder, not an audio file; name one file in it")
    try:
        with open(file, "rb") as stream:
            if not stream.read(1):
                raise D2MError(f"{file}: is empty (0 bytes); copy or export it again")
    except FileNotFoundError:
        raise D2MError(f"{file}: no such audio file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise D2MError(f"{file}: cannot be read ({reason}); check the path and its permissions") from None


def _corrupt(file: Path) -> D2MError:
    return D2MError(f"{file}: cannot be decoded, it is corrupt or not audio; export it again")


def _incomplete(file: Path, read_s: float, stated_s: float) -> D2MError:
    return D2MError(
        f"{file}: is cut off, corrupt or not audio, {read_s:.1f} of its {stated_s:.1f} s can be decoded; "
        "copy or export it again, or re-encode what is left (ffmpeg -i OLD NEW.wav)"
    )


def _is_short(read_s: float, stated_s: float) -> bool:
    return stated_s - read_s > max(_MAX_SHORT_S, _MAX_SHORT * stated_s)


def _with_channels(planes: Planes, channels: int) -> Planes:
    if len(planes) == channels:
        return planes
    return np.repeat(planes.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


# --- which reader ------------------------------------------------------------------------------------------


def _first_plan(file: Path) -> Plan:
    if file.suffix.lower() in _MPEG_SUFFIXES:
        return Plan(ffmpeg=True)
    try:
        with sf.SoundFile(file) as sound:
            kind, frames, rate = sound.format, sound.frames, sound.samplerate
    except (sf.SoundFileError, RuntimeError, TypeError, ValueError):  # TypeError: it takes .raw for headerless sound
        return Plan(ffmpeg=True)
    if kind == "OGG":
        links, alone = _ogg_links(file)
        return Plan(ffmpeg=not alone, links=links if len(links) > 1 else ())
    if kind in ("WAV", "WAVEX"):
        _check_riff(file)
    elif kind not in ("FLAC", "MPEG"):
        stated = _stated_seconds(file)
        if stated is not None and _is_short(frames / max(rate, 1), stated):
            return Plan(ffmpeg=True)
    return Plan(ffmpeg=kind == "MPEG" or not frames)


def _stated_seconds(file: Path) -> float | None:
    try:
        with av.open(str(file), metadata_errors="ignore") as container:
            stream = container.streams.audio[0] if container.streams.audio else None
            if stream is None or stream.duration is None or container.format.name not in _STATED:
                return None
            return float(stream.duration * (stream.time_base or 0))
    except (av.FFmpegError, OSError, ValueError):
        return None


def _ogg_links(file: Path) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Offsets in bytes of the Ogg files in a chain, and whether none has a stream other than sound."""
    starts: list[int] = []
    alone, in_head = True, False
    size = file.stat().st_size
    with open(file, "rb") as stream:
        at = 0
        while at < size:
            stream.seek(at)
            head = stream.read(27)
            if len(head) < 27 or head[:4] != b"OggS":  # damaged: the next page
                stream.seek(at + 1)
                page = stream.read(1 << 17).find(b"OggS")
                at = size if page < 0 and size - at <= 1 << 17 else at + 1 + (page if page >= 0 else (1 << 17) - 3)
                continue
            first = bool(head[5] & 2)
            if first and in_head:
                alone = False
            elif first:
                starts.append(at)
            in_head = first
            at += 27 + head[26] + sum(stream.read(head[26]))
    return tuple(zip(starts, [*starts[1:], size], strict=True)), alone


def _check_riff(file: Path) -> None:
    """See that a wav's header and its size agree: libsndfile and FFmpeg believe either in silence.

    Sizes that a recorder never filled in (0, or about 2 or 4 GiB) are none.

    Raises:
        D2MError: cut off, or more sound than the header states.
    """
    size, per_second = file.stat().st_size, 0
    with open(file, "rb") as stream:
        if stream.read(4) != b"RIFF":  # RF64 keeps its size elsewhere
            return
        at = 12
        while len(head := _read_at(stream, at, 8)) == 8:
            name, length = head[:4], struct.unpack("<I", head[4:])[0]
            if name == b"fmt ":
                per_second = struct.unpack("<I", _read_at(stream, at + 16, 4).ljust(4, b"\0"))[0]
            if name == b"data":
                break
            at += 8 + length + length % 2
        else:
            return
        there = size - at - 8
        if not per_second or not length or (length > there and length >= 0x7FFF0000):
            return
        if _is_short(there / per_second, length / per_second):
            raise _incomplete(file, there / per_second, length / per_second)
        end = at + 8 + length
        if there > length and not any(_are_chunks(stream, end + pad, size) for pad in (length % 2, 0)):
            rest = _read_at(stream, end, 1 << 20)
            if (size - end) / per_second > _MAX_SHORT_S and any(rest):
                raise D2MError(
                    f"{file}: holds {there / per_second:.1f} s but its header states {length / per_second:.1f} s; "
                    "rewrite it (ffmpeg -ignore_length 1 -i OLD NEW.wav)"
                )


def _read_at(stream: Any, at: int, n: int) -> bytes:
    stream.seek(at)
    data: bytes = stream.read(n)
    return data


def _id3_bytes(file: Path) -> int:
    """The length of the tag before a stream of frames."""
    with open(file, "rb") as stream:
        head = stream.read(10)
    return sum(b << 7 * (3 - k) for k, b in enumerate(head[6:10])) + 10 if head[:3] == b"ID3" else 0


def _are_chunks(stream: Any, at: int, size: int) -> bool:
    while size - at >= 8:
        head = _read_at(stream, at, 8)
        if not head[:4].isascii() or not head[:4].decode("ascii").isprintable() or head[:4] == b"RIFF":
            return False
        at += 8 + int(struct.unpack("<I", head[4:])[0])
        at += at % 2
    return at <= size + 1


# --- libsndfile --------------------------------------------------------------------------------------------


def _by_libsndfile(source: str | io.BytesIO, file: Path, plan: Plan) -> Blocks:
    n = 0
    try:
        with sf.SoundFile(source) as sound:
            _check_rate(file, sound.samplerate)
            for block in sound.blocks(max(1, _BLOCK // sound.channels), dtype="float32", always_2d=True):
                n += len(block)
                yield int(sound.samplerate), block.T
            complete = n == sound.frames
    except (sf.SoundFileError, RuntimeError, TypeError, ValueError):
        complete = False
    if not complete:
        raise _Replan(replace(plan, ffmpeg=True))


def _check_rate(file: Path, rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise D2MError(f"{file}: its sample rate is {rate} Hz, so it is corrupt or not audio; export it again")


# --- FFmpeg ------------------------------------------------------------------------------------------------


def _by_ffmpeg(source: str | io.BytesIO, file: Path, plan: Plan) -> Blocks:
    try:
        with av.open(source, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise D2MError(f"{file}: has no audio stream; give a file with sound")
            reader = _Counted(container, file, plan) if container.format.name in _COUNTED else _Stamped(container, file)
            yield from reader.blocks()
    except (av.FFmpegError, OSError, ValueError, IndexError):  # IndexError: PyAV, of a stream that begins later
        raise _corrupt(file) from None


class _Reader:
    """The first stream of sound of a container, packet by packet, as float planes."""

    def __init__(self, container: Any, file: Path):
        self.container, self.file = container, file
        self.stream = container.streams.audio[0]
        if self.stream.codec_context is None:  # no decoder knows it
            raise _corrupt(file)
        self.rate = int(self.stream.rate or 0)
        _check_rate(file, self.rate)
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
            yield _with_channels(planes.astype(np.float32, copy=False), self.channels)

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
        step = max(1, _BLOCK // max(self.channels, 1))
        for at in range(0, n, step):
            yield self.put(np.zeros((self.channels, min(step, n - at)), np.float32))

    def check(self, stated: float | None) -> None:
        """See that enough was decoded. stated: samples that the header states."""
        if not self.n and (stated or self.container.format.name not in _STATED):
            raise _corrupt(self.file)
        whole = max(self.n, stated or 0)
        if self.n_damaged > _MAX_DAMAGED * whole:
            raise _incomplete(self.file, (self.n - self.n_damaged) / self.rate, whole / self.rate)
        if stated and _is_short(self.n / self.rate, stated / self.rate):
            raise _incomplete(self.file, self.n / self.rate, stated / self.rate)


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
            raise _corrupt(self.file)
        self.check(self._stated() or (1.0 if n_broken else None))

    def _stated(self) -> float | None:
        """Samples by the header."""
        name = self.container.format.name
        if name in _STATED and self.stream.duration:
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
    """A bare stream of coded frames: what is lost is told by the bytes that could not be decoded.

    If the header states the length (most MP3 files), the silences make it up exactly.
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
            dropped = self.file.stat().st_size - _id3_bytes(self.file) - reached
            losses = [n + dropped * n // sum(losses) for n in losses]
            if not losses and dropped > max(_MAX_SHORT * reached, _TAGS):
                raise _incomplete(self.file, self.n / self.rate, self.n / self.rate * (1 + dropped / reached))
        stated = self._stated()
        if losses and self.plan.silences is None and self.n:
            raise _Replan(replace(self.plan, silences=self._silences(losses, good / max(n_good, 1), samples, stated)))
        self.check(stated)

    def _silences(self, losses: list[int], frame_bytes: float, samples: int, stated: float | None) -> tuple[int, ...]:
        by_bytes = sum(losses) / frame_bytes * samples
        total: float = round(by_bytes / samples) * samples
        if stated is not None:
            missing = stated - self.n
            if abs(missing - by_bytes) > max(0.5 * by_bytes, 4 * samples):
                raise _incomplete(self.file, self.n / self.rate, stated / self.rate)
            total = max(0, missing)
        edges = np.rint(np.cumsum([0, *losses]) / sum(losses) * total).astype(int)
        return tuple(int(n) for n in np.diff(edges))

    def _stated(self) -> float | None:
        """Samples by the MP3's Xing or Info header; elsewhere FFmpeg can only estimate."""
        if self.container.format.name != "mp3" or not self.stream.duration:
            return None
        with open(self.file, "rb") as stream:
            start = _read_at(stream, _id3_bytes(self.file), 512)
        at = max(start[:256].find(b"Xing"), start[:256].find(b"Info"))
        if at < 0 or not (start[at + 7 : at + 8] or b"\0")[0] & 1:
            return None
        return float(self.stream.duration * self.stream.time_base * self.rate)
