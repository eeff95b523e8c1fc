"""Axes within genres: the direction of a covariate, such as the log tempo of songs, that genres do not explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.stats.covariance import Floats
from d2m.stats.labels import check_latents
from d2m.stats.nulls import permutation_p


@dataclass(frozen=True, eq=False)
class WithinAxis:
    """z regressed on a covariate, both centred by genre.

    axis: (d,) of unit length. slope: latent units per unit of the covariate along it, as fitted; biased upwards,
    because the axis was fitted on the same noise. held_out_slope: each song's displacement along the axis fitted on all
    other songs, regressed on its covariate; without this bias. p: p-value of the fitted slope, with covariates shuffled
    within genres.
    """

    axis: Floats
    slope: float
    held_out_slope: float
    p: float


def centred_within(x: ArrayLike, genre: ArrayLike) -> Floats:
    """x (n, ...) minus the mean of its genre."""
    z, labels = np.array(x, np.float64), np.asarray(genre).astype(str)
    for g in np.unique(labels):
        z[labels == g] -= z[labels == g].mean(0)
    return z


def within_axis(
    z: ArrayLike, covariate: ArrayLike, genre: ArrayLike, permutations: int = 999, seed: int = 0
) -> WithinAxis:
    """Least squares of z (n, d) on one covariate (n,) within genres (n,); a single regressor needs no shrinkage.

    Raises:
        D2MError: the covariate is not finite, or does not vary within any genre.
    """
    x, labels = check_latents(z, genre)
    t = np.asarray(covariate, np.float64)
    zc, tc = centred_within(x, labels), centred_within(t, labels)
    square = float(tc @ tc)
    if not np.isfinite(square) or square <= 1e-12:
        raise D2MError("the covariate must be finite and vary within a genre, or there is no axis to fit")
    rng = np.random.default_rng(seed)
    orders = np.stack([np.arange(len(t)), *(shuffle_within(labels, rng) for _ in range(permutations))])
    slopes = np.linalg.norm(tc[orders] @ zc, axis=1) / square
    products = []
    for i in range(len(t)):
        rest = np.arange(len(t)) != i
        mates = rest & (labels == labels[i])
        beta = centred_within(t[rest], labels[rest]) @ centred_within(x[rest], labels[rest])
        length = float(np.linalg.norm(beta))
        if mates.any() and length > 0:
            own = t[i] - t[mates].mean()
            products.append((own * float((x[i] - x[mates].mean(0)) @ beta) / length, own * own))
    total = np.array(products).reshape(-1, 2).sum(0)
    held_out = float(total[0] / total[1]) if total[1] > 0 else float("nan")
    direction = tc @ zc
    axis = direction / max(float(np.linalg.norm(direction)), 1e-300)
    return WithinAxis(axis, float(slopes[0]), held_out, permutation_p(float(slopes[0]), slopes[1:]))


def shuffle_within(genre: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random permutation (n,) of the rows within each genre."""
    order = np.arange(len(genre))
    for g in np.unique(genre):
        own = np.flatnonzero(genre == g)
        order[own] = rng.permutation(own)
    return order


def octaves(bpm: ArrayLike, group: ArrayLike) -> NDArray[np.float64]:
    """log2 of tempi (n,), each in the octave around its group's median, as trackers may halve or double the beat.

    The groups are (n,). Invalid tempi give NaN.
    """
    known = np.asarray(bpm, np.float64)
    out = np.log2(np.where(known > 0, known, np.nan))
    labels = np.asarray(group)
    for g in np.unique(labels):
        own = (labels == g) & np.isfinite(out)
        if own.any():
            out[own] -= np.round(out[own] - np.median(out[own]))
    return out
