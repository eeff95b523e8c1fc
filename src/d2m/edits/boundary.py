"""The normal of a linear boundary between two genres, and motion along it.

Shen et al., "Interpreting the Latent Space of GANs for Semantic Face Editing" (InterFaceGAN), CVPR 2020: a linear
classifier's unit normal n is the direction, and the normals of other attributes are projected out of it (section 3.3).
Deviations: LDA or logistic regression instead of an SVM; strength is in units of the distance between the two genres'
means along n, so that strengths are comparable with those of :class:`d2m.edits.mean_shift.MeanShift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.edits.direction import Direction
from d2m.edits.strength import Array
from d2m.stats.covariance import Floats, ShrunkCovariance, row_space
from d2m.stats.labels import check_latents, of_genre

Method = Literal["lda", "logistic"]


def boundary_normal(x: Floats, positive: NDArray[np.bool_], method: Method = "lda") -> Floats:
    """Unit normal (d,) of the linear boundary between x[~positive] and x[positive], pointing to the positive side.

    "lda": Sigma_within^-1 (mean difference) with Ledoit-Wolf shrinkage. "logistic": L2-regularised logistic
    regression; its solution lies in the span of the rows, where it is solved.

    Raises:
        D2MError: a side is empty, or both have the same mean.
    """
    if positive.all() or not positive.any():
        raise D2MError("a boundary needs latents on both sides")
    a, b = x[~positive], x[positive]
    if method == "lda":
        residuals = np.concatenate([a - a.mean(0), b - b.mean(0)])
        normal = b.mean(0) - a.mean(0)
        if residuals.any():
            normal = ShrunkCovariance.fit(residuals).power(normal, -1)
    elif method == "logistic":
        from sklearn.linear_model import LogisticRegression

        centred = x - x.mean(0)
        _, s, basis = row_space(centred)
        scale = float(np.sqrt(np.square(s).sum() / len(x))) or 1.0
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000, tol=1e-6)
        normal = model.fit(centred @ basis.T / scale, positive).coef_[0] @ basis
    else:
        raise D2MError(f"boundary method '{method}' is unknown; choose lda or logistic")
    length = float(np.linalg.norm(normal))
    if not length > 0:
        raise D2MError("both sides of the boundary have the same mean; there is no direction between them")
    return np.asarray(normal / length, np.float64)


class LinearBoundary(Direction):
    """Moves latents across the boundary between two genres, along its normal.

    Args:
        source, target: the genres.
        method: "lda" or "logistic".

    ``transform`` at strength 1 moves the source's mean by its distance to the target's mean along the normal;
    ``neutral`` at strength 1 projects every latent onto the boundary, half-way between the means.

    Fitted attributes: ``normal_`` (d,), ``gap_``, the distance between the means along it, ``middle_``, the position of
    the boundary along it.
    """

    name = "boundary"
    fitted_arrays = ("normal_",)
    fitted_values = ("gap_", "middle_")

    def __init__(self, source: str, target: str, method: Method = "lda") -> None:
        self.source, self.target, self.method = source, target, method

    def fit(self, z: ArrayLike, genre: ArrayLike, attributes: Mapping[str, ArrayLike] | None = None) -> Self:
        """From latents z (n, d) and genres (n,).

        Args:
            attributes: name -> (n,) of another binary attribute; the direction is made orthogonal to the normals of
                all of them, so that moving along it does not change them.

        Raises:
            D2MError: no latent of a genre, an attribute that is not binary, or attributes that leave no direction.
        """
        x, labels = check_latents(z, genre)
        a, b = of_genre(x, labels, self.source), of_genre(x, labels, self.target)
        both = np.concatenate([a, b])
        normal = boundary_normal(both, np.arange(len(both)) >= len(a), self.method)
        others = []
        for name, values in (attributes or {}).items():
            column = np.asarray(values)
            levels = np.unique(column)
            if column.shape != labels.shape or len(levels) != 2:
                raise D2MError(f"attribute '{name}': give {len(labels)} values, at least two of them different")
            others.append(boundary_normal(x, column == levels[1], self.method))
        if others:
            _, _, basis = row_space(np.stack(others))
            normal = normal - (normal @ basis.T) @ basis
            length = float(np.linalg.norm(normal))
            if length < 1e-6:
                raise D2MError(
                    f"nothing of {self.source} to {self.target} is left once {', '.join(attributes or {})} is held"
                )
            normal = normal / length
        self.normal_ = normal
        low, high = float(a.mean(0) @ normal), float(b.mean(0) @ normal)
        self.gap_, self.middle_ = high - low, 0.5 * (low + high)
        return self

    def score(self, z: ArrayLike) -> Floats:
        """Signed distance (...,) of z (..., d) from the boundary; positive on the target's side."""
        return np.asarray(np.asarray(z, np.float64) @ self.normal_ - self.middle_, np.float64)

    def shift(self, z: Array) -> Array:
        return np.asarray(self.gap_ * self.normal_)

    def neutral_shift(self, z: Array) -> Array:
        return np.asarray(-self.score(z)[..., None] * self.normal_)
