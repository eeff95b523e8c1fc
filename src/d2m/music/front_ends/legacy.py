"""The audio front end with which the reference's checkpoints were trained, numerically identical.

It is kept only so that old music-style and composition weights can be used; new training takes `rhythm` or `mfcc`. Its
flaw: only the first 512 samples (23 ms) of every 1470-sample (67 ms) window reach
the FFT, so the other two thirds of the music, and any onsets in them, do not affect the spectrum; only the energy
uses the whole window. Its other oddities are kept as well: the cepstra are divided by the number of
filters, and the energy lives on the int16 scale. (Sphinx-style MFCC, cf. Lee et al., "Dancing to Music", NeurIPS
2019, section 4.)
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.skeleton import HOP, SAMPLE_RATE
from d2m.music.front_ends.base import FrontEnd

_N_FFT = 512
_N_FILTERS = 40
_N_CEPSTRA = 13
_PRE_EMPHASIS = 0.97
_LOW_HZ, _HIGH_HZ = 133.3333, 6855.4976
_LOG_FLOOR = 1e-5


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


@cache
def _filterbank() -> NDArray[np.float64]:
    """(257, 40) triangles between edges rounded to whole FFT bins, each of unit area in Hz."""
    bin_hz = SAMPLE_RATE / _N_FFT
    ends = _mel(np.array([_LOW_HZ, _HIGH_HZ]))
    edges = np.rint(_hz(np.linspace(ends[0], ends[1], _N_FILTERS + 2)) / bin_hz)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(_N_FFT // 2 + 1)[:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    height = 2.0 / ((right - left) * bin_hz)
    table: NDArray[np.float64] = height * np.maximum(np.minimum(rising, falling), 0.0)
    return table


@cache
def _cosines() -> NDArray[np.float64]:
    """(40, 13) cosine transform; the first filter counts half."""
    m = np.arange(_N_FILTERS)[:, None]
    table: NDArray[np.float64] = np.cos(np.pi * np.arange(_N_CEPSTRA) * (m + 0.5) / _N_FILTERS) / _N_FILTERS
    table[0] *= 0.5
    return table


def _frames(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 1470): consecutive frames; a short last one repeats cyclically, an empty last one is zeros."""
    n = len(wave) // HOP + 1
    rest = wave[(n - 1) * HOP :]
    last = np.resize(rest, HOP) if len(rest) else np.zeros(HOP)
    return np.concatenate([wave[: (n - 1) * HOP], last]).reshape(n, HOP)


def legacy_features(wave_int16: ArrayLike) -> NDArray[np.float64]:
    """Features of the reference-era front end.

    Args:
        wave_int16: (n_samples,) mono samples at 22,050 Hz on the int16 scale.

    Returns:
        (n_samples // 1470, 28): [13 cepstra, log energy] of frame k, then (frame k + 1) - (frame k). The last
        of its n_samples // 1470 + 1 frames has no successor and therefore no row, so there may be one row fewer than
        `d2m.music.audio.n_frames`.

    Raises:
        ValueError: the wave is not one-dimensional.
    """
    wave = np.asarray(wave_int16, dtype=np.float64)
    if wave.ndim != 1:
        raise ValueError(f"legacy_features: expected (n_samples,), got shape {wave.shape}")
    frames = _frames(wave)
    flat = frames.ravel()
    emphasised = flat - _PRE_EMPHASIS * np.concatenate([[0.0], flat[:-1]])
    windowed = emphasised.reshape(frames.shape) * np.hamming(HOP)
    spectrum = np.fft.rfft(windowed[:, :_N_FFT], axis=1)  # like rfft(n=512), which truncates the window
    power = spectrum.real**2 + spectrum.imag**2
    # einsum, not BLAS: every row is summed in the same order, so equal frames differ by exactly zero.
    log_mel = np.log(np.maximum(np.einsum("tf,fm->tm", power, _filterbank()), _LOG_FLOOR))
    cepstra = np.einsum("tm,mc->tc", log_mel, _cosines())
    energy = np.log(1.0 + np.mean(frames**2, axis=1, keepdims=True))
    static = np.concatenate([cepstra, energy], axis=1)
    return np.concatenate([static[:-1], np.diff(static, axis=0)], axis=1)


def _legacy(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples beyond full scale are clipped to int16."""
    pcm = np.clip(np.rint(wave.astype(np.float64) * 32768.0), -32768, 32767)
    return legacy_features(pcm).astype(np.float32)


_STATIC = (*(f"cepstrum_{k}" for k in range(_N_CEPSTRA)), "log_energy")
FRONT_ENDS = (
    FrontEnd(
        "legacy", (*_STATIC, *(f"{name}_step" for name in _STATIC)), 2 * HOP / SAMPLE_RATE, _legacy,
        {"n_fft": _N_FFT, "hop": HOP, "n_filters": _N_FILTERS, "n_cepstra": _N_CEPSTRA},
    ),
)  # fmt: skip
