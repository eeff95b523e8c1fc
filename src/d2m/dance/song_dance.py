"""A dance to one song with its edits: its data, the protocols of edits, its latents and noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise


class Edit(Protocol):
    """Maps the latents (n, z_dan) of a dance to those of the neutral and target dance; strength a number or (n,)."""

    def neutral(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]: ...

    def transform(self, z: NDArray[np.floating], strength: float | NDArray[np.floating]) -> NDArray[np.floating]: ...


@runtime_checkable
class DanceEdit(Protocol):
    """An edit that depends on the bundle and the noise (1, n, 1) of a dance, from which it makes an :class:`Edit`.

    After the dance, that edit may have a dict ``facts`` for :attr:`SongDance.edit_facts`.
    """

    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> Edit: ...


AnyEdit = Edit | DanceEdit


def check_edit(edit: object) -> None:
    """Check that a value is an edit or None.

    Raises:
        D2MError: it is neither.
    """
    made = isinstance(edit, DanceEdit) or all(callable(getattr(edit, k, None)) for k in ("neutral", "transform"))
    if edit is not None and not made:
        raise D2MError(f"edit={edit!r}: not an edit; give one such as d2m.MeanShift('A', 'B')")


class StrengthCurve(Protocol):
    """A strength that changes along the song."""

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Strength at these times (n,) -> (n,)."""
        ...

    def table(self) -> list[list[float]]:
        """[[seconds, strength], ...]."""
        ...


@dataclass(frozen=True)
class SongDance:
    """The dances to one song; keys are "original" and, with an edit, "neutral" and "target"."""

    poses: dict[str, NDArray[np.float32]]  # (t, 14, 2) pixels at 15 fps
    unwarped: dict[str, NDArray[np.float32]]  # (m, 14, 2): as decoded, before the beat warp
    z_dan: dict[str, NDArray[np.float32]]  # (n, z_dan), one per 96 frames of dance
    music_beats: NDArray[np.float64]  # s
    dance_beats: NDArray[np.float64]  # s
    draws: NDArray[np.int64]  # (n,) accepted draw of every segment
    accepted: NDArray[np.bool_]  # (n,)
    centres_s: NDArray[np.float64]  # (n,) times of the segments' centres, in seconds of the song
    music_votes: NDArray[np.float32]  # (g,) probabilities of the music style network, averaged over 2 s windows
    music_votes_by_segment: NDArray[np.float32]  # (n, g), averaged over the windows within 6.4 s around each centre
    edit_facts: dict[str, Any] = field(default_factory=dict)  # facts reported by the edit, plain values


def fit_z_dan(z_dan: NDArray[np.floating], n: int, width: int, source: str = "z_dan") -> NDArray[np.float32]:
    """A given latent (d,), (1, d) or (m >= n, d) as (n, d); a single one is used for the whole song.

    Raises:
        D2MError: another shape or not finite.
    """
    z = np.atleast_2d(np.asarray(z_dan, np.float32))
    if z.ndim != 2 or z.shape[1] != width or (len(z) != 1 and len(z) < n) or not np.isfinite(z).all():
        raise D2MError(
            f"{source}: shape {np.shape(z_dan)} does not fit; give finite numbers of shape ({width},) or ({n},{width})"
        )
    return np.repeat(z, n, axis=0) if len(z) == 1 else z[:n]


def accepted_noise(generator: DanceGenerator, dance: SongDance, seed: int) -> DanceNoise:
    """The noise (1, n, 1) of a dance's accepted draws, reproduced from its seed."""
    n = len(dance.draws)
    noise = generator.draw_noise(n, torch.Generator().manual_seed(seed))
    return noise.pick(torch.from_numpy(dance.draws)[None])
