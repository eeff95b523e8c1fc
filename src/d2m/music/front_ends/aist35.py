"""Front end `aist35`: the 35 music features of FACT and of the AIST++ baselines, at 15 fps.

Column 0 the onset strength, 1-20 MFCC, 21-32 pitch classes, 33 onsets and 34 beats as ones among zeros (Li et al., "AI
Choreographer", ICCV 2021, whose order this is; EDGE's baseline and MEGADance take the same). Theirs come from librosa
at 60 fps, a hop of 512 samples at 30,720 Hz. Differences, so that each row is one dance frame at 22,050 Hz:

* The onset strength, onsets and beats are d2m's own (:mod:`d2m.music.beats`: librosa's trackers at 43 fps, started at
  112.5 BPM instead of 120 or the tempo in a file's name); a row takes the largest strength, and a one, of its 1/15 s.
* MFCC: librosa's (128 mel bands, dB, at most 80 dB below the song's loudest, orthonormal DCT), every 1470 samples.
* Pitch classes: the steps of librosa's `chroma_cens` (shares, four levels, smoothing over 0.7 s, unit length) on the
  chroma of `rhythm`, from an STFT instead of a constant-Q transform, without an estimate of the tuning.

Beats and the loudest moment depend on the whole song, so an excerpt has other rows (`context_s` is inf).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import convolve1d

from d2m.core.skeleton import FPS, HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.beats import beats_from, onset_strength, onsets_from
from d2m.music.compiled import librosa
from d2m.music.front_ends.augment import changed_cepstra, roll
from d2m.music.front_ends.base import FrontEnd
from d2m.music.front_ends.rhythm import PITCHES, chroma, power_spectrum

if TYPE_CHECKING:
    from torch import Tensor

    from d2m.music.front_ends.augment import Change

N_FFT = 2048
N_MELS = 128
N_CEPSTRA = 20
COLUMNS: tuple[str, ...] = (
    "onset_strength", *(f"mfcc_{k}" for k in range(N_CEPSTRA)), *(f"chroma_{p}" for p in PITCHES), "onset", "beat",
)  # fmt: skip
_TOP_DB = 80.0
# CENS quantisation: a share of a pitch class above each of these adds one quarter.
_LEVELS = (0.05, 0.1, 0.2, 0.4)
# 41 of their frames at 60 fps.
_SMOOTH_FRAMES = 11
_STRENGTH_FPS = SAMPLE_RATE / 512
_BLOCK = 512

Floats = NDArray[np.float32]


def aist35(wave: Floats) -> Floats:
    """(n,) mono at 22,050 Hz -> (n_frames(n), 35) float32 at 15 fps; see the module."""
    length = n_frames(len(wave))
    rows = np.zeros((length, len(COLUMNS)), np.float32)
    if not length:
        return rows
    mel, pitches = np.empty((length, N_MELS), np.float32), np.empty((length, len(PITCHES)), np.float32)
    for first in range(0, length, _BLOCK):
        block = slice(first, min(first + _BLOCK, length))
        mel[block] = power_spectrum(wave, N_FFT, HOP, block) @ _mel_filters()
        pitches[block] = chroma(wave, block)
    strength = onset_strength(wave)
    if strength is not None:
        at = np.rint(np.arange(len(strength)) / _STRENGTH_FPS * FPS).astype(int)
        np.maximum.at(rows[:, 0], np.minimum(at, length - 1), strength)
    decibels = 10 * np.log10(np.maximum(mel, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - _TOP_DB)
    rows[:, 1:21] = fft.dct(decibels, axis=1, norm="ortho")[:, :N_CEPSTRA]
    rows[:, 21:33] = _cens(pitches)
    for column, times in ((33, onsets_from(strength, len(wave))), (34, beats_from(strength, len(wave)))):
        rows[np.minimum(np.rint(times * FPS).astype(int), length - 1), column] = 1
    return rows


def _cens(pitches: Floats) -> Floats:
    """(t, 12) -> (t, 12), "chroma energy normalised statistics" (Müller and Ewert, ISMIR 2011); silence is zero."""
    share = pitches / np.maximum(pitches.sum(1, keepdims=True), 1e-9)
    quarters = sum((share > level).astype(np.float32) for level in _LEVELS) / np.float32(4)
    window = np.hanning(_SMOOTH_FRAMES + 2)[1:-1]
    smooth = convolve1d(quarters, window / window.sum(), axis=0, mode="constant")
    return np.asarray(smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-6), np.float32)


@cache
def _mel_filters() -> Floats:
    """(1025, 128)"""
    return np.ascontiguousarray(librosa("filters").mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS).T, np.float32)


def _floor(decibels: Tensor) -> Tensor:
    """(b, t, bands) -> (b, 1, 1). The song's loudest band is some 5 dB above what a window's cepstra say."""
    return decibels.amax(dim=(1, 2), keepdim=True) + 5.0 - _TOP_DB


def _answer(rows: Tensor, change: Change) -> Tensor:
    """As :attr:`FrontEnd.answer`. Onsets and beats stay where they are among the frames."""
    import torch

    strength, cepstra, pitches, ones = rows.split([1, N_CEPSTRA, len(PITCHES), 2], -1)
    changed, _ = changed_cepstra(cepstra, change, N_MELS, 1.0, _floor)
    return torch.cat([strength * change.attack[:, None, None], changed, roll(pitches, change.semitones), ones], dim=-1)


_PARAMS = {"n_fft": N_FFT, "hop": HOP, "n_mels": N_MELS, "n_cepstra": N_CEPSTRA, "top_db": _TOP_DB}
FRONT_ENDS = (FrontEnd("aist35", COLUMNS, math.inf, aist35, _PARAMS, answer=_answer),)
