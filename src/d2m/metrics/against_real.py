"""Figures about sets of dances in feature space: distance to real dances, with its floor, and diversity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from d2m.core.errors import D2MError
from d2m.metrics.distances import (
    Floor,
    Half,
    Moments,
    cubic_kernel,
    diversity,
    frechet_distance,
    frechet_of_gaussians,
    multimodality,
    song_halves,
)
from d2m.metrics.figure import Figure, Floats, Ints, SongDraws, unmeasured
from d2m.stats.bootstrap import percentile_interval

#: Maximum number of samples per set for kernel distances, evenly chosen; time is quadratic in it.
KERNEL_SAMPLES = 2000


class Rows(NamedTuple):
    """Features of the dances to a set of songs: song names in order, their genres, and (n_i, d) of each."""

    songs: list[str]
    genres: list[str]
    features: list[Floats]

    def of(self, songs: Ints) -> Floats:
        """All rows of the songs with these numbers."""
        return np.concatenate([self.features[int(i)] for i in songs])

    def standardised(self, reference: Rows) -> Rows:
        """Standardised by the reference's mean and standard deviation; features constant there are only centred."""
        rows = np.concatenate(reference.features)
        mean, deviation = rows.mean(0), rows.std(0)
        deviation = np.where(deviation > 1e-9, deviation, 1.0)
        return self._replace(features=[(x - mean) / deviation for x in self.features])


def equal_counts(a: Rows, b: Rows) -> tuple[Rows, Rows]:
    """For the same songs: the first rows of each song, equally many on both sides. For different songs: unchanged."""
    if a.songs != b.songs:
        return a, b
    counts = [min(len(x), len(y)) for x, y in zip(a.features, b.features)]
    return tuple(r._replace(features=[x[:n] for x, n in zip(r.features, counts)]) for r in (a, b))  # type: ignore[return-value]


def interleaved(features: Sequence[Floats]) -> Floats:
    """Rows of several dances to one song, interleaved, so that the first n rows come from all of them."""
    longest = max(len(x) for x in features)
    return np.stack([x[k] for k in range(longest) for x in features if k < len(x)])


def _thinned(rows: Floats, n: int) -> Floats:
    return rows if len(rows) <= n else rows[np.linspace(0, len(rows) - 1, n).round().astype(int)]


def _cube(x: Floats) -> Floats:
    return (x + 1) * (x + 1) * (x + 1)


def _halves(dances: Rows, real: Rows, n: int, seed: int) -> list[tuple[Half, Half]]:
    """Halves of the songs of the dances and of the real ones; the same halves if the songs are the same."""
    theirs = song_halves(real.songs, real.genres, n, seed)
    if dances.songs == real.songs:
        return [(h, h) for h in theirs]
    return list(zip(song_halves(dances.songs, dances.genres, n, seed + 1), theirs))


class _Kernels:
    """Sums of the cubic kernel over every pair of songs, (s, s'), from which all kernel distances are computed.

    Songs have equal weight: the same number of evenly chosen samples each, :data:`KERNEL_SAMPLES` per side in total.
    """

    def __init__(self, dances: Rows, real: Rows) -> None:
        mine, theirs = (self._thinned(rows) for rows in (dances, real))
        self.counts = [np.array([len(x) for x in side], float) for side in (mine, theirs)]
        self.within = [self._sums(side, side) for side in (mine, theirs)]
        # Pairs of a sample with itself are excluded from the unbiased estimate.
        self.own = [np.array([_cube(np.square(x).mean(1)).sum() for x in side]) for side in (mine, theirs)]
        self.across = self._sums(mine, theirs)

    @staticmethod
    def _thinned(rows: Rows) -> list[Floats]:
        return [_thinned(x, max(2, KERNEL_SAMPLES // len(rows.features))) for x in rows.features]

    @staticmethod
    def _sums(a: list[Floats], b: list[Floats]) -> Floats:
        kernel = cubic_kernel(np.concatenate(a), np.concatenate(b))
        starts = [np.r_[0, np.cumsum([len(x) for x in side])[:-1]] for side in (a, b)]
        return np.asarray(np.add.reduceat(np.add.reduceat(kernel, starts[0], 0), starts[1], 1), np.float64)

    def _within(self, side: int, songs: Ints) -> float:
        times = np.bincount(songs, minlength=len(self.counts[side])).astype(float)
        n = float(times @ self.counts[side])
        return float(times @ self.within[side] @ times - times @ self.own[side]) / max(n * (n - 1), 1.0)

    def distance(self, songs: Ints, real: Ints) -> float:
        """Of generated dances to real ones, by numbers of songs."""
        n = self.counts[0][songs].sum() * self.counts[1][real].sum()
        across = float(self.across[np.ix_(songs, real)].sum() / n)
        return self._within(0, songs) + self._within(1, real) - 2 * across

    def floor(self, a: Ints, b: Ints) -> float:
        """Of real dances to other real ones."""
        n = self.counts[1][a].sum() * self.counts[1][b].sum()
        across = float(self.within[1][np.ix_(a, b)].sum() / n)
        return self._within(1, a) + self._within(1, b) - 2 * across


def distance_figures(
    dances: Rows, real: Rows, halves: int, bootstrap: int, seed: int, unit: str, suffix: str = ""
) -> dict[str, Figure]:
    """Fréchet and kernel distance of generated dances to real ones, each beside its floor.

    Median over ``halves`` stratified halves (A, B) of the songs, of the distance from the real dances to A to the
    generated dances to B; the floor is that from real A to real B, with as many samples on each side. So a perfect
    generator scores the floor, not 0, for any sample size.

    The interval is a bootstrap over songs of the distance between all real and all generated dances, the songs of
    either side drawn independently, since A and B are different songs too, and within genres, as the halves are.
    Repeated songs raise distances, so the draws are shifted such that their median is the value.

    Returns:
        "fid", "fid_floor", "kid" (each with the suffix); without values if either side has fewer than two songs, or
        too few samples.
    """
    names = [f"fid{suffix}", f"fid{suffix}_floor", f"kid{suffix}"]
    dances, real = equal_counts(dances, real)
    fid: list[float] = []
    floors: list[float] = []
    sizes: list[int] = []
    try:
        chosen = _halves(dances, real, halves, seed)
        for (_, mine), (a, b) in chosen:
            first, second, generated = real.of(a), real.of(b), dances.of(mine)
            n = min(len(second), len(generated))
            fid.append(frechet_distance(first, _thinned(generated, n)))
            floors.append(frechet_distance(first, _thinned(second, n)))
            sizes.append(min(n, len(first)))
    except D2MError as e:
        return {name: unmeasured(unit, "lower", str(e)) for name in names}
    kernels = _Kernels(dances, real)
    kid = float(np.median([kernels.distance(mine, a) for (_, mine), (a, _) in chosen]))
    kernel_floor = float(np.median([kernels.floor(a, b) for _, (a, b) in chosen]))
    value, floor, width = float(np.median(fid)), Floor.of(floors, sizes), dances.features[0].shape[1]
    note = f"n: samples a side; median of {halves} halves of songs"
    if floor.n <= width:
        note += f"; no more samples than the {width} dimensions: read it against the floor only"
    draws = SongDraws(dances.genres, real.genres, bootstrap, seed, paired=False)
    frechet, kernel = _frechet_draws(dances, real, draws), draws.values(kernels.distance)
    return {
        names[0]: Figure(value, floor.n, unit, "lower", floor.median, note=note).with_interval(
            percentile_interval(np.maximum(value + frechet - np.median(frechet), 0))
        ),
        names[1]: Figure(floor.median, floor.n, unit, "real", None, floor.low, floor.high, note=f"{note}, their 95 %"),
        names[2]: Figure(kid, floor.n, "", "lower", kernel_floor, note=note).with_interval(
            percentile_interval(kid + kernel - np.median(kernel))
        ),
    }


def _frechet_draws(dances: Rows, real: Rows, draws: SongDraws) -> Floats:
    """Fréchet distances of resampled songs, from the moments of each song."""
    mine, theirs = ([Moments.of(x) for x in r.features] for r in (dances, real))

    def gaussian(moments: list[Moments], songs: Ints) -> tuple[Floats, Floats]:
        return Moments(*(sum(x) for x in zip(*(moments[int(i)] for i in songs)))).gaussian()

    return draws.values(lambda a, b: frechet_of_gaussians(*gaussian(mine, a), *gaussian(theirs, b)))


def diversity_figure(rows: Rows, draws: SongDraws, seed: int, unit: str) -> Figure:
    """Mean distance of pairs of samples of different songs; the ``real`` row gives the diversity of real dances."""
    n = sum(len(x) for x in rows.features)
    if len(rows.songs) < 2:
        return unmeasured(unit, "real", "dances to one song only")

    def of(songs: Ints) -> float:
        if len(set(songs.tolist())) < 2:
            return float("nan")
        return diversity(rows.of(songs), seed, np.repeat(songs, [len(rows.features[int(i)]) for i in songs]).tolist())

    value = of(np.arange(len(rows.songs)))
    return Figure(value, n, unit, "real", note="samples").with_interval(draws.interval(lambda a, _: of(a)))


def multimodality_figure(dances: dict[str, list[Floats]], unit: str) -> Figure:
    """Mean distance between draws to one song at the same time of the song.

    Args:
        dances: song -> (n, d) of each draw, row i of all draws at the same time.
    """
    several = {song: draws for song, draws in dances.items() if len(draws) > 1}
    if not several:
        return unmeasured(unit, "higher", "one draw to each song; give two or more of the same song")
    values = []
    for draws in several.values():
        n = min(len(x) for x in draws)
        values.append(multimodality([np.stack([x[k] for x in draws]) for k in range(n)]))
    return Figure(float(np.mean(values)), len(several), unit, "higher", note="songs with several draws")
