"""Audio input: any audio file -> mono waveform at 22,050 Hz. For features, see :mod:`d2m.music.front_ends`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE, STYLE_FRAMES

if TYPE_CHECKING:
    from d2m.music.containers import Blocks

#: Suffixes (lower case) of files that count as audio in a folder of songs.
AUDIO_SUFFIXES: frozenset[str] = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b",
    ".aac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".wma", ".ac3", ".mka", ".w64",
    ".mpga", ".weba", ".amr", ".spx", ".ape", ".wv", ".tta",
))  # fmt: skip
#: The shortest song: one window of the style network.
MIN_SECONDS: float = STYLE_FRAMES / FPS
#: A song whose peak stays below this (-60 dBFS) is silence.
SILENCE_PEAK = 1e-3

_EDGE = SAMPLE_RATE // 10
# Samples 40 dB beyond full scale are int16 values in a float file, or garbage.
_ABSURD_PEAK = 100.0


def n_frames(n_samples: int) -> int:
    """Dance frames (15 fps) of a song of `n_samples` at 22,050 Hz; T is defined here only."""
    return round(n_samples / SAMPLE_RATE * FPS)


def seconds(wave: ArrayLike) -> float:
    """Duration in seconds of a (n,) waveform at 22,050 Hz."""
    return len(np.asarray(wave)) / SAMPLE_RATE


# --- files -------------------------------------------------------------------------------------------------


def load_audio(path: str | os.PathLike[str], sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Decode any audio file to mono.

    Args:
        path: any file that libsndfile or FFmpeg can read, including video, on the clock of :mod:`d2m.music.decode`.
        sample_rate: of the result, in Hz (soxr, high quality).

    Returns:
        (n,) float32 at `sample_rate`: the mean of the channels, full scale at 1.

    Raises:
        D2MError: the file is missing, a folder, empty, not decodable, cut off, without sound, holds NaN or inf, or
            goes 40 dB beyond full scale.
    """
    from d2m.music.decode import decode

    file = Path(path)
    wave = decode(file, lambda blocks: _mono(blocks, file, sample_rate))[1]
    if not len(wave):
        raise D2MError(f"{file}: contains no audio samples; export it again or leave it out")
    return wave


def _mono(blocks: Blocks, file: Path, sample_rate: int) -> NDArray[np.float32]:
    """(n,) at ``sample_rate``; only the result is kept in memory."""
    import soxr

    parts: list[NDArray[np.float32]] = []
    resampler = None
    for rate, samples in _in_long_blocks(blocks):
        if not np.isfinite(samples).all():
            raise D2MError(f"{file}: contains NaN or infinite samples; export it again or leave it out")
        if len(samples) and (peak := float(np.abs(samples).max())) > _ABSURD_PEAK:
            raise D2MError(f"{file}: samples reach {peak:g}, but full scale is 1; export it again, e.g. as 16-bit")
        if rate != sample_rate:
            resampler = resampler or soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            samples = resampler.resample_chunk(samples)
        parts.append(samples)
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _in_long_blocks(blocks: Blocks) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The mean of the channels, in blocks of at least a second: decoded frames are short, and calls costly."""
    waiting: list[NDArray[np.float32]] = []
    n = rate = 0
    for rate, planes in blocks:
        with np.errstate(invalid="ignore"):  # infinities are checked by the caller
            waiting.append(planes.mean(axis=0, dtype=np.float32))
        n += len(waiting[-1])
        if n >= rate:
            yield rate, np.concatenate(waiting)
            waiting, n = [], 0
    if waiting:
        yield rate, np.concatenate(waiting)


def _loudest_channel(file: Path) -> float:
    """The largest peak of a channel about its mean in a block."""
    from d2m.music.decode import decode

    def peak(blocks: Blocks) -> float:
        spread = (np.abs(planes - planes.mean(axis=1, keepdims=True)).max(initial=0.0) for _, planes in blocks)
        return float(max(spread, default=0.0))

    return decode(file, peak)[1]


def load_song(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """`load_audio` at 22,050 Hz for a song to dance to.

    Raises:
        D2MError: as `load_audio`; also for a song below -60 dBFS throughout, apart from a constant offset, or shorter
            than `MIN_SECONDS`.
    """
    wave = load_audio(path)
    duration = seconds(wave)
    if n_frames(len(wave)) < STYLE_FRAMES:
        raise D2MError(f"{path}: {duration:.2f} s of audio; songs need at least {MIN_SECONDS:g} s")
    inner = wave[_EDGE:-_EDGE]  # a constant offset rings at its ends when it is resampled
    offset = float(inner.mean())
    peak = max(float(inner.max()) - offset, offset - float(inner.min()))  # without a copy: songs may be hours long
    if peak < SILENCE_PEAK:
        if _loudest_channel(Path(path)) >= SILENCE_PEAK:
            raise D2MError(
                f"{path}: its channels cancel each other; save one of them (ffmpeg -i OLD -af 'pan=mono|c0=c0' NEW.wav)"
            )
        level = f"peak {20 * math.log10(peak):.0f} dBFS" if peak > 0 else "all samples zero"
        raise D2MError(f"{path}: silent ({level} as mono); songs must peak above -60 dBFS")
    return wave
