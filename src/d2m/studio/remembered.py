"""Optimised edits with an adjustable strength: the optimiser runs only once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.strength import blend
from d2m.studio.original import Original


class Remembered:
    """An optimised edit that optimises once and then only blends, bit-identical to optimising again."""

    def __init__(self, edit: OptimisedEdit, original: Original) -> None:
        self.of_dance = edit.for_dance(original.generator, original.noise)
        self.best: NDArray[np.floating] | None = None

    def neutral(self, z: NDArray[np.floating], strength: Any) -> NDArray[np.floating]:
        return self.of_dance.neutral(z, strength)

    def transform(self, z: NDArray[np.floating], strength: Any) -> NDArray[np.floating]:
        s = np.asarray(strength, np.float64)
        if not s.any():
            return z
        if self.best is None:
            self.best = self.of_dance.transform(z, 1.0)
        whole = (s == 1)[..., None] if s.ndim else s == 1
        return np.where(whole, self.best, blend(z, self.best - z, s))
