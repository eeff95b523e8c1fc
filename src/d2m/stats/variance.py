"""Variance components of z_dan: genres, songs within genres, and the noise of each draw.

Nested random effects, z_gsk = m + G_g + S_gs + e_gsk; the components are estimated by equating mean squares with their
expectations (Searle, Casella and McCulloch, "Variance Components", 1992, section 3.6), for genres of unequal size.
Variances are summed over the dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.stats.covariance import Floats
from d2m.stats.labels import song_labels
from d2m.stats.nulls import permutation_p, shuffles


@dataclass(frozen=True)
class VarianceComponents:
    """Components (latent unit^2, summed over dimensions); the unbiased estimates can be negative.

    genre_p: permutation p-value of the genre mean square over the song mean square.
    """

    genre: float
    song: float
    noise: float
    genre_p: float

    def shares(self) -> dict[str, float]:
        """Shares of the total, negative estimates counted as 0."""
        parts = {"genre": max(self.genre, 0.0), "song": max(self.song, 0.0), "noise": max(self.noise, 0.0)}
        total = sum(parts.values()) or 1.0
        return {k: v / total for k, v in parts.items()}

    def __add__(self, other: VarianceComponents) -> VarianceComponents:
        """Sum of the components of two runs, for shares over several runs; it has no p-value."""
        return VarianceComponents(
            self.genre + other.genre, self.song + other.song, self.noise + other.noise, float("nan")
        )

    def contrast(self, other: VarianceComponents) -> dict[str, float]:
        """This side's shares over the other's: "signal", genre + song of the total; "song", of genre + song; "noise",
        the noise variances themselves. Negative estimates count as 0."""
        mine, theirs = self.shares(), other.shares()

        def over(a: float, b: float) -> float:
            return a / b if b > 0 else float("nan")

        def of_song(s: dict[str, float]) -> float:
            return over(s["song"], s["genre"] + s["song"])

        return {
            "signal": over(mine["genre"] + mine["song"], theirs["genre"] + theirs["song"]),
            "song": over(of_song(mine), of_song(theirs)),
            "noise": over(self.noise, other.noise),
        }


def jackknife(statistic: Callable[[NDArray[np.str_]], ArrayLike], songs: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """(value, low, high) of a statistic of songs: 95 % by leaving out one song at a time (Efron and Stein 1981).

    The bootstrap is not used, because a song drawn twice makes a pair that does not differ, which with two songs per
    genre removes half of the variance between songs.

    Args:
        statistic: names of the songs to use -> a number or (k,).
        songs: (s,) distinct names.
    """
    names = np.unique(np.asarray(songs).astype(str))
    value = np.asarray(statistic(names), np.float64)
    left = np.stack([np.asarray(statistic(names[names != one]), np.float64) for one in names])
    n = len(names)
    error = np.sqrt((n - 1) / n * np.square(left - left.mean(0)).sum(0))
    return value, value - 1.96 * error, value + 1.96 * error


def variance_components(
    draws: ArrayLike, genre: ArrayLike, permutations: int = 999, seed: int = 0
) -> VarianceComponents:
    """From K draws of every song.

    Args:
        draws: (s, K, d), K >= 2, noise independent between songs.
        genre: (s,).

    Raises:
        D2MError: one draw only, one genre only, or no genre with two songs.
    """
    z = np.asarray(draws, np.float64)
    if z.ndim != 3 or z.shape[1] < 2:
        raise D2MError(f"variance components need (songs, draws >= 2, d); got {z.shape}")
    names, _, of_song = song_labels(genre)
    s, k, _ = z.shape
    g = len(names)
    if s <= g:
        raise D2MError(f"variance components need several songs per genre, found {s} songs of {g} genres")
    song_means = z.mean(1)
    ms_noise = float(np.square(z - song_means[:, None]).sum()) / (s * (k - 1))
    centred = song_means - song_means.mean(0)
    total = float(np.square(centred).sum())
    labels = shuffles(of_song, permutations, seed)
    onehot = np.eye(g)[labels].transpose(0, 2, 1)  # (m, g, s)
    count = onehot.sum(-1)
    sums = (onehot.reshape(-1, s) @ centred).reshape(len(labels), g, -1)
    between = (np.square(sums).sum(-1) / count).sum(-1)
    ms_genre, ms_song = k * between / (g - 1), k * (total - between) / (s - g)
    ratio = ms_genre / np.maximum(ms_song, 1e-300)
    effective = (s - float(np.square(count[0]).sum()) / s) / (g - 1)
    return VarianceComponents(
        genre=float(ms_genre[0] - ms_song[0]) / (k * effective),
        song=(float(ms_song[0]) - ms_noise) / k,
        noise=ms_noise,
        genre_p=permutation_p(float(ratio[0]), ratio[1:]),
    )
