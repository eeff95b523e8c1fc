"""Sound in, music features out: any audio file -> mono waveform -> 28 numbers a frame at 15 fps.

The front ends share one layout, 13 cepstra and a log energy, then the first differences of these 14
(Lee et al., "Dancing to Music", NeurIPS 2019, section 4):

* `mfcc`, the default: a centred 2048-sample Hann window every 1470 samples (one dance frame), zeros beyond
  the ends; 40 Slaney mel bands from 0 Hz to Nyquist, each of unit area; natural log; orthonormal DCT-II.
  A change of loudness by a factor g adds a constant to the first cepstrum and to the energy and touches
  nothing else, down to the noise of 16-bit sound, where both logs are floored: digital silence and dithered
  silence look alike. Nothing is relative to the song's maximum, so an excerpt has the features of the whole.
* `mfcc_loudness`: `mfcc` of the song brought to -23 LUFS first (`d2m.music.loudness`). Level no longer tells songs
  apart, but an excerpt has other features than the whole. Not the default: see docs/adr/0037.
* `legacy`: exactly what the reference's checkpoints saw, see `d2m.music.legacy_front_end`.

The same `mfcc` numbers come from plain torch (the default: the same everywhere, on CPU and GPU), from
torchaudio where it imports, and from librosa; a test compares all that import.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FEATURE_DIM, FPS, HOP, SAMPLE_RATE, STYLE_FRAMES
from d2m.music.compiled import librosa
from d2m.music.legacy_front_end import legacy_features
from d2m.music.loudness import normalize_loudness

if TYPE_CHECKING:
    import torch

    from d2m.music.decode import Blocks

#: Suffixes, lower case, of the files that count as audio in a folder of songs.
AUDIO_SUFFIXES: frozenset[str] = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".m4a", ".m4b",
    ".aac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".wma", ".ac3", ".mka", ".w64",
    ".mpga", ".weba", ".amr", ".spx", ".ape", ".wv", ".tta",
))  # fmt: skip
FRONT_ENDS: tuple[str, ...] = ("mfcc", "legacy", "mfcc_loudness")
MFCC_BACKENDS: tuple[str, ...] = ("torch", "torchaudio", "librosa")
#: The shortest song: one window of the style network.
MIN_SECONDS: float = STYLE_FRAMES / FPS
#: A song whose peak stays below this (-60 dBFS) is silence.
SILENCE_PEAK = 1e-3

# No sound goes 40 dB beyond full scale: these are int16 values in a float file, or garbage.
_ABSURD_PEAK = 100.0

N_FFT = 2048
N_MELS = 40
N_CEPSTRA = 13
# The power of 16-bit rounding noise: per sample, and what it puts into every unit-area mel band.
_NOISE_POWER = (2.0**-15) ** 2 / 12.0
_HANN_POWER = 0.375 * N_FFT
_MEL_FLOOR = _NOISE_POWER * _HANN_POWER * N_FFT / SAMPLE_RATE


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
        path: whatever libsndfile or FFmpeg reads, a video too, on the clock of :mod:`d2m.music.decode`.
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
        raise D2MError(f"{file}: no samples in this audio file; export it again or leave it out")
    return wave


def _mono(blocks: Blocks, file: Path, sample_rate: int) -> NDArray[np.float32]:
    """(n,) at ``sample_rate``; nothing but the result is kept in memory."""
    import soxr

    parts: list[NDArray[np.float32]] = []
    resampler = None
    for rate, samples in _in_long_blocks(blocks):
        if not np.isfinite(samples).all():
            raise D2MError(f"{file}: holds NaN or infinite samples; export it again or leave it out")
        if len(samples) and (peak := float(np.abs(samples).max())) > _ABSURD_PEAK:
            raise D2MError(f"{file}: samples reach {peak:g}, full scale is 1; export it again, e.g. as 16-bit")
        if rate != sample_rate:
            resampler = resampler or soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            samples = resampler.resample_chunk(samples)
        parts.append(samples)
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _in_long_blocks(blocks: Blocks) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The mean of the channels, in blocks of a second or more: coded frames are so short that calls cost most."""
    waiting: list[NDArray[np.float32]] = []
    n = rate = 0
    for rate, planes in blocks:
        with np.errstate(invalid="ignore"):  # infinities: the caller looks
            waiting.append(planes.mean(axis=0, dtype=np.float32))
        n += len(waiting[-1])
        if n >= rate:
            yield rate, np.concatenate(waiting)
            waiting, n = [], 0
    if waiting:
        yield rate, np.concatenate(waiting)


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


# --- features ----------------------------------------------------------------------------------------------


def features(wave: ArrayLike, front_end: str = "mfcc") -> NDArray[np.float32]:
    """Music features of one song.

    Args:
        wave: (n,) mono at 22,050 Hz, full scale at 1.
        front_end: one of `FRONT_ENDS`.

    Returns:
        (t, 28) float32 at 15 fps, not normalised.
        `mfcc`: t = `n_frames(n)`, frame k centred on sample 1470 k; columns 0-12 cepstra, 13 log energy,
        14-27 their change since the frame before (row 0: zero).
        `mfcc_loudness`: the same of the song at -23 LUFS.
        `legacy`: t = n // 1470, see `legacy_features`; samples beyond full scale are clipped to int16.

    Raises:
        D2MError: unknown front end.
        ValueError: the wave is not one-dimensional.
    """
    mono = np.asarray(wave, dtype=np.float32)
    if mono.ndim != 1:
        raise ValueError(f"features: expected (n,) mono samples, got shape {mono.shape}")
    if front_end == "legacy":
        pcm = np.clip(np.rint(mono.astype(np.float64) * 32768.0), -32768, 32767)
        return legacy_features(pcm).astype(np.float32)
    if front_end == "mfcc_loudness":
        mono = normalize_loudness(mono)
    elif front_end != "mfcc":
        raise D2MError(f"audio front end '{front_end}' is unknown; choose one of {', '.join(FRONT_ENDS)}")
    import torch

    return features_batch(torch.from_numpy(np.array(mono)[None]))[0].numpy()


def features_batch(waves: torch.Tensor, backend: str = "torch") -> torch.Tensor:
    """`mfcc` features of equally long songs, on their device.

    Args:
        waves: (b, n) float32 mono at 22,050 Hz.
        backend: who computes the mel spectrogram and its DCT, one of `MFCC_BACKENDS`; the numbers agree.

    Returns:
        (b, n_frames(n), 28) float32; see `features`.

    Raises:
        D2MError: unknown backend, or one that cannot be imported here.
    """
    import torch

    if backend not in MFCC_BACKENDS:
        raise D2MError(f"audio backend '{backend}' is unknown; choose one of {', '.join(MFCC_BACKENDS)}")
    batch, n_samples = waves.shape
    length = n_frames(n_samples)
    if not length or not batch:
        return waves.new_zeros(batch, length, FEATURE_DIM)
    power = _power_spectrum(waves)[..., :length]  # (b, bins, t)
    if backend == "torchaudio":
        cepstra = _torchaudio_mfcc(waves.device)(waves)[..., :length]
    elif backend == "librosa":
        cepstra = torch.from_numpy(_librosa_mfcc(waves.cpu().numpy())[..., :length]).to(waves.device)
    else:
        mel = torch.from_numpy(_mel_filters()).to(power) @ power
        cepstra = torch.from_numpy(_dct()).to(mel) @ mel.clamp_min(_MEL_FLOOR).log()
    # Parseval over the one-sided spectrum: the mean square of the frame under its window.
    total = 2.0 * power.sum(dim=1) - power[:, 0] - power[:, -1]
    energy = (total / (N_FFT * _HANN_POWER)).clamp_min(_NOISE_POWER).log()
    static = torch.cat([cepstra, energy[:, None]], dim=1).transpose(1, 2)
    change = torch.diff(static, dim=1, prepend=static[:, :1])
    return torch.cat([static, change], dim=2)


def _power_spectrum(waves: torch.Tensor) -> torch.Tensor:
    """(b, n) -> (b, 1025, 1 + n // 1470) |STFT|^2, centred, zeros beyond the ends."""
    import torch

    window = torch.hann_window(N_FFT, device=waves.device, dtype=waves.dtype)
    spectrum = torch.stft(waves, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    return spectrum.real.square() + spectrum.imag.square()


@cache
def _mel_filters() -> NDArray[np.float32]:
    """(40, 1025) Slaney mel filters of unit area in Hz."""
    return np.asarray(librosa("filters").mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS), np.float32)


@cache
def _dct() -> NDArray[np.float32]:
    """(13, 40) orthonormal DCT-II."""
    m = np.arange(N_MELS)
    table = np.cos(np.pi * np.arange(N_CEPSTRA)[:, None] * (m + 0.5) / N_MELS) * math.sqrt(2.0 / N_MELS)
    table[0] *= math.sqrt(0.5)
    return table.astype(np.float32)


def _librosa_mfcc(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """(b, n) -> (b, 13, frames), the same numbers through librosa's own mel spectrogram and DCT."""
    spectral = librosa("feature.spectral")
    mel = spectral.melspectrogram(
        y=waves, sr=SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, pad_mode="constant"
    )
    log_mel = np.log(np.maximum(mel, _MEL_FLOOR))
    return np.asarray(spectral.mfcc(S=log_mel, n_mfcc=N_CEPSTRA, dct_type=2, norm="ortho"), np.float32)


def _torchaudio_mfcc(device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function (b, n) -> (b, 13, frames), the same numbers through torchaudio's transforms."""
    try:
        import torchaudio.functional as F
        import torchaudio.transforms as T
    except (ImportError, OSError) as error:  # beside a CPU build of torch its extension does not load
        raise D2MError(
            f"audio backend 'torchaudio' cannot be imported here ({type(error).__name__}); use 'torch'"
        ) from None
    spectrogram = T.MelSpectrogram(
        SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, norm="slaney", mel_scale="slaney",
        pad_mode="constant",
    ).to(device)  # fmt: skip
    dct = F.create_dct(N_CEPSTRA, N_MELS, norm="ortho").to(device)  # (mels, cepstra)

    def mfcc(waves: torch.Tensor) -> torch.Tensor:
        cepstra: torch.Tensor = dct.T @ spectrogram(waves).clamp_min(_MEL_FLOOR).log()
        return cepstra

    return mfcc
