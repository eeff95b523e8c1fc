"""Optimal transport between two genres, modelled as Gaussians.

For N(m_s, S) and N(m_t, T), the map from one to the other with the least squared distance is
x -> m_t + A (x - m_s), A = S^{-1/2} (S^{1/2} T S^{1/2})^{1/2} S^{-1/2}
(Dowson and Landau 1982; Peyré and Cuturi, "Computational Optimal Transport", 2019, remark 2.31). The partial map
(1 - s) x + s T(x) is McCann's interpolation, which is also optimal. Covariances are shrunk
(:mod:`d2m.stats.covariance`) by
a common intensity, the larger of the two: outside the span of the songs, the map then only scales by the ratio of the
genres' overall spreads. Fit it on latents of the kind that it will move; for editing dances, on complete draws. The
spread of mu only reflects songs, a fraction of that of draws, and a map fitted on it moves draws too far.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from d2m.edits.direction import Direction
from d2m.edits.strength import Array
from d2m.stats.covariance import Floats, ShrunkCovariance, ledoit_wolf_intensity, row_space
from d2m.stats.labels import check_latents, of_genre


def _root(m: Floats) -> Floats:
    """Square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(m)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T, np.float64)


class GaussianTransport(Direction):
    """Moves the source's Gaussian onto the target's: mean, spread and correlations.

    Args:
        source, target: the genres, two songs each or more.
        shrinkage: common intensity from 0 to 1; Ledoit-Wolf's if None. 0 needs more songs than dimensions.

    ``neutral`` moves half-way, to the Wasserstein barycentre of the two.

    Fitted attributes: ``source_mean_``, ``target_mean_`` (d,), ``basis_`` (r, d) orthonormal, ``core_`` (r, r),
    ``scale_``: A = scale I + basis.T core basis. ``intensity_``.
    """

    name = "transport"
    #: It also maps spreads, and dances are decoded from draws (docs/adr/0049-transport-on-draws.md).
    fitted_on = "draws"
    fitted_arrays = ("source_mean_", "target_mean_", "basis_", "core_")
    fitted_values = ("scale_", "intensity_")

    def __init__(self, source: str, target: str, shrinkage: float | None = None) -> None:
        self.source, self.target, self.shrinkage = source, target, shrinkage

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """From latents z (n, d) and genres (n,).

        Raises:
            D2MError: fewer than two latents of a genre.
        """
        x, labels = check_latents(z, genre)
        a, b = of_genre(x, labels, self.source, 2), of_genre(x, labels, self.target, 2)
        self.source_mean_, self.target_mean_ = a.mean(0), b.mean(0)
        a, b = a - self.source_mean_, b - self.target_mean_
        rho = self.shrinkage
        if rho is None:
            rho = max(ledoit_wolf_intensity(a), ledoit_wolf_intensity(b))
        s, t = ShrunkCovariance.fit(a, rho), ShrunkCovariance.fit(b, rho)
        _, _, basis = row_space(np.concatenate([s.basis, t.basis]))
        values, vectors = np.linalg.eigh(s.within(basis))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        usable = values > 1e-12 * max(float(values[-1]), 1e-300)
        inverse = (vectors[:, usable] * values[usable] ** -0.5) @ vectors[:, usable].T
        full = inverse @ _root(root @ t.within(basis) @ root) @ inverse
        self.scale_ = float(np.sqrt(t.floor / s.floor)) if s.floor > 0 else 1.0
        self.basis_, self.core_ = basis, full - self.scale_ * np.eye(len(basis))
        self.intensity_ = float(rho)
        return self

    def mapped(self, z: Array) -> Array:
        """The transport map T(z), (..., d)."""
        y = np.asarray(z, np.float64) - self.source_mean_
        return np.asarray(self.target_mean_ + self.scale_ * y + ((y @ self.basis_.T) @ self.core_) @ self.basis_)

    def shift(self, z: Array) -> Array:
        return self.mapped(z) - z

    def neutral_shift(self, z: Array) -> Array:
        return np.asarray(0.5 * (self.mapped(z) - z))
