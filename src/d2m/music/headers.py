"""What a sound file's header states, whether its size agrees, and which reader takes it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import soundfile as sf

from d2m.core.errors import D2MError
from d2m.music.containers import MAX_SHORT_S, STATED, Plan, incomplete, is_short

# Never given to libsndfile: its MPEG decoder keeps the encoder's padding and writes to stderr about broken headers.
_MPEG_SUFFIXES = frozenset((".mp3", ".mp2", ".mpga"))


def first_plan(file: Path) -> Plan:
    if file.suffix.lower() in _MPEG_SUFFIXES or _is_mpeg(file):
        return Plan(ffmpeg=True)
    try:
        with sf.SoundFile(file) as sound:
            kind, frames, rate = sound.format, sound.frames, sound.samplerate
    except (sf.SoundFileError, RuntimeError, TypeError, ValueError):  # TypeError: it takes .raw for headerless sound
        _check_riff(file)
        return Plan(ffmpeg=True)
    if kind == "OGG":
        links, alone, ended = _ogg_links(file)
        if alone and not ended:
            raise D2MError(
                f"{file}: is cut off: its last page does not end it; copy or export it again, or re-encode the rest "
                "(ffmpeg -i OLD NEW.wav)"
            )
        return Plan(ffmpeg=not alone, links=links if len(links) > 1 else ())
    if kind in ("WAV", "WAVEX"):
        _check_riff(file)
    elif kind not in ("FLAC", "MPEG"):
        stated = _stated_seconds(file)
        if stated is not None and is_short(frames / max(rate, 1), stated):
            return Plan(ffmpeg=True)
    return Plan(ffmpeg=kind == "MPEG" or not frames)


def _is_mpeg(file: Path) -> bool:
    """Whether a file begins as MPEG audio does: with a tag or the 11 set bits of a frame."""
    with open(file, "rb") as stream:
        head = stream.read(3).ljust(3, b"\0")
    return head == b"ID3" or (head[0] == 0xFF and head[1] >= 0xE0)


def _stated_seconds(file: Path) -> float | None:
    try:
        with av.open(str(file), metadata_errors="ignore") as container:
            stream = container.streams.audio[0] if container.streams.audio else None
            if stream is None or stream.duration is None or container.format.name not in STATED:
                return None
            return float(stream.duration * (stream.time_base or 0))
    except (av.FFmpegError, OSError, ValueError):
        return None


def _ogg_links(file: Path) -> tuple[tuple[tuple[int, int], ...], bool, bool]:
    """Offsets in bytes of the Ogg files in a chain, whether none has a stream other than sound, and whether the last
    page is whole and says that it is the last."""
    starts: list[int] = []
    alone, in_head, ended = True, False, False
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
            ended = bool(head[5] & 4) and at <= size
    return tuple(zip(starts, [*starts[1:], size], strict=True)), alone, ended


def _check_riff(file: Path) -> None:
    """Check that a wav's header agrees with the file's size: libsndfile and FFmpeg silently trust one of them.

    A size of 0, or of about 2 or 4 GiB, was never filled in by the recorder and states nothing.

    Raises:
        D2MError: cut off, or more sound than the header states.
    """
    size, per_second = file.stat().st_size, 0
    with open(file, "rb") as stream:
        if stream.read(4) != b"RIFF":  # RF64 keeps its size elsewhere
            return
        at = 12
        while len(head := read_at(stream, at, 8)) == 8:
            name, length = head[:4], struct.unpack("<I", head[4:])[0]
            if name == b"fmt ":
                per_second = struct.unpack("<I", read_at(stream, at + 16, 4).ljust(4, b"\0"))[0]
            if name == b"data":
                break
            at += 8 + length + length % 2
        else:
            return
        there = size - at - 8
        if not per_second or not length or (length > there and length >= 0x7FFF0000):
            return
        if is_short(there / per_second, length / per_second):
            raise incomplete(file, there / per_second, length / per_second)
        end = at + 8 + length
        if there > length and not any(_are_chunks(stream, end + pad, size) for pad in (length % 2, 0)):
            rest = read_at(stream, end, 1 << 20)
            if (size - end) / per_second > MAX_SHORT_S and any(rest):
                raise D2MError(
                    f"{file}: holds {there / per_second:.1f} s but its header states {length / per_second:.1f} s; "
                    "rewrite it (ffmpeg -ignore_length 1 -i OLD NEW.wav)"
                )


def read_at(stream: Any, at: int, n: int) -> bytes:
    stream.seek(at)
    data: bytes = stream.read(n)
    return data


def id3_bytes(file: Path) -> int:
    """The length of the tag before a stream of frames."""
    with open(file, "rb") as stream:
        head = stream.read(10)
    return sum(b << 7 * (3 - k) for k, b in enumerate(head[6:10])) + 10 if head[:3] == b"ID3" else 0


def _are_chunks(stream: Any, at: int, size: int) -> bool:
    while size - at >= 8:
        head = read_at(stream, at, 8)
        if not head[:4].isascii() or not head[:4].decode("ascii").isprintable() or head[:4] == b"RIFF":
            return False
        at += 8 + int(struct.unpack("<I", head[4:])[0])
        at += at % 2
    return at <= size + 1
