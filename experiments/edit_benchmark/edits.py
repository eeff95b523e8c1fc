"""The edits that are compared: every method at every strength, to one song, as rows of latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance, accepted_noise
from d2m.dance.table import LatentTable
from d2m.edits.directions import direction_between
from d2m.edits.edit import LatentEdit
from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.strength import blend
from d2m.reports.readings import matched_strength
from experiments.edit_benchmark.attributes import HELD, BothAxes, tempo_matched_shift

Floats = NDArray[np.float64]

NO_EDIT, REAL = "no edit", "real dances"
MEAN_SHIFT, SONG, OPTIMISE = "mean_shift", "song", "optimise"
#: Arithmetic: directions of :data:`d2m.edits.directions.DIRECTIONS`.
ARITHMETIC = (MEAN_SHIFT, "boundary", "erasure", "transport", "axes")
METHODS = (*ARITHMETIC, SONG, OPTIMISE)
#: The mean shift with directions projected out, pooled ones; the last with those within genres.
WITHOUT = {f"without {name}": (name,) for name in HELD} | {"without all three": HELD}
WITHOUT_WITHIN = "without all three, within genres"
MATCHED_TEMPO = "at one tempo"
VARIANTS = (*WITHOUT, WITHOUT_WITHIN, MATCHED_TEMPO)
#: Random directions: the anchors' and, apart from them, the control's.
ANCHOR, RANDOM, PERMUTED = "random anchor", "random", "permuted labels"
#: The share of the way to what the optimiser found.
SHARES = (0.25, 0.5, 0.75, 1.0)
#: Of :data:`MATCHED_TEMPO`: by how much the tempi of two songs may differ.
TEMPO_WITHIN = 0.06


@dataclass(frozen=True)
class Row:
    """An edited song: which of a method's strengths; index tells random directions apart; length in mean shifts."""

    method: str
    target: str
    index: int
    place: int
    strength: float
    length: float
    z: NDArray[np.floating]


class Shift:
    """Adds one vector (d,)."""

    def __init__(self, shift: Floats) -> None:
        self.vector = shift

    def transform(self, z: NDArray[np.floating], strength: float) -> NDArray[np.floating]:
        return blend(z, self.vector, strength)


@dataclass(frozen=True)
class PairEdits:
    """The edits from one genre to another, fitted on the training songs.

    length: of the mean shift. edits: (method, index) -> (edit, the strength at which it goes as far as the mean shift).
    matched_pairs: of training songs of one tempo.
    """

    source: str
    target: str
    length: float
    edits: Mapping[tuple[str, int], tuple[Any, float]]
    optimiser: LatentEdit | None
    matched_pairs: int


def fit_pair(
    table: LatentTable, tempo: Floats, axes: BothAxes, source: str, target: str, *, controls: int, permuted: int,
    steps: int, seed: int,
) -> PairEdits:  # fmt: skip
    """From the training songs' latents, a row per song.

    Args:
        tempo: of every row. controls: random directions of the anchor, and as many of the control. permuted: refits
            with shuffled genres, each at the length that it says itself. steps: of the optimiser; 0 for none.
    """
    z, genre = table.mu.astype(np.float64), table.genre
    draws = table.draws[genre == source].reshape(-1, z.shape[1])
    reference = direction_between(MEAN_SHIFT, source, target).fit(z, genre)
    shift = np.asarray(reference.shift(z), np.float64)
    edits: dict[tuple[str, int], tuple[Any, float]] = {(MEAN_SHIFT, 0): (reference, 1.0)}
    few = min((genre == source).sum(), (genre == target).sum()) < 2
    for name in ARITHMETIC[1:]:
        if not (name == "transport" and few):
            other = direction_between(name, source, target).fit_on_songs(table)
            edits[name, 0] = (other, matched_strength(other, reference, draws))
    for name, held in WITHOUT.items():
        edits[name, 0] = (Shift(axes.pooled.without(shift, held)), 1.0)
    edits[WITHOUT_WITHIN, 0] = (Shift(axes.within.without(shift, HELD)), 1.0)
    matched = tempo_matched_shift(z, genre, tempo, source, target, TEMPO_WITHIN)
    if matched is not None:
        edits[MATCHED_TEMPO, 0] = (Shift(matched[0]), 1.0)
    for k in range(2 * controls):
        control = direction_between("random", source, target, seed=1000 * (seed + 1) + k).fit(z, genre)
        edits[(ANCHOR, k) if k < controls else (RANDOM, k - controls)] = (control, 1.0)
    rng = np.random.default_rng([seed, 1])
    for k in range(permuted):
        shuffled = direction_between(MEAN_SHIFT, source, target).fit(z, rng.permutation(genre))
        edits[PERMUTED, k] = (shuffled, 1.0)
    optimiser = OptimisedEdit(source, target, steps=steps).fit_on_songs(table) if steps else None
    pairs = 0 if matched is None else matched[1]
    return PairEdits(source, target, float(np.linalg.norm(shift)), edits, optimiser, pairs)


def edit_rows(
    generator: DanceGenerator, dance: SongDance, seed: int, pair: PairEdits, strengths: Sequence[float],
    other: NDArray[np.floating],
) -> list[Row]:  # fmt: skip
    """Every edit of one dance towards the pair's target.

    Args:
        seed: that the dance was given. strengths: in lengths of the mean shift.
        other: z_dan (n, d) of a song of the target genre with this dance's noise.
    """
    z = dance.z_dan["original"]

    def row(method: str, index: int, place: int, strength: float, moved: NDArray[np.floating]) -> Row:
        length = float(np.linalg.norm(moved - z, axis=1).mean()) / pair.length
        return Row(method, pair.target, index, place, strength, length, moved)

    rows = [
        row(method, index, k, s, edit.transform(z, s * unit))
        for (method, index), (edit, unit) in pair.edits.items()
        for k, s in enumerate(strengths)
    ]
    unit = pair.length / max(float(np.linalg.norm(other - z, axis=1).mean()), 1e-12)
    rows += [row(SONG, 0, k, s, blend(z, other - z, s * unit)) for k, s in enumerate(strengths)]
    if pair.optimiser is not None:
        bound: Any = pair.optimiser.for_dance(generator, accepted_noise(generator, dance, seed))
        best = bound.transform(z, 1.0)
        rows += [row(OPTIMISE, 0, k, s, blend(z, best - z, s)) for k, s in enumerate(SHARES)]
    return rows


def song_latents(
    generator: DanceGenerator, features: NDArray[np.floating], dance: SongDance, seed: int
) -> NDArray[np.floating]:
    """z_dan (n, d) of another song, heard at the moments of this dance's segments, with this dance's noise."""
    noise = accepted_noise(generator, dance, seed)
    styles = generator.segment_styles(features, dance.centres_s)
    return np.asarray(generator.encode_style(styles[None], noise).sample[0, :, 0].float().cpu().numpy())
