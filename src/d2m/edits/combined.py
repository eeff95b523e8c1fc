"""Several edits of one dance: the sum of their changes.

Every edit is applied to the original latent, not to the result of the others, so that (up to rounding) their order does
not matter and strengths keep their meaning. Two edits along the same axis therefore add up, and erasure combined with
another edit erases the genre of the original, not what the other edit adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.dance.song_dance import AnyEdit, DanceEdit, Edit
from d2m.edits.edit import LatentEdit
from d2m.edits.strength import Schedule

Array = NDArray[np.floating]


class Strengths:
    """The strengths of several edits along a song, each a number or a curve."""

    def __init__(self, parts: Sequence[float | Schedule]) -> None:
        self.parts = tuple(parts)

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Strengths at these times (n,) -> (edits, n)."""
        return np.stack([p.at(seconds) if isinstance(p, Schedule) else np.full(len(seconds), p) for p in self.parts])

    def table(self) -> list[Any]:
        """A number or [[seconds, strength], ...] for every edit."""
        return [p.table() if isinstance(p, Schedule) else p for p in self.parts]


class Combined:
    """The sum of two or more edits; the strength is (edits, n), see :class:`Strengths`.

    Args:
        edits: fitted.
    """

    name: ClassVar[str] = "combined"

    def __init__(self, edits: Sequence[LatentEdit]) -> None:
        self.edits = tuple(edits)
        self.params = {"edits": [{"name": e.name, "params": e.params, **e.origin} for e in edits]}

    @property
    def caption(self) -> str:
        """Caption of its picture."""
        return f"edited ({' + '.join(e.name for e in self.edits)})"

    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> _CombinedDance:
        return self.bind(self.edits, generator, noise)

    @staticmethod
    def bind(edits: Sequence[AnyEdit], generator: DanceGenerator, noise: DanceNoise) -> _CombinedDance:
        """These edits for one dance, added."""
        return _CombinedDance([e.for_dance(generator, noise) if isinstance(e, DanceEdit) else e for e in edits])


class _CombinedDance:
    """The edits of one dance; :attr:`facts` has the facts that each reports."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.edits, self.facts = edits, dict[str, Any]()

    def _sum(self, z: Array, strength: float | Array, method: str) -> Array:
        s = np.asarray(strength, np.float64)
        if s.ndim != 2 or s.shape != (len(self.edits), len(z)):
            raise D2MError(f"strengths of shape {s.shape}: {len(self.edits)} edits of {len(z)} segments need one each")
        total = z
        for edit, own in zip(self.edits, s, strict=True):
            if own.any():
                # A constant strength is passed as a number, so that the result is bit-identical to that of the edit
                # alone.
                amount = float(own[0]) if (own == own[0]).all() else own
                moved = getattr(edit, method)(z, amount)
                total = moved if total is z else np.asarray(total + (moved - z), z.dtype)
        return total

    def neutral(self, z: Array, strength: float | Array) -> Array:
        """z (n, z_dan) with the neutral changes of all edits; z itself if all strengths are 0."""
        return self._sum(z, strength, "neutral")

    def transform(self, z: Array, strength: float | Array) -> Array:
        """z (n, z_dan) with all edits; z itself if all strengths are 0."""
        moved = self._sum(z, strength, "transform")
        told = [getattr(e, "facts", {}) for e in self.edits]
        self.facts = {"parts": told} if any(told) else {}
        return moved
