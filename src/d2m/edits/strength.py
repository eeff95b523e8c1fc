"""Strengths of edits: a number, one per latent, or a schedule over the seconds of a song."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Schedule:
    """Strength over time: linear between breakpoints, constant beyond them.

    seconds: increasing; two equal values make a jump. strength: one value per breakpoint.
    """

    seconds: tuple[float, ...]
    strength: tuple[float, ...]

    @classmethod
    def parse(cls, value: Any) -> Schedule:
        """From [[seconds, strength], ...].

        Raises:
            D2MError: another shape, not numbers, not finite, or seconds that decrease.
        """
        try:
            table = np.asarray([[float(x) for x in row] for row in value], np.float64)
        except (TypeError, ValueError):
            table = np.empty(0)
        if table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all() or (np.diff(table[:, 0]) < 0).any():
            raise D2MError(
                f"schedule {value}: write [[seconds,strength],...] with increasing seconds, e.g. [[0,0],[30,1]]"
            )
        return cls(tuple(table[:, 0].tolist()), tuple(table[:, 1].tolist()))

    def at(self, seconds: Array) -> NDArray[np.float64]:
        """Strength at these times (n,) -> (n,)."""
        return np.asarray(np.interp(seconds, self.seconds, self.strength), np.float64)

    def table(self) -> list[list[float]]:
        """The inverse of :meth:`parse`."""
        return [list(row) for row in zip(self.seconds, self.strength, strict=True)]

    def __str__(self) -> str:
        return ", ".join(f"{v:g} at {t:g} s" for t, v in zip(self.seconds, self.strength, strict=True))


def blend(z: Array, shift: Array, strength: float | Array) -> Array:
    """z + strength * shift in z's dtype; if strength is 0, z bit for bit.

    Args:
        z: (..., d).
        shift: the change at strength 1, broadcastable to z.
        strength: a number, or (n,), one for every row of z (..., n, d).

    Raises:
        ValueError: strengths that do not fit the rows of z, or are not finite.
    """
    s = np.asarray(strength, np.float64)
    if s.ndim > 1 or (s.ndim == 1 and (z.ndim < 2 or z.shape[-2] != len(s))):
        raise ValueError(f"strength of shape {s.shape} does not fit latents of shape {z.shape}")
    if not np.isfinite(s).all():
        raise ValueError("strength must be finite")
    rows = s[..., None] if s.ndim else s
    moved = z + rows.astype(z.dtype) * shift.astype(z.dtype)
    return np.asarray(np.where(rows == 0, z, moved), z.dtype)
