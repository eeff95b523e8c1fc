"""Least-squares concept erasure: the smallest change of z after which no linear probe detects the genre.

Belrose et al., "LEACE: Perfect linear concept erasure in closed form", NeurIPS 2023, theorem 4.3:

    r(x) = x - W^+ P W (x - E x),   W = (Sigma_xx^{1/2})^+,   P the orthogonal projection onto colsp(W Sigma_xz).

With few songs, W is computed from a shrunk Sigma_xx. For any invertible W, the cross-covariance of r(x) and the genre
is exactly zero on the fitted songs, so (theorem 3.1) no linear probe beats a constant there; shrinkage only changes the
norm in which the change is smallest. On other songs, some information about the genre may remain.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from d2m.core.errors import D2MError
from d2m.edits.direction import Direction
from d2m.edits.strength import Array
from d2m.stats.covariance import ShrunkCovariance
from d2m.stats.labels import check_latents, of_genre


class Erasure(Direction):
    """Erases the genre (all genres at once), and optionally writes a target genre back.

    Args:
        target: ``transform`` erases and then writes this genre's mean into the erased subspace, so that every
            genre's mean is mapped to the erased mean plus the target's genre part; None: only erase.
        shrinkage: intensity from 0 (the exact LEACE of the sample) to 1; Ledoit-Wolf's if None.

    Fitted attributes: ``mean_`` (d,), ``read_`` and ``write_`` (r, d) with r = genres - 1 (the genre part of z is
    ((z - mean) @ read.T) @ write), ``written_`` (d,) the target's genre part, ``intensity_``.
    """

    name = "erasure"
    needs = ()
    fitted_arrays = ("mean_", "read_", "write_", "written_")
    fitted_values = ("intensity_",)

    def __init__(self, target: str | None = None, shrinkage: float | None = None) -> None:
        self.target, self.shrinkage = target, shrinkage

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """From latents z (n, d) and genres (n,), two or more different ones.

        Raises:
            D2MError: a single genre, or an unknown target.
        """
        x, labels = check_latents(z, genre)
        names, index = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            raise D2MError(f"erasure needs songs of at least two genres; all are {names[0]}")
        mean = x.mean(0)
        centred = x - mean
        onehot = np.eye(len(names))[index]
        cross = (onehot - onehot.mean(0)).T @ centred / len(x)  # (k, d) = Sigma_zx
        sigma = ShrunkCovariance.fit(centred, self.shrinkage)
        _, s, q = np.linalg.svd(sigma.power(cross, -0.5), full_matrices=False)
        q = q[s > 1e-9 * max(float(s[0]), 1e-300)]
        self.mean_ = mean
        self.read_ = sigma.power(q, -0.5)
        self.write_ = sigma.power(q, 0.5)
        self.intensity_ = sigma.intensity
        self.written_ = np.zeros_like(mean)
        if self.target is not None:
            self.written_ = self.genre_part(of_genre(x, labels, self.target).mean(0))
        return self

    def genre_part(self, z: Array) -> Array:
        """The part of z (..., d) that erasure removes."""
        return np.asarray(((np.asarray(z, np.float64) - self.mean_) @ self.read_.T) @ self.write_)

    def shift(self, z: Array) -> Array:
        return np.asarray(self.written_ - self.genre_part(z))

    def neutral_shift(self, z: Array) -> Array:
        return -self.genre_part(z)
