"""Front ends `mfcc`, the default of `experiment=paper` (cepstra, log energy and their change), and `mfcc_loudness`.

13 cepstra and a log energy, then the first differences of these 14 (Lee et al., "Dancing to Music", NeurIPS 2019,
section 4): a centred 2048-sample Hann window every 1470 samples (one dance frame), zeros beyond the ends; 40 Slaney mel
bands from 0 Hz to Nyquist, each of unit area; natural log; orthonormal DCT-II. A change of loudness by a factor g adds
a constant to the first cepstrum and to the energy and affects nothing else, down to the noise level of 16-bit audio, at
which both logs are floored, so that digital silence and dithered silence look alike. Nothing is relative to the song's
maximum, so an excerpt has the same features as the whole song.

`mfcc_loudness` is `mfcc` of the song normalised to -23 LUFS (:mod:`d2m.music.front_ends.loudness`). Songs then no
longer differ by level, but an excerpt has other features than the whole song. It is not the default because of
docs/adr/0037.

Plain torch (the default, the same on CPU and GPU), torchaudio and librosa give the same numbers; a test compares those
that can be imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.compiled import librosa
from d2m.music.front_ends.augment import NEPER, changed_cepstra
from d2m.music.front_ends.base import FrontEnd
from d2m.music.front_ends.loudness import TARGET_LUFS, normalize_loudness

if TYPE_CHECKING:
    import torch

    from d2m.music.front_ends.augment import Change

BACKENDS: tuple[str, ...] = ("torch", "torchaudio", "librosa")
N_FFT = 2048
N_MELS = 40
N_CEPSTRA = 13
STATIC: tuple[str, ...] = (*(f"cepstrum_{k}" for k in range(N_CEPSTRA)), "log_energy")
#: The difference to the previous frame; 0 in row 0.
COLUMNS: tuple[str, ...] = (*STATIC, *(f"{name}_change" for name in STATIC))
# The power of 16-bit rounding noise, per sample and per unit-area mel band.
_NOISE_POWER = (2.0**-15) ** 2 / 12.0
_HANN_POWER = 0.375 * N_FFT
_MEL_FLOOR = _NOISE_POWER * _HANN_POWER * N_FFT / SAMPLE_RATE
# Frames per block: 2 h of audio need no more memory than a minute.
_BLOCK = 512


def _mfcc(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) -> (n_frames(n), 28), frame k centred on sample 1470 k."""
    rows = np.empty((n_frames(len(wave)), len(COLUMNS)), np.float32)
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(rows)))
        rows[block] = mfcc_rows(wave, block)
    return rows


def mfcc_rows(wave: NDArray[np.float32], block: slice) -> NDArray[np.float32]:
    """Rows of a block of frames: from two frames more on the left, for the change and the window, one on the right."""
    import torch

    before = max(block.start - 2, 0)
    part = wave[before * HOP : (block.stop + 1) * HOP]
    # The last frame may start after the end of the audio, because half frames are rounded to even.
    part = np.pad(part, (0, max((block.stop - before) * HOP - len(part), 0)))
    rows = mfcc_batch(torch.from_numpy(part[None]))[0].numpy()
    return np.asarray(rows[block.start - before : block.stop - before])


def _mfcc_loudness(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    return _mfcc(normalize_loudness(wave))


def mfcc_batch(waves: torch.Tensor, backend: str = "torch") -> torch.Tensor:
    """Features of equally long songs, on their device.

    Args:
        waves: (b, n) float32 mono at 22,050 Hz.
        backend: implementation of the mel spectrogram and its DCT, one of `BACKENDS`; results agree.

    Returns:
        (b, n_frames(n), 28) float32; columns: :data:`COLUMNS`.

    Raises:
        D2MError: an unknown backend, or one that cannot be imported.
    """
    import torch

    if backend not in BACKENDS:
        raise D2MError(f"audio backend '{backend}' is unknown; choose one of {', '.join(BACKENDS)}")
    batch, n_samples = waves.shape
    length = n_frames(n_samples)
    if not length or not batch:
        return waves.new_zeros(batch, length, len(COLUMNS))
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
    except (ImportError, OSError) as error:  # its extension does not load with a CPU build of torch
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


def answer(rows: torch.Tensor, change: Change) -> torch.Tensor:
    """(b, t, 28), as :attr:`FrontEnd.answer`; differences are taken between changed frames."""
    import torch

    def changed(static: torch.Tensor) -> torch.Tensor:
        cepstra, rise = changed_cepstra(
            static[..., :N_CEPSTRA], change, N_MELS, NEPER, lambda _: math.log(_MEL_FLOOR) / NEPER
        )
        return torch.cat([cepstra, static[..., N_CEPSTRA:] + rise], dim=-1)

    static = rows[..., : len(STATIC)]
    now = changed(static)
    return torch.cat([now, now - changed(static - rows[..., len(STATIC) :])], dim=-1)


def _answer_loudness(rows: torch.Tensor, change: Change) -> torch.Tensor:
    """As `answer`, with each window rescaled to its original energy, as loudness normalisation does for the song."""
    changed = answer(rows, change)
    rise = (changed - rows)[..., N_CEPSTRA].mean(dim=1)[:, None]
    changed[..., 0] -= math.sqrt(N_MELS) * rise
    changed[..., N_CEPSTRA] -= rise
    return changed


_PARAMS = {"n_fft": N_FFT, "hop": HOP, "n_mels": N_MELS, "n_cepstra": N_CEPSTRA}
FRONT_ENDS = (
    FrontEnd("mfcc", COLUMNS, (N_FFT / 2 + HOP) / SAMPLE_RATE, _mfcc, _PARAMS, answer=answer),
    FrontEnd(
        "mfcc_loudness", COLUMNS, math.inf, _mfcc_loudness, {**_PARAMS, "lufs": TARGET_LUFS}, answer=_answer_loudness
    ),
)
