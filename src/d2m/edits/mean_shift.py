"""Latent arithmetic of the study: z - mean(source) is "neutral", z - mean(source) + mean(target) is the target.

Nurlu, "Dancing2Music In Style: Latent Manipulations in Movement Space".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.edits.direction import Direction
from d2m.edits.strength import Array
from d2m.stats.labels import check_latents


class MeanShift(Direction):
    """Moves latents from one genre's mean to another's.

    Fitted attributes: ``source_mean_``, ``target_mean_``, each (d,).
    """

    name = "mean_shift"
    fitted_on = "means"
    fitted_arrays = ("source_mean_", "target_mean_")

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target

    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """Compute the means of the latents z (n, d) whose ``genre`` (n,) is source or target.

        Raises:
            D2MError: no latent of a genre.
        """
        x, labels = check_latents(z, genre)
        return self.from_means({str(g): x[labels == g].mean(0) for g in np.unique(labels)})

    def from_means(self, means: Mapping[str, NDArray[np.floating]]) -> Self:
        """Use known means (d,), such as those of a bundle.

        Raises:
            D2MError: a genre has no mean, or both are the same.
        """
        if self.source == self.target:
            raise D2MError(f"source and target are both '{self.source}'; give two genres")
        for name in (self.source, self.target):
            if name not in means:
                raise D2MError(f"unknown genre '{name}'; choose from {', '.join(sorted(means)) or 'none'}")
        self.source_mean_ = np.asarray(means[self.source])
        self.target_mean_ = np.asarray(means[self.target])
        return self

    def shift(self, z: Array) -> Array:
        """mean(target) - mean(source), (d,)."""
        return np.asarray(self.target_mean_ - self.source_mean_)

    def neutral_shift(self, z: Array) -> Array:
        """-mean(source), (d,): the study's neutral latents are centred at the origin, not at the mean of all songs."""
        return -self.source_mean_
