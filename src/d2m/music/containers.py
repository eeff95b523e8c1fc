"""Shared by the decoders: the plan by which a file is read, second 0 of a container's clock, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

#: (channels, n) float32, full scale at 1.
Planes = NDArray[np.float32]
#: Blocks with the rate of their samples in Hz, the same for all blocks of a file.
Blocks = Iterator[tuple[int, Planes]]

BLOCK = 1 << 17  # samples of all channels together
_RATES = (1000, 1_000_000)  # Hz
#: The headers that state a length. Elsewhere FFmpeg estimates it.
STATED = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "flac", "wav", "w64", "aiff", "caf", "au", "wv", "tta", "ape"))
#: A file that ends earlier than its header states by more than both of these is cut off.
MAX_SHORT, MAX_SHORT_S = 0.02, 0.25


@dataclass(frozen=True)
class Plan:
    """How a file is read: by libsndfile or FFmpeg; the silences, in samples, in place of what is damaged; the bytes of
    its links, if it is a chain of Ogg files."""

    ffmpeg: bool
    silences: tuple[int, ...] | None = None
    links: tuple[tuple[int, int], ...] = ()


class Replan(Exception):
    """What was read so far was read wrongly; start again with another plan."""

    def __init__(self, plan: Plan):
        self.plan = plan


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


def check_readable(file: Path) -> None:
    """Check that a file exists and is not empty.

    Raises:
        D2MError: it is missing, empty, a folder, or cannot be read.
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


def corrupt(file: Path) -> D2MError:
    return D2MError(f"{file}: cannot be decoded, it is corrupt or not audio; export it again")


def incomplete(file: Path, read_s: float, stated_s: float) -> D2MError:
    """The error for a file that ends too early."""
    return D2MError(
        f"{file}: is cut off, corrupt or not audio, {read_s:.1f} of its {stated_s:.1f} s can be decoded; "
        "copy or export it again, or re-encode what is left (ffmpeg -i OLD NEW.wav)"
    )


def damaged(file: Path, read_s: float, stated_s: float) -> D2MError:
    """The error for a file that is damaged before its end: re-encoding would move everything after the damage."""
    return D2MError(
        f"{file}: is damaged, corrupt or not audio, {read_s:.1f} of its {stated_s:.1f} s can be decoded; "
        "copy or export it again (re-encoding would move what follows the damage)"
    )


def is_short(read_s: float, stated_s: float) -> bool:
    return stated_s - read_s > max(MAX_SHORT_S, MAX_SHORT * stated_s)


def with_channels(planes: Planes, channels: int) -> Planes:
    if len(planes) == channels:
        return planes
    return np.repeat(planes.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


def check_rate(file: Path, rate: int) -> None:
    if not _RATES[0] <= rate <= _RATES[1]:
        raise D2MError(f"{file}: its sample rate is {rate} Hz, so it is corrupt or not audio; export it again")
