"""Pools measurements of held-out songs over several runs, so that every song counts once.

Runs with different splits hold out some songs in common. Their rows are not independent, so a song's rows are first
averaged over runs, and every mean, null and p-value is over distinct songs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.stats.labels import song_labels
from d2m.stats.nulls import permutation_p, shuffles
from d2m.stats.structure import Tested

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SongRows:
    """A row per run and held-out song: song, genre and split (n,), and named values (n, ...)."""

    song: NDArray[np.str_]
    genre: NDArray[np.str_]
    split: NDArray[np.str_]
    values: Mapping[str, Floats]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Self:
        """From mappings with "song", "genre", "split" and numbers; missing values are NaN."""
        shapes: dict[str, tuple[int, ...]] = {}
        for row in rows:
            shapes |= {k: np.shape(v) for k, v in row.items() if k not in ("song", "genre", "split")}
        values = {
            k: np.array([np.asarray(r.get(k, np.full(shape, np.nan)), np.float64) for r in rows])
            for k, shape in shapes.items()
        }
        song, genre, split = (np.array([str(r[k]) for r in rows], np.str_) for k in ("song", "genre", "split"))
        return cls(song, genre, split, values)

    def __len__(self) -> int:
        return len(self.song)

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    def select(self, rows: NDArray[Any]) -> Self:
        """Some rows, by number or mask."""
        values = {k: v[rows] for k, v in self.values.items()}
        return type(self)(self.song[rows], self.genre[rows], self.split[rows], values)

    def per_song(self) -> Self:
        """One row per distinct song: the mean of its rows, ignoring NaN."""
        names, first, of_row = np.unique(self.song, return_index=True, return_inverse=True)
        member = np.arange(len(names))[:, None] == of_row  # (s, n)

        def mean(v: Floats) -> Floats:
            known = np.isfinite(v)
            total = np.tensordot(member.astype(np.float64), np.where(known, v, 0.0), 1)
            count = np.tensordot(member.astype(np.float64), known.astype(np.float64), 1)
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)

        values = {k: mean(v) for k, v in self.values.items()}
        return type(self)(names, self.genre[first], self.split[first], values)


def by_split(rows: SongRows, statistic: Callable[[SongRows], float]) -> dict[str, float]:
    """A statistic of distinct songs on "test", on "validation", and "pooled"; NaN if there is no song.

    A song that was in the test split of one run and in the validation split of another is in both columns, and once in
    the pooled one.
    """
    parts = {
        "test": rows.select(rows.split == "test"), "validation": rows.select(rows.split == "val"), "pooled": rows,
    }  # fmt: skip
    return {k: float(statistic(part.per_song())) if len(part) else float("nan") for k, part in parts.items()}


def genre_mean(value: ArrayLike, genre: ArrayLike) -> dict[str, float]:
    """Genre -> mean over its songs, ignoring NaN, sorted by genre; genres without a value are left out."""
    x, labels = np.asarray(value, np.float64), np.asarray(genre).astype(str)
    known = np.isfinite(x)
    return {str(g): float(x[known & (labels == g)].mean()) for g in np.unique(labels[known])}


def pooled_accuracy(
    song: ArrayLike, genre: ArrayLike, predicted: ArrayLike, permutations: int = 999, seed: int = 0
) -> Tested:
    """Balanced accuracy over genres of predictions about songs, each counted once; null: genres shuffled among songs.

    Args:
        song, genre, predicted: (n,) a row per run and song (or window of one); a song's hits are averaged.

    The null shuffles the genres of distinct songs, so that the rows of a song from two runs move together; shuffling
    within each run would treat them as independent.
    """
    said = np.asarray(predicted).astype(str)
    names, row_song, of_song = song_labels(genre, song)
    share = np.zeros((len(of_song), len(names)))
    for c, name in enumerate(names):
        np.add.at(share[:, c], row_song, (said == name).astype(np.float64))
    share /= np.bincount(row_song)[:, None]
    labels = shuffles(of_song, permutations, seed)
    hit = share[np.arange(len(of_song)), labels]  # (m + 1, s)
    onehot = np.eye(len(names))[labels]
    recall = (hit[..., None] * onehot).sum(1) / onehot.sum(1)
    values = recall.mean(-1)
    return Tested(float(values[0]), values[1:], permutation_p(float(values[0]), values[1:]), 1 / len(names))
