"""Base class of all edits of z_dan: named, with parameters, fitted on genre means or songs, bound to one dance."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.dance.song_dance import Edit
from d2m.dance.table import LatentTable


class LatentEdit(ABC):
    """An edit of latents, scikit-learn style: parameters in ``__init__``, fitted attributes end in ``_``.

    A new edit is a class listed in :data:`d2m.edits.directions.EDITS`. Its parameters are the keys of
    ``conf/edit/NAME.yaml``, and class attributes declare its requirements.
    """

    #: Name in configs and files.
    name: ClassVar[str]
    #: Genres that a request must give.
    needs: ClassVar[tuple[str, ...]] = ("source", "target")
    #: Data for fitting: genre means ("means"), a row per song ("songs"), or complete draws of songs ("draws").
    fitted_on: ClassVar[Literal["means", "songs", "draws"]] = "songs"

    #: Origin of the fit, as plain values, for the files written with its dances.
    origin: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        edit = super().__new__(cls)
        edit.origin = {}
        return edit

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Dimension of the latents that it was fitted on; None before fitting."""

    @abstractmethod
    def fit(self, z: ArrayLike, genre: ArrayLike) -> Self:
        """Fit on latents z (n, d) and their genres (n,), strings."""

    @abstractmethod
    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> Edit:
        """The fitted edit for the dance of this bundle with this noise (1, n, 1)."""

    def fit_on_songs(self, songs: LatentTable) -> Self:
        """Fit on mu of a table with one row per song, or on its complete draws if the edit requires them.

        Raises:
            D2MError: see :meth:`fit`.
        """
        k = songs.draws.shape[1]
        if self.fitted_on == "draws" and k > 1:
            return self.fit(songs.draws.reshape(-1, songs.mu.shape[1]), np.repeat(songs.genre, k))
        return self.fit(songs.mu.astype(np.float64), songs.genre)

    def from_means(self, means: Mapping[str, NDArray[np.floating]]) -> Self:
        """Fit on genre means (d,) alone, such as those of a bundle.

        Raises:
            D2MError: a genre has no mean, or the edit needs more than means.
        """
        raise D2MError(
            f"{self.name} must be fitted on song latents, genre means are not enough: give edit.latents=FILE (d2m "
            f"study extract) or edit.file=DIR (d2m study fit), or call fit(z, genre)"
        )

    def fitted(self, generator: DanceGenerator) -> Self:
        """The edit itself if it is fitted, else a copy fitted on the bundle's genre means.

        Raises:
            D2MError: see :meth:`from_means`; latents of another width than the bundle's.
        """
        edit = self if self.width is not None else copy(self).from_means(generator.genre_means)
        if edit.width != generator.net.sizes.z_dan:
            raise D2MError(
                f"{self.name}: fitted on latents of width {edit.width}, this bundle's have "
                f"{generator.net.sizes.z_dan}; fit it with this bundle"
            )
        return edit

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Names of the arguments of ``__init__``."""
        return tuple(k for k in inspect.signature(cls.__init__).parameters if k != "self")

    @property
    def params(self) -> dict[str, Any]:
        """Arguments of ``__init__``, plain values."""
        return {k: getattr(self, k) for k in self.parameters()}
