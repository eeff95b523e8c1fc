"""Unsupervised and random directions, as baselines for genre directions.

Härkönen et al., "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020: principal axes of the latents, moved
along in units of their standard deviation.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from d2m.core.errors import D2MError
from d2m.edits.direction import Direction
from d2m.edits.strength import Array
from d2m.stats.labels import check_latents, of_genre


class PrincipalAxes(Direction):
    """Moves along one principal axis of all latents, in standard deviations.

    Args:
        axis: 0 is the axis with the largest variance. With source and target and axis None: the one along which the two
            genres' means are the most standard deviations apart, pointing from source to target.
        n_axes: maximum number of axes to keep.

    The sign of an axis is such that its largest coordinate is positive. ``neutral`` at strength 1 removes the
    coordinate along the axis.

    Fitted attributes: ``mean_`` (d,), ``components_`` (k, d), ``deviations_`` (k,), ``axis_``, ``sign_``.
    """

    name = "axes"
    needs = ()
    fitted_arrays = ("mean_", "components_", "deviations_")
    fitted_values = ("axis_", "sign_")

    def __init__(
        self, source: str | None = None, target: str | None = None, axis: int | None = None, n_axes: int = 32
    ) -> None:
        self.source, self.target, self.axis, self.n_axes = source, target, axis, n_axes

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """From latents z (n, d); genres (n,) only choose the axis.

        Raises:
            D2MError: no such axis or genre, or all latents are equal.
        """
        from sklearn.decomposition import PCA

        x, labels = check_latents(z, genre)
        if len(x) < 2 or not np.ptp(x, axis=0).any():
            raise D2MError("all latents are equal, so there is no principal axis; extract more songs")
        model = PCA(svd_solver="full").fit(x)
        deviations = np.sqrt(model.explained_variance_)
        k = min(self.n_axes, int((deviations > 1e-12 * deviations[0]).sum()))
        v = model.components_[:k]
        self.mean_, self.deviations_ = model.mean_, deviations[:k]
        self.components_ = v * np.sign(v[np.arange(k), np.abs(v).argmax(1)])[:, None]
        self.axis_, self.sign_ = self.axis or 0, 1
        if self.axis is None and self.source is not None and self.target is not None:
            gap = of_genre(x, labels, self.target).mean(0) - of_genre(x, labels, self.source).mean(0)
            along = (self.components_ @ gap) / self.deviations_
            self.axis_ = int(np.abs(along).argmax())
            self.sign_ = 1 if along[self.axis_] >= 0 else -1
        if not 0 <= self.axis_ < k:
            raise D2MError(f"axis {self.axis_}: {len(x)} latents have axes 0 to {k - 1}")
        return self

    def shift(self, z: Array) -> Array:
        return np.asarray(self.sign_ * self.deviations_[self.axis_] * self.components_[self.axis_])

    def neutral_shift(self, z: Array) -> Array:
        v = self.components_[self.axis_]
        return np.asarray(-((np.asarray(z, np.float64) - self.mean_) @ v)[..., None] * v)


class RandomDirection(Direction):
    """The control: moves as far as the mean shift from source to target, in a random direction.

    Args:
        source, target: the distance of their means is the length.
        seed: of the direction.
        kind: "sphere": uniform in all dimensions. "songs": a Gaussian combination of the centred songs, so that the
            direction has the covariance of the songs, a stricter control.

    ``neutral`` moves along a second random direction, by the length of the source's mean.

    Fitted attributes: ``shift_``, ``neutral_shift_`` (d,).
    """

    name = "random"
    fitted_arrays = ("shift_", "neutral_shift_")

    def __init__(self, source: str, target: str, seed: int = 0, kind: Literal["sphere", "songs"] = "sphere") -> None:
        self.source, self.target, self.seed, self.kind = source, target, seed, kind

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """From latents z (n, d) and genres (n,).

        Raises:
            D2MError: no latent of a genre, or an unknown kind.
        """
        x, labels = check_latents(z, genre)
        a, b = of_genre(x, labels, self.source).mean(0), of_genre(x, labels, self.target).mean(0)
        rng = np.random.default_rng(self.seed)
        if self.kind == "sphere":
            directions = rng.normal(size=(2, x.shape[1]))
        elif self.kind == "songs":
            directions = rng.normal(size=(2, len(x))) @ (x - x.mean(0))
        else:
            raise D2MError(f"random direction '{self.kind}' is unknown; choose sphere or songs")
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
        self.shift_ = directions[0] * np.linalg.norm(b - a)
        self.neutral_shift_ = directions[1] * np.linalg.norm(a)
        return self

    def shift(self, z: Array) -> Array:
        return np.asarray(self.shift_)

    def neutral_shift(self, z: Array) -> Array:
        return np.asarray(self.neutral_shift_)
