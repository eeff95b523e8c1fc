"""What every front end is: a name, named columns, and a function from a song's sound to numbers at 15 fps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class FrontEnd:
    """What hears the music.

    name: what corpora and bundles record.
    columns: names of the features, in order; all different.
    context_s: a row depends on no sound further than this from its moment, in seconds; inf where it depends on the
        whole song.
    compute: (n,) float32 mono at 22,050 Hz, full scale at 1 -> (t, width) at 15 fps, row k at k / 15 s, not normalised.
        It leaves its argument alone.
    params: what else decides the numbers, as JSON holds it.
    """

    name: str
    columns: tuple[str, ...]
    context_s: float
    compute: Callable[[NDArray[np.float32]], NDArray[np.floating]]
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Numbers a frame."""
        return len(self.columns)

    def features(self, wave: ArrayLike) -> NDArray[np.float32]:
        """Music features of one song.

        Args:
            wave: (n,) mono at 22,050 Hz, full scale at 1.

        Returns:
            (t, width) float32 at 15 fps, not normalised; t is :func:`d2m.music.audio.n_frames`, or one less.

        Raises:
            ValueError: the wave is not one-dimensional, or the front end does not keep its word about its width.
        """
        mono = np.asarray(wave, dtype=np.float32)
        if mono.ndim != 1:
            raise ValueError(f"features: expected (n,) mono samples, got shape {mono.shape}")
        rows = np.asarray(self.compute(mono), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"front end '{self.name}' gave {rows.shape}, its columns are {self.width}")
        return rows
