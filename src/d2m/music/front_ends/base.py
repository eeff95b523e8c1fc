"""The interface of front ends: a name, named columns, and a function from audio to features at 15 fps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.blas import one_blas_thread
from d2m.core.errors import D2MError
from d2m.music.audio import n_frames

if TYPE_CHECKING:
    from torch import Tensor

    from d2m.music.front_ends.augment import Change


@dataclass(frozen=True)
class FrontEnd:
    """A front end: computes music features from audio.

    name: as recorded in corpora and bundles.
    columns: names of the features, in order; all different.
    context_s: a row depends only on sound within this many seconds of its time; inf if it depends on the whole song.
    compute: (n,) float32 mono at 22,050 Hz, full scale at 1 -> (t, width) at 15 fps, row k at k / 15 s, not normalised.
        It does not modify its argument. None if ``read`` is given.
    params: all other settings that affect the features, as JSON values.
    read: (path of the song, start in seconds, number of rows t) -> (t, width), for features read from a file instead of
        computed from audio. file: path of the song -> path of that file.
    answer: (rows (b, t, width), change of the audio) -> features of the changed audio, a new tensor. Rows have already
        been resampled to the new tempo; ``answer`` accounts for its effect on the columns. None if the features of
        changed audio cannot be predicted: then the style network trains without augmentation. See
        :mod:`d2m.music.front_ends.augment`.
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
        """Number of features per frame."""
        return len(self.columns)

    @one_blas_thread()
    def features(self, wave: ArrayLike, song: str | Path | None = None, start_s: float = 0.0) -> NDArray[np.float32]:
        """Music features of one song.

        Args:
            wave: (n,) mono at 22,050 Hz, full scale at 1.
            song: the file from which the unmodified wave was read; None if there is none or the wave was modified.
            start_s: where in the file the wave starts, in seconds.

        Returns:
            (t, width) float32 at 15 fps, not normalised; t is :func:`d2m.music.audio.n_frames`, or one less.

        Raises:
            D2MError: it reads files, and the song or the file is missing.
            ValueError: the wave is not one-dimensional, or the front end returned another width than declared.
        """
        mono = np.asarray(wave, dtype=np.float32)
        if mono.ndim != 1:
            raise ValueError(f"features: expected (n,) mono samples, got shape {mono.shape}")
        if self.compute is not None:
            rows = np.asarray(self.compute(mono), np.float32)
        elif self.read is None or song is None:
            raise D2MError(f"front end '{self.name}' reads files; it cannot be used for edited or augmented sound")
        else:
            rows = np.asarray(self.read(Path(song), start_s, n_frames(len(mono))), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise ValueError(f"front end '{self.name}' gave {rows.shape}, its columns are {self.width}")
        return rows
