"""Sound in: any audio file -> mono waveform at 22,050 Hz. What is heard in it: :mod:`d2m.music.front_ends`."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE, STYLE_FRAMES

#: Suffixes, lower case, of the files that count as audio in a folder of songs.
AUDIO_SUFFIXES: frozenset[str] = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b",
    ".aac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".wma", ".ac3", ".mka", ".w64",
))  # fmt: skip
#: The shortest song: one window of the style network.
MIN_SECONDS: float = STYLE_FRAMES / FPS
#: A song whose peak stays below this (-60 dBFS) is silence.
SILENCE_PEAK = 1e-3

# Decoded by FFmpeg at once: the decoder within soundfile writes to stderr about every broken header.
_MPEG_SUFFIXES = frozenset((".mp3", ".mp2"))
# A file with more than this share of broken packets is corrupt.
_MAX_BROKEN = 0.1
# No sound goes 40 dB beyond full scale: these are int16 values in a float file, or garbage.
_ABSURD_PEAK = 100.0


def n_frames(n_samples: int) -> int:
    """Dance frames (15 fps) of a song of `n_samples` at 22,050 Hz: the one definition of T."""
    return round(n_samples / SAMPLE_RATE * FPS)


def seconds(wave: ArrayLike) -> float:
    """Duration in seconds of a (n,) waveform at 22,050 Hz."""
    return len(np.asarray(wave)) / SAMPLE_RATE


# --- files -------------------------------------------------------------------------------------------------


def load_audio(path: str | os.PathLike[str], sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Decode any audio file to mono.

    Args:
        path: wav, flac, ogg, mp3, ... (soundfile), or whatever FFmpeg reads, through PyAV: m4a, wma, ...
        sample_rate: of the result, in Hz (soxr, high quality).

    Returns:
        (n,) float32 at `sample_rate`: the mean of the channels, full scale at 1.

    Raises:
        D2MError: the file is missing, a folder, empty, not decodable, without sound, holds NaN or inf, or
            goes 40 dB beyond full scale.
    """
    file = Path(path)
    _check_readable(file)
    samples, rate = _decode(file)
    if not len(samples):
        raise D2MError(f"{file}: no samples in this audio file; export it again or leave it out")
    if not np.isfinite(samples).all():
        raise D2MError(f"{file}: holds NaN or infinite samples; export it again or leave it out")
    if (peak := float(np.abs(samples).max())) > _ABSURD_PEAK:
        raise D2MError(f"{file}: samples reach {peak:g}, full scale is 1; export it again, e.g. as 16-bit")
    if rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, rate, sample_rate)
    return np.ascontiguousarray(samples, dtype=np.float32)


def load_song(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """`load_audio` at 22,050 Hz for a song to dance to.

    Raises:
        D2MError: as `load_audio`; also for a song below -60 dBFS throughout or shorter than `MIN_SECONDS`.
    """
    wave = load_audio(path)
    duration = seconds(wave)
    if n_frames(len(wave)) < STYLE_FRAMES:
        raise D2MError(f"{path}: {duration:.2f} s of audio; songs need at least {MIN_SECONDS:g} s")
    peak = float(np.abs(wave).max())
    if peak < SILENCE_PEAK:
        level = f"peak {20 * math.log10(peak):.0f} dBFS" if peak > 0 else "all samples zero"
        raise D2MError(f"{path}: silent ({level} as mono); songs must peak above -60 dBFS")
    return wave


def _check_readable(file: Path) -> None:
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


def _decode(file: Path) -> tuple[NDArray[np.float32], int]:
    """(n,) float32 mono and its rate in Hz."""
    if file.suffix.lower() in _MPEG_SUFFIXES:
        return _decode_av(file)
    import soundfile

    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        return samples.mean(axis=1), int(rate)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        return _decode_av(file)  # TypeError: soundfile takes some suffixes (.raw) for headerless sound


def _decode_av(file: Path) -> tuple[NDArray[np.float32], int]:
    """As `_decode`, through FFmpeg; single broken packets are skipped, as players do."""
    import av

    blocks: list[NDArray[np.float32]] = []
    rate = n_packets = n_broken = 0
    end: int | None = None
    try:
        with av.open(str(file), metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise D2MError(f"{file}: has no audio stream; give a file with sound")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            if "mp4" in container.format.name and stream.duration and stream.time_base:
                end = round(stream.duration * stream.time_base * rate)  # cuts the coder's padding
            to_float = av.AudioResampler(format="fltp", rate=rate or None)
            for packet in container.demux(stream):
                n_packets += 1
                try:
                    frames: list[av.AudioFrame | None] = list(packet.decode())
                except av.FFmpegError:
                    n_broken += 1
                    continue
                if packet.dts is None and packet.size == 0:
                    frames.append(None)  # the last packet: empty the converter, too
                for frame in frames:
                    for block in to_float.resample(frame):
                        blocks.append(block.to_ndarray().mean(axis=0, dtype=np.float32))
    except (av.FFmpegError, OSError, ValueError):
        blocks = []
    if not blocks or not rate or n_broken > _MAX_BROKEN * n_packets:
        raise D2MError(f"{file}: cannot be decoded, it is corrupt or not audio; export it again")
    return np.concatenate(blocks)[:end], rate
