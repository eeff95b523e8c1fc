"""What every front end is: a name, named columns, and a function from a song's sound to numbers at 15 fps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.music.audio import n_frames

if TYPE_CHECKING:
    from torch import Tensor

    from d2m.music.front_ends.augment import Change


@dataclass(frozen=True)
class FrontEnd:
    """What hears the music.

    name: what corpora and bundles record.
    columns: names of the features, in order; all different.
    context_s: a row depends on no sound further than this from its moment, in seconds; inf if it depends on the
        whole song.
    compute: (n,) float32 mono at 22,050 Hz, full scale at 1 -> (t, width) at 15 fps, row k at k / 15 s, not normalised.
        It leaves its argument alone. None for one that reads.
    params: what else decides the numbers, as JSON holds it.
    read: (the song's path, seconds at which its part begins, rows t) -> (t, width), for what was written down about the
        song by somebody else and is not to be heard in its wave. file: the song's path -> that of what is read.
    answer: (rows (b, t, width), the sound's change) -> the rows of the changed sound, a new tensor. The rows are those
        that a change of tempo takes already; what it does to their columns is still to be done. None if the columns do
        not say: then the style network trains without augmentation. See :mod:`d2m.music.front_ends.augment`.
    """

    name: str
    columns: tuple[str, ...]
    context_s: float
    compute: Callable[[NDArray[np.float32]], NDArray[np.floating]] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Path, float, int], NDArray[np.floating]] | None = None
    file: Callable[[Path], Path] | None = None
    answer: Callable[[Tensor, Change], Tensor] | None = None

    @property
    def width(self) -> int:
        """Numbers a frame."""
        return len(self.columns)

    def features(self, wave: ArrayLike, song: str | Path | None = None, start_s: float = 0.0) -> NDArray[np.float32]:
        """Music features of one song.

        Args:
            wave: (n,) mono at 22,050 Hz, full scale at 1.
            song: the file that the wave is of, unchanged; None for sound of no file or a changed one.
            start_s: second of the file at which the wave begins.

        Returns:
            (t, width) float32 at 15 fps, not normalised; t is :func:`d2m.music.audio.n_frames`, or one less.

        Raises:
            D2MError: it reads files, and there is no song or no file.
            ValueError: the wave is not one-dimensional, or the front end does not keep its word about its width.
        """
        mono = np.asarray(wave, dtype=np.float32)
        if mono.ndim != 1:
            raise ValueError(f"features: expected (n,) mono samples, got shape {mono.shape}")
        if self.compute is not None:
            rows = np.asarray(self.compute(mono), np.float32)
        elif self.read is None or song is None:
            raise D2MError(f"front end '{self.name}' reads a song's file; it cannot hear edited or augmented sound")
        else:
            rows = np.asarray(self.read(Path(song), start_s, n_frames(len(mono))), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"front end '{self.name}' gave {rows.shape}, its columns are {self.width}")
        return rows
