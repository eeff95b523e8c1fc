"""Intervals and tests over songs, which are the sampling unit of a study (not frames or windows)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.stats.nulls import permutation_p

Floats = NDArray[np.float64]
#: Song numbers, drawn with replacement -> a number; NaN if it is undefined for a draw.
Statistic = Callable[[NDArray[np.int64]], float]


class Interval(NamedTuple):
    """Percentile interval; NaN with fewer than two songs."""

    low: float
    high: float


def bootstrap_draws(statistic: Statistic, n_songs: int, n: int = 500, seed: int = 0) -> Floats:
    """(n,) values of a statistic of ``n_songs`` songs drawn with replacement (Efron, Ann. Statist. 1979).

    Raises:
        ValueError: no songs, or no draws.
    """
    if n_songs < 1 or n < 1:
        raise ValueError(f"bootstrap: {n} draws of {n_songs} songs; at least one of each")
    rng = np.random.default_rng(seed)
    return np.array([statistic(rng.integers(0, n_songs, n_songs)) for _ in range(n)], np.float64)


def percentile_interval(draws: ArrayLike, level: float = 0.95) -> Interval:
    """The middle ``level`` of the finite draws (n,); nan if none is finite.

    Raises:
        ValueError: a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"an interval of level {level}; give one between 0 and 1")
    values = np.asarray(draws, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def song_bootstrap(statistic: Statistic, n_songs: int, n: int = 500, level: float = 0.95, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of a statistic over songs.

    Draws for which the statistic is NaN are ignored; with fewer than two songs, the interval is NaN.

    Args:
        statistic: song numbers (n_songs,) drawn with replacement -> a number.

    Raises:
        ValueError: no songs, no draws, or a level outside (0, 1).
    """
    if n_songs == 1:
        return Interval(float("nan"), float("nan"))
    return percentile_interval(bootstrap_draws(statistic, n_songs, n, seed), level)


def paired_difference(
    a: ArrayLike, b: ArrayLike, n: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, Interval, float]:
    """Two systems on the same songs: mean of a - b, its bootstrap interval, and a p-value.

    The p-value is two-sided, from the sign-flip test (Fisher, The Design of Experiments, 1935): under the null either
    system could have made either dance, so the signs of the differences are arbitrary. (1 + b) / (1 + n) of
    n random flips, see :func:`d2m.stats.nulls.permutation_p`. s songs cannot give a p below 2^(1 - s).

    Args:
        a, b: (s,) a number per song, in the same order.

    Raises:
        ValueError: shapes that differ, fewer than two songs, or numbers that are not finite.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(f"paired_difference: shapes {x.shape} and {y.shape}; give two numbers (s,) per song, s >= 2")
    d = x - y
    if not np.isfinite(d).all():
        raise ValueError("paired_difference: a number is not finite; leave that song out on both sides")
    rng = np.random.default_rng(seed)
    null = np.abs([(d * rng.choice((-1.0, 1.0), len(d))).mean() for _ in range(n)])
    mean = float(d.mean())
    interval = song_bootstrap(lambda i: float(d[i].mean()), len(d), n, level, seed)
    return mean, interval, permutation_p(abs(mean), null)
