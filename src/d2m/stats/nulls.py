"""Permutation nulls: the distribution of a statistic if genres carry no information.

A song has one genre, so labels are shuffled between songs, never between the windows or draws of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def permutation_p(observed: float, null: ArrayLike) -> float:
    """(1 + b) / (1 + m): b of the m values of the null are at least the observed one.

    Never 0, and valid at every level: Phipson and Smyth, "Permutation p-values should never be zero", 2010.
    """
    values = np.asarray(null, np.float64)
    tolerance = 1e-12 * max(1.0, abs(observed))
    return float((1 + (values >= observed - tolerance).sum()) / (1 + len(values)))


def shuffles(of_song: Ints, n: int, seed: int) -> Ints:
    """(n + 1, s) labels: the true ones, then n random permutations."""
    rng = np.random.default_rng(seed)
    rows = [of_song, *(rng.permutation(of_song) for _ in range(n))]
    return np.stack(rows)
