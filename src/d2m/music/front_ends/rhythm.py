"""Front end `rhythm`: the spectrum of each frame, and the rhythm of the nine seconds around it.

188 columns at 15 fps: the 28 of `mfcc`; for the whole spectrum and for three bands of it the tempogram (36 tempi), then
the four onset strengths; 12 pitch classes. A 2 s window of cepstra is too short for a bar; these rows are not.
docs/adr/0062 has the measurements.

* Onset strength: 40 Slaney mel bands of a 1024-sample Hann window, 45 times a second; the increase of their
  natural logs over two frames (decreases count as zero), averaged over the bands of each part. The logs are floored at
  the noise of 16-bit sound. The column has the largest of the three values nearest to the dance frame.
* Tempogram (Grosche, Müller and Kurth, "Cyclic tempogram", ICASSP 2010): the autocorrelation of the onset strength
  under a Hann window of 9 s centred on the frame, its mean taken out, averaged over each of 36 bands of tempi that
  divide the logarithm evenly, from 40 to 320 BPM: no tempo falls between two columns. The lags are not whole numbers of
  frames; a sum of the power spectrum's cosines is the autocorrelation's band-limited interpolation. Negative
  values count as zero, and the largest of the 36 is scaled to 1 unless it is below a tenth of the autocorrelation at
  lag zero, so that sound without rhythm keeps small values.
* Pitch classes: librosa's filters on the power of a 4096-sample Hann window, without an estimate of the tuning, each
  row of unit length; they fade out in the noise of 16-bit sound.

A row looks 4.5 s ahead and 4.5 s back, and half a window further (:data:`CONTEXT_S`); beyond the ends of the song there
is silence. Nothing is relative to the song, so from `CONTEXT_S` inside its ends, an excerpt has the rows of the whole
song. A gain shifts the first cepstrum and the log energy by a constant and affects no other column, until the level
falls below the noise of 16-bit audio.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import get_window

from d2m.core.skeleton import FPS, HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.compiled import librosa
from d2m.music.front_ends import mfcc
from d2m.music.front_ends.augment import roll, shift
from d2m.music.front_ends.base import FrontEnd

if TYPE_CHECKING:
    from torch import Tensor

    from d2m.music.front_ends.augment import Change

Floats = NDArray[np.float32]

#: Parts of the spectrum with their own onset strength and tempogram -> their mel bands.
BANDS: dict[str, slice] = {"all": slice(0, 40), "low": slice(0, 13), "mid": slice(13, 27), "high": slice(27, 40)}
#: Centres of the tempograms' columns, in BPM.
TEMPI: NDArray[np.float64] = np.geomspace(40.0, 320.0, 36)
TEMPOGRAM_S = 9.0
N_MELS = 40
ONSET_FPS = 3 * FPS
_ONSET_HOP = SAMPLE_RATE // ONSET_FPS
_ONSET_FFT = 1024
# Frames between compared logs; neighbouring windows share half of their samples.
_RISE = 2
_CHROMA_FFT = 4096
#: Seconds before and after a row's time beyond which the audio does not affect it.
CONTEXT_S = TEMPOGRAM_S / 2 + (_ONSET_FFT / 2 + _RISE * _ONSET_HOP) / SAMPLE_RATE
PITCHES: tuple[str, ...] = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_TEMPOGRAM_FRAMES = round(TEMPOGRAM_S * ONSET_FPS)
# Lags at which the autocorrelation is sampled for a column's band of tempi.
_LAGS = 4
# The longest lag is 69.4 frames: from 405 + 70 points on, the circular autocorrelation does not wrap around.
_TEMPOGRAM_FFT = 480
# Power of 16-bit rounding noise in a bin under a Hann window; times the area of a unit-area mel band.
_NOISE = (2.0**-15) ** 2 / 12.0 * 0.375
_MEL_FLOOR = _NOISE * _ONSET_FFT * _ONSET_FFT / SAMPLE_RATE
_CHROMA_FLOOR = _NOISE * _CHROMA_FFT * _CHROMA_FFT / 12
# A tempogram is scaled by its largest value if that is at least this share of the autocorrelation at lag zero.
_RHYTHMIC = 0.1
# Autocorrelation at lag zero of a ripple of 0.01 nats; flatter signals are not scaled up.
_FLAT = 0.01
# Frames per block: 2 h of audio need no more memory than a minute.
_BLOCK = 512

COLUMNS: tuple[str, ...] = (
    *mfcc.COLUMNS,
    *(f"tempogram_{band}_{bpm:.0f}" for band in BANDS for bpm in TEMPI),
    *(f"onset_{band}" for band in BANDS),
    *(f"chroma_{p}" for p in PITCHES),
)


def rhythm(wave: Floats) -> Floats:
    """(n,) mono at 22,050 Hz -> (n_frames(n), 188) float32 at 15 fps, row k at k / 15 s; see the module."""
    strengths = onset_strengths(wave)
    rows = np.empty((n_frames(len(wave)), len(COLUMNS)), np.float32)
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(rows)))
        frames = np.arange(block.start, block.stop) * (ONSET_FPS // FPS)
        parts = [mfcc.mfcc_rows(wave, block), *(tempogram(s, frames) for s in strengths), _nearest(strengths, block)]
        rows[block] = np.concatenate([*parts, chroma(wave, block)], axis=1)
    return rows


def power_spectrum(wave: Floats, n_fft: int, hop: int, block: slice) -> Floats:
    """(frames of the block, bins): power under a Hann window centred on sample ``hop k``, zeros beyond the ends."""
    left, right = block.start * hop - n_fft // 2, (block.stop - 1) * hop + n_fft // 2
    part = wave[max(left, 0) : max(right, 0)]
    part = np.pad(part, (max(-left, 0), 0))
    part = np.pad(part, (0, right - left - len(part)))
    frames = np.lib.stride_tricks.sliding_window_view(part, n_fft)[::hop]
    spectrum = fft.rfft(frames * _hann(n_fft), axis=1)
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


@cache
def _hann(n: int) -> Floats:
    return np.asarray(get_window("hann", n), np.float32)


def onset_strengths(wave: Floats) -> Floats:
    """(n,) -> (4, 3 n_frames(n)) nats at 45 fps, one row for each of :data:`BANDS`, frame j at j / 45 s.

    Zero if a window extends past an end of the song, since the start of a song is not an onset.
    """
    length = ONSET_FPS // FPS * n_frames(len(wave))
    strengths = np.zeros((len(BANDS), length), np.float32)
    for first in range(0, length, _BLOCK):
        block = slice(first, min(first + _BLOCK, length))
        mel = power_spectrum(wave, _ONSET_FFT, _ONSET_HOP, slice(first - _RISE, block.stop)) @ _mel_filters()
        log_mel = np.log(np.maximum(mel, _MEL_FLOOR))
        rise = np.maximum(log_mel[_RISE:] - log_mel[:-_RISE], 0)
        for row, bands in zip(strengths, BANDS.values(), strict=True):
            row[block] = rise[:, bands].mean(1)
    at = np.arange(length) * _ONSET_HOP
    inside = (at - _RISE * _ONSET_HOP >= _ONSET_FFT // 2) & (at + _ONSET_FFT // 2 <= len(wave))
    return np.where(inside, strengths, np.float32(0))


@cache
def _mel_filters() -> Floats:
    """(513, 40)"""
    return np.ascontiguousarray(librosa("filters").mel(sr=SAMPLE_RATE, n_fft=_ONSET_FFT, n_mels=N_MELS).T, np.float32)


def tempogram(strength: Floats, frames: NDArray[np.int64]) -> Floats:
    """Rhythm of an onset strength (m,) at 45 fps around its ``frames`` (k,), ascending -> (k, 36), from 0 to 1."""
    half = _TEMPOGRAM_FRAMES // 2
    start, stop = int(frames[0]) - half, int(frames[-1]) + half + 1
    part, inside = np.zeros((2, stop - start), np.float32)
    low, high = max(start, 0), min(stop, len(strength))
    part[low - start : high - start] = strength[low:high]
    inside[low - start : high - start] = 1
    at = frames - int(frames[0])
    x, weight = (np.lib.stride_tricks.sliding_window_view(a, _TEMPOGRAM_FRAMES)[at] * _window() for a in (part, inside))
    x = x - weight * (x.sum(1, keepdims=True) / weight.sum(1, keepdims=True))
    spectrum = fft.rfft(x, _TEMPOGRAM_FFT, axis=1)
    correlation = np.maximum((spectrum.real**2 + spectrum.imag**2) @ _cosines(), 0)
    largest = np.maximum(correlation.max(1), _RHYTHMIC * np.einsum("kt,kt->k", x, x))[:, None]
    return np.asarray(correlation / np.maximum(largest, _FLAT), np.float32)


@cache
def _window() -> Floats:
    return np.asarray(get_window("hann", _TEMPOGRAM_FRAMES, fftbins=False), np.float32)


@cache
def _cosines() -> Floats:
    """(241, 36): power spectrum -> autocorrelation, averaged over each column's tempi."""
    step = np.log(TEMPI[1] / TEMPI[0])
    within = (np.arange(_LAGS) + 0.5) / _LAGS - 0.5
    lags = 60.0 * ONSET_FPS / (TEMPI[:, None] * np.exp(step * within))
    k = np.arange(_TEMPOGRAM_FFT // 2 + 1)[:, None, None]
    cosines = np.cos(2 * np.pi * k * lags / _TEMPOGRAM_FFT).mean(2) / _TEMPOGRAM_FFT
    cosines[1:-1] *= 2
    return np.asarray(cosines, np.float32)


def _nearest(strengths: Floats, block: slice) -> Floats:
    """(4, m) at 45 fps -> (frames of the block, 4): the largest of the three values nearest to each dance frame."""
    first, stop = 3 * block.start - 1, 3 * block.stop - 1
    part = np.pad(strengths[:, max(first, 0) : stop], ((0, 0), (max(-first, 0), 0)))
    return np.asarray(part.reshape(len(strengths), -1, 3).max(2).T)


def chroma(wave: Floats, block: slice) -> Floats:
    """(frames of the block, 12) pitch classes from C on, each row of unit length or zero (silence), 15 fps."""
    energy = power_spectrum(wave, _CHROMA_FFT, HOP, block) @ _chroma_filters()
    # Rows fade out below the noise level, so that silence and dither have no pitch classes.
    size = np.sqrt(np.einsum("kp,kp->k", energy, energy))[:, None]
    return np.asarray(energy / (size + np.float32(_CHROMA_FLOOR)), np.float32)


@cache
def _chroma_filters() -> Floats:
    """(2049, 12)"""
    table = librosa("filters").chroma(sr=SAMPLE_RATE, n_fft=_CHROMA_FFT, tuning=0.0)
    return np.ascontiguousarray(np.asarray(table, np.float32).T)


def _answer(rows: Tensor, change: Change) -> Tensor:
    """As :attr:`FrontEnd.answer`. Tempograms are scaled to 1, so the sharpness of onsets does not affect them."""
    import torch

    cepstra, tempi, onsets, pitches = rows.split(
        [len(mfcc.COLUMNS), len(BANDS) * len(TEMPI), len(BANDS), len(PITCHES)], -1
    )
    steps = torch.log(change.tempo) / math.log(TEMPI[1] / TEMPI[0])
    faster = shift(tempi.unflatten(-1, (len(BANDS), len(TEMPI))), steps).flatten(-2)
    return torch.cat(
        [mfcc.answer(cepstra, change), faster, onsets * change.attack[:, None, None], roll(pitches, change.semitones)],
        dim=-1,
    )


_PARAMS = {
    "tempogram_s": TEMPOGRAM_S, "tempi_bpm": [float(TEMPI[0]), float(TEMPI[-1]), len(TEMPI)], "onset_fps": ONSET_FPS,
}  # fmt: skip
FRONT_ENDS = (FrontEnd("rhythm", COLUMNS, CONTEXT_S, rhythm, _PARAMS, answer=_answer),)
