"""Measures per song (judges' probabilities, energy, seams), by which systems are compared song by song."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import UNIT_FRAMES
from d2m.metrics.body_figures import energy as energy_of
from d2m.metrics.body_figures import seam
from d2m.metrics.figure import DanceToSong, Figure, SongDraws
from d2m.metrics.motion import common_scale
from d2m.reports.judges import Judge
from d2m.stats.bootstrap import paired_difference

Floats = NDArray[np.float64]

#: Prefix of the judges' measures.
JUDGED = "judged_"


class SongScales(NamedTuple):
    """Of every song's real dance: torso length (px) and mean kinetic energy (torso lengths^2/s^2)."""

    torso: dict[str, float]
    energy: dict[str, float]

    @classmethod
    def of(cls, real: Sequence[DanceToSong]) -> SongScales:
        """All views of a song share its scale."""
        torso, energy = {}, {}
        for song, group in groupby(real, key=lambda d: d.song):
            views = list(group)
            torso[song] = common_scale([d.poses for d in views])
            energy[song] = float(np.mean([energy_of(d, torso[song]) for d in views]))
        return cls(torso, energy)


class SongRows(NamedTuple):
    """songs, genre (s,); values: measure -> (s,), mean over the draws of a song, NaN if there is none."""

    songs: tuple[str, ...]
    genre: tuple[str, ...]
    values: dict[str, Floats]


def song_rows(danced: Sequence[DanceToSong], judges: Sequence[Judge], scales: SongScales) -> SongRows:
    """One pass over the dances of a system, which come song by song."""
    songs, genres, rows = [], [], []
    for song, group in groupby(danced, key=lambda d: d.song):
        many: dict[str, list[float]] = {}
        for d in group:
            genre = d.genre
            for name, value in _of_dance(d, judges, scales).items():
                many.setdefault(name, []).append(value)
        songs.append(song)
        genres.append(genre)
        rows.append({k: float(np.mean(v)) for k, v in many.items()})
    names = list(dict.fromkeys(k for row in rows for k in row))
    values = {k: np.array([row.get(k, np.nan) for row in rows]) for k in names}
    return SongRows(tuple(songs), tuple(genres), values)


def _of_dance(d: DanceToSong, judges: Sequence[Judge], scales: SongScales) -> dict[str, float]:
    row: dict[str, float] = {}
    if len(d.poses) >= UNIT_FRAMES:
        for judge in judges:
            row[JUDGED + judge.name] = float(judge.probabilities(d.poses)[judge.genres.index(d.genre)])
    if len(d.poses) >= 4:
        real = scales.energy[d.song]
        row["energy_ratio"] = energy_of(d, scales.torso[d.song]) / real if real > 0 else float("nan")
    if not np.isnan(jump := seam(d)):
        row["boundary_jump"] = jump
    return row


def by_genre(rows: SongRows) -> dict[str, dict[str, float]]:
    """Genre -> measure -> mean over its songs, and "n_songs"."""
    labels = np.array(rows.genre)
    out = {}
    for genre in sorted(set(rows.genre)):
        mine = labels == genre
        means = {
            k: float(np.nanmean(v[mine])) if np.isfinite(v[mine]).any() else np.nan for k, v in rows.values.items()
        }
        out[genre] = {**means, "n_songs": float(mine.sum())}
    return out


def _genre_mean(values: Floats, labels: NDArray[np.str_]) -> float:
    """Mean over genres of the means over their songs; nan if no song has a value."""
    means = [values[(labels == g) & np.isfinite(values)] for g in np.unique(labels)]
    return float(np.mean([m.mean() for m in means if len(m)])) if any(len(m) for m in means) else float("nan")


def judged_figures(rows: SongRows, chance: float, seed: int) -> dict[str, Figure]:
    """The judges' probability of the song's own genre: equal weight per genre, interval over songs within genres.

    Args:
        chance: probability by chance.
    """
    labels = np.array(rows.genre)
    draws = SongDraws(rows.genre, rows.genre, 500, seed, paired=True)
    out = {}
    for name in (n for n in rows.values if n.startswith(JUDGED)):
        values = rows.values[name]

        def statistic(i: NDArray[np.int64], _: NDArray[np.int64], values: Floats = values) -> float:
            return _genre_mean(values[i], labels[i])

        figure = Figure(
            _genre_mean(values, labels), int(np.isfinite(values).sum()), "probability of the song's genre", "higher",
            chance=chance,
        )  # fmt: skip
        out[name] = figure.with_interval(draws.interval(statistic))
    return out


def paired(a: SongRows, b: SongRows, seed: int) -> Mapping[str, dict[str, float]]:
    """Measure -> a - b on the songs that both have: "difference", "low", "high", "p", "n_songs"; two songs or more."""
    both = [s for s in a.songs if s in b.songs]
    ia, ib = [a.songs.index(s) for s in both], [b.songs.index(s) for s in both]
    out = {}
    for name in a.values.keys() & b.values.keys():
        x, y = a.values[name][ia], b.values[name][ib]
        there = np.isfinite(x) & np.isfinite(y)
        if there.sum() >= 2:
            mean, interval, p = paired_difference(x[there], y[there], seed=seed)
            out[name] = {
                "difference": mean, "low": interval.low, "high": interval.high, "p": p, "n_songs": float(there.sum()),
            }  # fmt: skip
    return dict(sorted(out.items()))
