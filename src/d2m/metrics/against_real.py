"""Figures about sets of dances in a space of features: distance to real dances beside its floor, and variety."""

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
    frechet_of_gaussians,
    kernel_distance,
    multimodality,
    song_halves,
)
from d2m.metrics.figure import Figure, Floats, Ints, SongDraws, unmeasured
from d2m.stats.bootstrap import percentile_interval

#: Kernel distances see at most this many samples a side, evenly chosen: time grows with the square.
KERNEL_SAMPLES = 1000


class Rows(NamedTuple):
    """Features of the dances to a set of songs: song names in order, their genres, and (n_i, d) of each."""

    songs: list[str]
    genres: list[str]
    features: list[Floats]

    def of(self, songs: Ints) -> Floats:
        """All rows of some songs, by number."""
        return np.concatenate([self.features[int(i)] for i in songs])

    def standardised(self, reference: Rows) -> Rows:
        """Less the reference's mean, over its standard deviation; a feature that never varies there is only centred."""
        rows = np.concatenate(reference.features)
        mean, deviation = rows.mean(0), rows.std(0)
        deviation = np.where(deviation > 1e-9, deviation, 1.0)
        return self._replace(features=[(x - mean) / deviation for x in self.features])


def equal_counts(a: Rows, b: Rows) -> tuple[Rows, Rows]:
    """Of the same songs: as many rows of each song on both sides, the first ones. Of different songs: as they are."""
    if a.songs != b.songs:
        return a, b
    counts = [min(len(x), len(y)) for x, y in zip(a.features, b.features)]
    return tuple(r._replace(features=[x[:n] for x, n in zip(r.features, counts)]) for r in (a, b))  # type: ignore[return-value]


def interleaved(features: Sequence[Floats]) -> Floats:
    """Rows of several dances to one song, turn by turn, so that the first n are of all of them."""
    longest = max(len(x) for x in features)
    return np.stack([x[k] for k in range(longest) for x in features if k < len(x)])


def _thinned(rows: Floats, n: int) -> Floats:
    return rows if len(rows) <= n else rows[np.linspace(0, len(rows) - 1, n).round().astype(int)]


def _frechet(a: Floats, b: Floats) -> float:
    return frechet_of_gaussians(*Moments.of(a).gaussian(), *Moments.of(b).gaussian())


def _halves(dances: Rows, real: Rows, n: int, seed: int) -> list[tuple[Half, Half]]:
    """Halves of the songs of the dances and of the real ones; the same halves if the songs are the same."""
    theirs = song_halves(real.songs, real.genres, n, seed)
    if dances.songs == real.songs:
        return [(h, h) for h in theirs]
    return list(zip(song_halves(dances.songs, dances.genres, n, seed + 1), theirs))


def distance_figures(
    dances: Rows, real: Rows, draws: SongDraws, halves: int, seed: int, unit: str, suffix: str = ""
) -> dict[str, Figure]:
    """Fréchet and kernel distance of generated dances to real ones, each beside its floor.

    Median over ``halves`` stratified halves (A, B) of the songs, of the distance from the real dances to A to the
    generated dances to B; the floor is that from real A to real B, with as many samples on each side. So a perfect
    generator scores the floor, not 0, whatever the sample size.

    The interval is a bootstrap over songs of the distance between all real and all generated dances. Repeated songs
    raise distances, so the draws are moved onto the value by their median: Fréchet by a factor (it stays positive),
    kernel by a difference.

    Returns:
        "fid", "fid_floor", "kid" (each with the suffix); without values if either side has fewer than two songs, or
        too few samples.
    """
    names = [f"fid{suffix}", f"fid{suffix}_floor", f"kid{suffix}"]
    dances, real = equal_counts(dances, real)
    fid: list[tuple[float, float]] = []
    kid: list[tuple[float, float]] = []
    sizes = []
    try:
        for (_, mine), (a, b) in _halves(dances, real, halves, seed):
            first, second, generated = real.of(a), real.of(b), dances.of(mine)
            n = min(len(second), len(generated))
            second, generated = _thinned(second, n), _thinned(generated, n)
            fid.append((_frechet(first, generated), _frechet(first, second)))
            few = [_thinned(x, KERNEL_SAMPLES) for x in (first, second, generated)]
            kid.append((kernel_distance(few[0], few[2]), kernel_distance(few[0], few[1])))
            sizes.append(min(n, len(first)))
    except D2MError as e:
        return {name: unmeasured(unit, "lower", str(e)) for name in names}
    floor, kernel_floor = Floor.of([f for _, f in fid], sizes), Floor.of([f for _, f in kid], sizes)
    value, kernel = float(np.median([v for v, _ in fid])), float(np.median([v for v, _ in kid]))
    width = dances.features[0].shape[1]
    note = f"samples a side, {halves} halves of songs"
    if floor.n <= width:
        note += f"; fewer samples than the {width} dimensions, so read it against the floor only"
    found = {
        names[0]: Figure(value, floor.n, unit, "lower", floor.median, note=note),
        names[1]: Figure(
            floor.median, floor.n, unit, "real", None, floor.low, floor.high, note=f"{note}; 95 % of halves"
        ),
        names[2]: Figure(kernel, min(floor.n, KERNEL_SAMPLES), "", "lower", kernel_floor.median, note=note),
    }
    if draws.draws:
        spread = _frechet_draws(dances, real, draws)
        found[names[0]] = found[names[0]].with_interval(
            percentile_interval(value * spread / max(float(np.median(spread)), 1e-12))
        )
        spread = _kernel_draws(dances, real, draws)
        found[names[2]] = found[names[2]].with_interval(percentile_interval(kernel + spread - np.median(spread)))
    return found


def _frechet_draws(dances: Rows, real: Rows, draws: SongDraws) -> Floats:
    """Fréchet distances of resampled songs, from the moments of each song."""
    mine, theirs = ([Moments.of(x) for x in r.features] for r in (dances, real))

    def gaussian(moments: list[Moments], songs: Ints) -> tuple[Floats, Floats]:
        total = moments[int(songs[0])]
        for i in songs[1:]:
            total = total + moments[int(i)]
        return total.gaussian()

    return draws.values(lambda a, b: frechet_of_gaussians(*gaussian(mine, a), *gaussian(theirs, b)))


def _kernel_draws(dances: Rows, real: Rows, draws: SongDraws) -> Floats:
    """Kernel distances of resampled songs, from the kernel's sums over every pair of songs."""
    sides = []
    for rows in (dances, real):
        share = max(1, KERNEL_SAMPLES // len(rows.features))
        sides.append([_thinned(x, share) for x in rows.features])

    def sums(a: list[Floats], b: list[Floats]) -> Floats:
        kernel = cubic_kernel(np.concatenate(a), np.concatenate(b))
        starts = [np.r_[0, np.cumsum([len(x) for x in side])[:-1]] for side in (a, b)]
        return np.asarray(np.add.reduceat(np.add.reduceat(kernel, starts[0], 0), starts[1], 1), np.float64)

    (x, y), counts = sides, [np.array([len(r) for r in side], float) for side in sides]
    own = [np.array([((np.square(r).sum(1) / r.shape[1] + 1) ** 3).sum() for r in side]) for side in sides]
    xx, yy, xy = sums(x, x), sums(y, y), sums(x, y)

    def within(block: Floats, diagonal: Floats, count: Floats, times: Floats) -> float:
        n = float(times @ count)
        return float((times @ block @ times - times @ diagonal) / max(n * (n - 1), 1.0))

    def distance(a: Ints, b: Ints) -> float:
        w, v = np.bincount(a, minlength=len(x)).astype(float), np.bincount(b, minlength=len(y)).astype(float)
        across = float(w @ xy @ v) / max(float((w @ counts[0]) * (v @ counts[1])), 1.0)
        return within(xx, own[0], counts[0], w) + within(yy, own[1], counts[1], v) - 2 * across

    return draws.values(distance)


def diversity_figure(rows: Rows, draws: SongDraws, seed: int, unit: str) -> Figure:
    """Mean distance of pairs of samples of different songs; the ``real`` row says how varied real dances are."""
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
