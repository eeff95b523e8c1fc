"""Augmentation in feature space: features as if the sound were transposed, faster, louder, equalised, etc.

Each front end computes the effect on its columns (:attr:`FrontEnd.answer`). Shared parts are here: the time axis, and
cepstra. All of it is a first-order approximation; docs/adr/0065 compares it with the features of changed sound
(:mod:`d2m.music.transforms`).
"""

from __future__ import annotations

import inspect
import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.compiled import librosa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor

    from d2m.music.front_ends.base import FrontEnd

#: dB -> natural logarithm of power.
NEPER = math.log(10.0) / 10.0
# Fraction of the spectrum below Nyquist that resampling filters preserve; measured.
_PASSED = 0.96


class Change(NamedTuple):
    """The change of the sound of each window of a batch.

    semitones: (b,) upwards; the spectral envelope moves with the pitch, as on a faster tape.
    tempo: (b,) factor, at the same pitch.
    gain_db: (b,) increase of the level.
    attack: (b,) factor of the sharpness of onsets, which rooms, time stretching and compressors reduce.
    eq_db: (b, k) an equaliser's curve: dB of k cosines, of 1, 2, ... half periods from 0 Hz to Nyquist on the mel axis.
    """

    semitones: Tensor
    tempo: Tensor
    gain_db: Tensor
    attack: Tensor
    eq_db: Tensor


def draw_change(
    n: int,
    generator: torch.Generator,
    semitones: float = 0,
    tempo: float = 1.0,
    gain_db: float = 0.0,
    attack: float = 1.0,
    eq_db: float = 0.0,
    n_eq: float = 4,
) -> Change:
    """Draw changes of n windows, on the CPU; the defaults mean no change.

    Args:
        semitones: whole semitones, uniform from -semitones to semitones.
        tempo: for every second window, log-uniform from 1 / tempo to tempo; the others keep their tempo.
        gain_db: uniform from -gain_db to gain_db.
        attack: log-uniform from 1 / attack to attack.
        eq_db: standard deviation of the equaliser's first cosine; that of the k-th is 1 / k of it.
        n_eq: number of cosines of the equaliser.
    """
    import torch

    def evenly() -> Tensor:
        return 2 * torch.rand(n, generator=generator) - 1

    pitch = torch.randint(-round(semitones), round(semitones) + 1, (n,), generator=generator).float()
    faster = torch.exp(math.log(tempo) * evenly() * (torch.arange(n) % 2))
    louder = gain_db * evenly()
    sharper = torch.exp(math.log(attack) * evenly())
    curve = eq_db * torch.randn(n, round(n_eq), generator=generator) / torch.arange(1, round(n_eq) + 1)
    return Change(pitch, faster, louder, sharper, curve)


def tempo_margin(ranges: Mapping[str, float] | None, frames: int) -> int:
    """Number of rows on either side of a window of ``frames`` that the fastest tempo in the ranges needs."""
    return math.ceil(frames / 2 * ((ranges or {}).get("tempo", 1.0) - 1))


def check_augment(hears: FrontEnd, ranges: Mapping[str, float]) -> None:
    """Check that a front end supports these augmentations.

    Raises:
        D2MError: the front end cannot be augmented, or a range is unknown or invalid.
    """
    known = [name for name in inspect.signature(draw_change).parameters if name not in ("n", "generator")]
    for name, value in ranges.items():
        if name not in known:
            raise D2MError(f"augment.{name}: no such change; choose from {', '.join(known)}")
        least = 1 if name in ("tempo", "attack", "n_eq") else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
            raise D2MError(f"augment.{name}={value}: give a number of at least {least}")
    _check_answers(hears)


def _check_answers(hears: FrontEnd) -> None:
    if hears.answer is None:
        raise D2MError(f"front end '{hears.name}' cannot be augmented; choose another front end, or augment=null")


def change_rows(hears: FrontEnd, rows: Tensor, change: Change, frames: int | None = None) -> Tensor:
    """Features of the changed sound.

    Args:
        rows: (b, t, f) features at 15 fps, not normalised. A faster song needs more input frames than output
            frames: t should be ``frames`` times the tempo; beyond the ends, the end rows are repeated.
        frames: number of output frames, around the middle of ``rows``; t by default.

    Returns:
        (b, frames, f) on the device of ``rows``, which are not modified.

    Raises:
        D2MError: the front end cannot be augmented.
        ValueError: the shapes do not fit.
    """
    _check_answers(hears)
    assert hears.answer is not None
    if rows.ndim != 3 or rows.shape[2] != hears.width or len(change.tempo) != len(rows):
        raise ValueError(f"change_rows: {len(change.tempo)} changes of {tuple(rows.shape)}, {hears.width} columns")
    parts = (change.semitones, change.tempo, change.gain_db, change.attack, change.eq_db)
    here = Change(*(part.to(rows) for part in parts))
    return hears.answer(_in_time(rows, here.tempo, frames or rows.shape[1]), here)


def _in_time(rows: Tensor, tempo: Tensor, frames: int) -> Tensor:
    """(b, t, f) -> (b, frames, f): nearest rows, which keep peaks and ones that interpolation would smear."""
    import torch

    t = rows.shape[1]
    from_middle = torch.arange(frames, device=rows.device) - (frames - 1) / 2
    at = ((t - 1) / 2 + from_middle * tempo[:, None]).round().clamp(0, t - 1).long()
    return rows.gather(1, at[..., None].expand(-1, -1, rows.shape[2]))


def shift(rows: Tensor, steps: Tensor) -> Tensor:
    """(b, ..., f) shifted right by (b,) columns, with linear interpolation; the edges are repeated."""
    return _read(rows, lambda at: at.clamp(0, rows.shape[-1] - 1), steps)


def roll(rows: Tensor, steps: Tensor) -> Tensor:
    """(b, ..., f) rotated right by (b,) columns, with linear interpolation."""
    return _read(rows, lambda at: at % rows.shape[-1], steps)


def _read(rows: Tensor, inside: Callable[[Tensor], Tensor], steps: Tensor) -> Tensor:
    """Interpolate columns at shifted positions; ``inside`` maps positions beyond the ends to columns."""
    import torch

    at = torch.arange(rows.shape[-1], device=rows.device) - steps.view(-1, *[1] * (rows.ndim - 1))
    left = at.floor()
    weight = at - left
    one, other = (rows.gather(-1, inside(i.long()).expand(rows.shape)) for i in (left, left + 1))
    return (1 - weight) * one + weight * other


def changed_cepstra(
    rows: Tensor, change: Change, n_mels: int, unit: float, floor: Callable[[Tensor], Tensor | float]
) -> tuple[Tensor, Tensor]:
    """Cepstra as if the sound were changed: orthonormal DCT-II of the logs of Slaney's unit-area mel bands.

    The bands are reconstructed from the available cepstra. Transposing down leaves the top bands empty.

    Args:
        rows: (b, t, c).
        unit: of one dB in the logs.
        floor: (b, t, bands) dB -> dB of a band without sound, a number or (b, 1, 1).

    Returns:
        (b, t, c), and (b, t, 1), the increase of the energy of each frame, in the unit.
    """
    import torch

    edges, dct = (torch.from_numpy(table).to(rows) for table in _mel(n_mels))
    m, ratio, gain = torch.arange(n_mels).to(rows), 2 ** (change.semitones[:, None] / 12), change.gain_db[:, None, None]
    heard = dct[:, : rows.shape[-1]]
    # Band m takes the value at the frequency that moves to its centre.
    source = _position(edges[1:-1] / ratio, n_mels).clamp(0, n_mels - 1)
    moved = (1 - (source[..., None] - m).abs()).clamp_min(0)  # (b, bands, bands)
    curve = change.eq_db @ dct[:, 1 : 1 + change.eq_db.shape[1]].T * math.sqrt(n_mels / 2)
    before = rows @ (moved @ heard).mT / unit
    after = before + curve[:, None] + gain
    width = torch.log(edges[2:] - edges[:-2])
    loud, soft = (torch.logsumexp(x * NEPER + width, -1, keepdim=True) for x in (after, before))
    # The same power spread over more hertz has a lower density.
    after = after - 10 * torch.log10(ratio)[..., None]
    # The part of a band's triangle (0 to 2) that lies below the original Nyquist frequency.
    end = edges[-1] * torch.where(ratio < 1, _PASSED * ratio, torch.ones_like(ratio))
    full = (_position(end, n_mels) - m + 1).clamp(0, 2)[:, None]
    share = torch.where(full < 1, full**2 / 2, 1 - (2 - full) ** 2 / 2)
    after = torch.where(full < 2, (after + 10 * torch.log10(share)).clamp_min(floor(after)), after)
    return after @ heard * unit, (loud - soft) / NEPER * unit


def _position(hz: Tensor, n_mels: int) -> Tensor:
    """Frequencies on Slaney's mel scale, in bands: m at the middle of band m."""
    import torch

    logarithmic, top = (
        15 + 27 / math.log(6.4) * torch.log(f.clamp_min(1000) / 1000) for f in (hz, torch.tensor(SAMPLE_RATE / 2))
    )
    return torch.where(hz < 1000, 0.015 * hz, logarithmic) * (n_mels + 1) / top - 1


@cache
def _mel(n_mels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(bands + 2,) Hz of the bands' edges, each the middle of its neighbour; (bands, bands) inverse DCT-II."""
    edges = librosa("core.convert").mel_frequencies(n_mels + 2, fmin=0.0, fmax=SAMPLE_RATE / 2)
    return np.asarray(edges, np.float32), fft.dct(np.eye(n_mels, dtype=np.float32), axis=1, norm="ortho")
