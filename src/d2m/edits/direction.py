"""Edits that add to a latent, fit / transform / neutral, and their files without pickle.

A direction file is a folder with ``direction.safetensors`` (fitted arrays) and ``direction.json`` (class, parameters,
fitted numbers, the digest of the arrays, the latent space it was fitted in). The json is written last and seals the
arrays.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.edits.edit import LatentEdit
from d2m.edits.strength import Array, blend

FORMAT = 1
ARRAYS, INDEX = "direction.safetensors", "direction.json"


class Direction(LatentEdit):
    """An edit that adds something to every latent, independently of the dance.

    Subclasses implement :meth:`fit` and :meth:`shift`, and :meth:`neutral_shift` if "without a genre" is defined for
    them.
    """

    #: Attributes set by :meth:`fit`: arrays, and plain values for the json.
    fitted_arrays: ClassVar[tuple[str, ...]]
    fitted_values: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def shift(self, z: Array) -> Array:
        """The change that :meth:`transform` adds to z (..., d) at strength 1; broadcastable to z."""

    def neutral_shift(self, z: Array) -> Array:
        """The change that :meth:`neutral` adds at strength 1; zero if neutral is not defined."""
        return np.zeros(z.shape[-1])

    def transform(self, z: Array, strength: float | Array = 1.0) -> Array:
        """The edited latents (..., d); strength a number or one per row (n,). Strength 0 returns z to the bit."""
        return blend(z, self.shift(np.asarray(z, np.float64)), strength)

    def neutral(self, z: Array, strength: float | Array = 1.0) -> Array:
        """The latents without their genre (..., d). Strength 0 returns z to the bit."""
        return blend(z, self.neutral_shift(np.asarray(z, np.float64)), strength)

    def for_dance(self, generator: DanceGenerator, noise: DanceNoise) -> Self:
        return self.fitted(generator)

    @property
    def width(self) -> int | None:
        first = getattr(self, self.fitted_arrays[0], None)
        return None if first is None else int(first.shape[-1])


def save_direction(
    folder: str | Path, direction: Direction, space: str = "", facts: dict[str, Any] | None = None
) -> Path:
    """Write a direction file.

    Args:
        folder: created if it is missing.
        space: identity of the latent space, the sha256 of a bundle's weights; "" for any.
        facts: further facts to record (songs, seed), plain values.

    Raises:
        D2MError: the folder cannot be written.
    """
    folder = Path(folder)
    arrays = {k: np.ascontiguousarray(getattr(direction, k)) for k in direction.fitted_arrays}
    data = save(arrays)
    index = {
        "format": FORMAT,
        "direction": direction.name,
        "params": direction.params,
        "fitted": {k: getattr(direction, k) for k in direction.fitted_values},
        "width": direction.width,
        "space": space,
        "facts": facts or {},
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(index, indent=2, sort_keys=True) + "\n"
    with atomic_path(folder / ARRAYS) as tmp:
        tmp.write_bytes(data)
    with atomic_path(folder / INDEX) as tmp:
        tmp.write_text(text, encoding="utf-8")
    return folder


def read_direction(path: str | Path, kinds: dict[str, type[Direction]]) -> tuple[Direction, dict[str, Any]]:
    """Read a direction written by :func:`save_direction`, bit-identical.

    Args:
        path: the folder, or one of its two files.
        kinds: name -> class; see :data:`d2m.edits.directions.DIRECTIONS`.

    Returns:
        The direction and the contents of its json.

    Raises:
        D2MError: missing, altered or foreign files.
    """
    path = Path(path)
    folder = path.parent if path.name in (ARRAYS, INDEX) else path
    if not folder.is_dir() or not (folder / INDEX).is_file() or not (folder / ARRAYS).is_file():
        raise D2MError(f"{path}: not a direction ({INDEX}, {ARRAYS}); d2m study fit writes one")
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        data = (folder / ARRAYS).read_bytes()
        if index["format"] != FORMAT:
            raise D2MError(f"{folder / INDEX}: direction format {index['format']}, but this version reads {FORMAT}")
        if hashlib.sha256(data).hexdigest() != index["arrays_sha256"]:
            raise D2MError(f"{folder / ARRAYS}: altered since the direction was fitted; fit it again")
        if index["direction"] not in kinds:
            raise D2MError(
                f"{folder / INDEX}: unknown direction '{index['direction']}'; choose from {', '.join(kinds)}"
            )
        kind = kinds[index["direction"]]
        arrays = load(data)
        if set(arrays) != set(kind.fitted_arrays) or set(index["fitted"]) != set(kind.fitted_values):
            raise ValueError("its fitted attributes are another version's")
        direction = kind(**index["params"])
        for name, value in {**arrays, **index["fitted"]}.items():
            setattr(direction, name, value)
        if direction.width != index["width"] or not all(np.isfinite(a).all() for a in arrays.values()):
            raise ValueError("arrays do not fit")
        return direction, index
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as e:
        raise D2MError(f"{folder}: not a readable direction ({e}); fit it again with d2m study fit") from e
