"""Shrunk covariances of few songs in many dimensions, stored as a scaled identity plus a low-rank part.

n songs span at most n - 1 of the 512 dimensions; a sample covariance is singular there and its inverse meaningless.
Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 88
(2004), give the shrinkage intensity, which scikit-learn computes. The shrunk d x d matrix is never formed: a
permutation test fits thousands of probes, and in this form powers of it cost n d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

Floats = NDArray[np.float64]


def row_space(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Thin SVD x (n, d) = u @ diag(s) @ v with numerically zero singular values left out: (n, r), (r,), (r, d)."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    keep = s > (s[0] if len(s) else 0.0) * max(x.shape) * np.finfo(np.float64).eps
    return u[:, keep], s[keep], v[keep]


def ledoit_wolf_intensity(x: Floats) -> float:
    """Ledoit and Wolf's shrinkage intensity in [0, 1] for centred rows x (n, d): scikit-learn's."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(x, assume_centered=True))


@dataclass(frozen=True, eq=False)
class ShrunkCovariance:
    """floor * I + basis.T @ diag(extra) @ basis, with orthonormal rows of ``basis`` (r, d).

    intensity: share of the identity, 0 to 1.
    """

    floor: float
    basis: Floats
    extra: Floats
    intensity: float

    @classmethod
    def fit(cls, x: Floats, intensity: float | None = None) -> ShrunkCovariance:
        """Of centred rows x (n, d), divided by n; Ledoit-Wolf's intensity if None.

        Raises:
            D2MError: an intensity that is not between 0 and 1.
        """
        n, d = x.shape
        rho = ledoit_wolf_intensity(x) if intensity is None else float(intensity)
        if not 0 <= rho <= 1:
            raise D2MError(f"shrinkage={rho:g}: give an intensity between 0 and 1")
        _, s, basis = row_space(x)
        return cls(rho * float(np.square(s).sum()) / n / d, basis, (1 - rho) * np.square(s) / n, rho)

    @property
    def trace(self) -> float:
        return float(self.floor * self.basis.shape[1] + self.extra.sum())

    def power(self, v: Floats, p: float) -> Floats:
        """Sigma^p @ v for rows v (..., d); a pseudo-inverse if the floor is 0 and p negative."""
        off = self.floor**p if self.floor > 0 else 0.0
        on = (self.floor + self.extra) ** p
        inside = v @ self.basis.T
        return np.asarray(off * v + (inside * (on - off)) @ self.basis, np.float64)

    def within(self, q: Floats) -> Floats:
        """The matrix q @ Sigma @ q.T for orthonormal rows q (r, d)."""
        part = self.basis @ q.T
        return np.asarray(self.floor * np.eye(len(q)) + part.T @ (self.extra[:, None] * part), np.float64)
