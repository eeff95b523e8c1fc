"""Distances between sets of features (Fréchet, kernel), diversity, and random halves of songs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist

from d2m.core.errors import D2MError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Half = tuple[Ints, Ints]


class Moments(NamedTuple):
    """Sufficient statistics of a set of features for a Fréchet distance; additive over disjoint sets.

    n: number of rows. total: (d,). outer: (d, d), the sum of x x^T.
    """

    n: float
    total: Floats
    outer: Floats

    @classmethod
    def of(cls, features: ArrayLike) -> Moments:
        """Of features (n, d)."""
        x = _features(features, 1)
        return cls(float(len(x)), x.sum(0), x.T @ x)

    def gaussian(self) -> tuple[Floats, Floats]:
        """Mean (d,) and unbiased covariance (d, d).

        Raises:
            D2MError: fewer than two rows.
        """
        if self.n < 2:
            raise D2MError(f"a Fréchet distance of {self.n:.0f} samples; it needs two or more on each side")
        mean = self.total / self.n
        return mean, (self.outer - self.n * np.outer(mean, mean)) / (self.n - 1)


def _features(x: ArrayLike, at_least: int) -> Floats:
    rows = np.asarray(x, np.float64)
    if rows.ndim != 2 or not rows.shape[1]:
        raise D2MError(f"features are (n, d), not {rows.shape}")
    if len(rows) < at_least:
        raise D2MError(f"{at_least} samples or more are needed, there are {len(rows)}")
    if not np.isfinite(rows).all():
        raise D2MError("the features are not finite; look for gaps in the poses")
    return rows


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    x, y = _features(a, 2), _features(b, 2)
    if x.shape[1] != y.shape[1]:
        raise D2MError(f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared")
    return x, y


def _root(covariance: Floats) -> Floats:
    """Symmetric square root; eigenvalues below 0 are rounding."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T, np.float64)


def frechet_of_gaussians(mean_a: Floats, cov_a: Floats, mean_b: Floats, cov_b: Floats) -> float:
    """Squared 2-Wasserstein distance of two Gaussians (d,), (d, d) each.

    |mu_a - mu_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), Dowson and Landau, J. Multivariate Analysis 1982. The root
    is of a symmetric matrix, so it stays real even if the covariances are singular.
    """
    root = _root(cov_a)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return float(max(distance, 0.0))


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Fréchet distance of Gaussians fitted to features (n, d) and (m, d): the FID of Heusel et al., NeurIPS 2017.

    At least 0 (equal means and covariances), lower is better, in the features' unit squared. Biased upwards by about
    1 / n: compare only at equal n, and with the floor at that n.

    Raises:
        D2MError: fewer than two samples, different widths, features that are not finite.
    """
    x, y = _pair(a, b)
    (mean_a, cov_a), (mean_b, cov_b) = Moments.of(x).gaussian(), Moments.of(y).gaussian()
    return frechet_of_gaussians(mean_a, cov_a, mean_b, cov_b)


def cubic_kernel(a: Floats, b: Floats) -> Floats:
    """(x . y / d + 1)^3 of features (n, d) and (m, d) -> (n, m); Bińkowski et al., ICLR 2018."""
    k = a @ b.T / a.shape[1] + 1
    return np.asarray(k * k * k, np.float64)


def kernel_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared maximum mean discrepancy, unbiased, of features (n, d) and (m, d) under :func:`cubic_kernel`.

    The KID of Bińkowski et al., ICLR 2018; we take all samples at once instead of averaging over subsets. 0 in
    expectation for samples of one distribution, hence sometimes negative; lower is better.

    Raises:
        D2MError: as :func:`frechet_distance`.
    """
    x, y = _pair(a, b)
    n, m = len(x), len(y)
    xx, yy = cubic_kernel(x, x), cubic_kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * cubic_kernel(x, y).mean())


class Floor(NamedTuple):
    """Distances between halves of the real songs, which a perfect generator would score. Median, and 2.5 and 97.5 %
    quantiles over the halves; n: samples per side, median over the halves."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, distances: ArrayLike, samples: Sequence[int]) -> Floor:
        """Of the distances (h,) and the numbers of samples a side (h,) of every half."""
        low, median, high = np.quantile(np.asarray(distances, np.float64), [0.025, 0.5, 0.975])
        return cls(float(median), float(low), float(high), round(float(np.median(samples))))


def song_halves(songs: Sequence[str], genres: Sequence[str], n_halves: int = 50, seed: int = 0) -> list[Half]:
    """Random halves of songs, stratified by genre.

    Every genre is halved; leftover songs, at most one per genre, are assigned alternately, so that the
    halves differ by at most one song.

    Args:
        songs: (s,) names, each once.
        genres: (s,).

    Returns:
        n_halves of (numbers of the songs of A, numbers of the songs of B), disjoint, sorted.

    Raises:
        D2MError: fewer than two songs, a song twice, or lists of different length.
    """
    if len(songs) != len(genres):
        raise D2MError(f"{len(songs)} songs have {len(genres)} genres; give one for each")
    if len(set(songs)) != len(songs):
        raise D2MError("a song appears twice; halves are drawn of songs, not of dances")
    if len(songs) < 2:
        raise D2MError(f"{len(songs)} song cannot be halved; give two or more")
    rng = np.random.default_rng(seed)
    labels = np.asarray(genres)
    halves = []
    for _ in range(n_halves):
        a: list[int] = []
        b: list[int] = []
        left: list[int] = []
        for genre in sorted(set(genres)):
            mine = rng.permutation(np.flatnonzero(labels == genre))
            half = len(mine) // 2
            a.extend(mine[:half])
            b.extend(mine[half : 2 * half])
            left.extend(mine[2 * half :])
        left = [left[i] for i in rng.permutation(len(left))]
        for side, more in zip((a, b) if rng.random() < 0.5 else (b, a), (left[::2], left[1::2]), strict=True):
            side.extend(more)
        halves.append((np.sort(np.array(a, np.int64)), np.sort(np.array(b, np.int64))))
    return halves


def diversity(features: ArrayLike, seed: int = 0, groups: Sequence[object] | None = None, pairs: int = 2000) -> float:
    """Mean Euclidean distance of random pairs of rows (n, d); Lee et al. 2019, section 4.2.

    Near the real value is best.

    Args:
        features: (n, d).
        groups: (n,), the songs; pairs are then of two different songs. None: all rows are songs of their own.
        pairs: drawn at random if there are more; with this many or fewer every pair counts once.

    Raises:
        D2MError: fewer than two rows, or one group only.
    """
    x = _features(features, 2)
    group = np.arange(len(x)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(group) != len(x):
        raise D2MError(f"{len(x)} samples have {len(group)} songs; give one for each")
    if len(np.unique(group)) < 2:
        raise D2MError("diversity is over songs, and all samples are of one; give dances to two songs or more")
    if len(x) * (len(x) - 1) // 2 <= pairs:
        i, j = np.triu_indices(len(x), 1)
    else:
        rng = np.random.default_rng(seed)
        i = rng.integers(0, len(x), 2 * pairs)
        j = rng.integers(0, len(x), 2 * pairs)
    different = group[i] != group[j]
    i, j = i[different][:pairs], j[different][:pairs]
    if not len(i):
        raise D2MError("no two samples of different songs were drawn; give more pairs")
    return float(np.linalg.norm(x[i] - x[j], axis=1).mean())


def multimodality(draws: Sequence[ArrayLike]) -> float:
    """Mean distance of the draws (m, d) to one song, over songs; Lee et al. 2019, section 4.2. Higher is more varied.

    At equal quality, higher is better: 0 means that a system dances to a song in one way only.

    Raises:
        D2MError: no song, or a song with fewer than two draws.
    """
    if not draws:
        raise D2MError("multimodality needs a song with two draws or more")
    return float(np.mean([pdist(_features(d, 2)).mean() for d in draws]))
