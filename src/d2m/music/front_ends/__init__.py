"""Front ends compute music features. Each has a module, or shares one with its family; :data:`FRONT_ENDS` lists them.

To add one, write a module in this folder whose ``FRONT_ENDS`` is a tuple of
:class:`d2m.music.front_ends.base.FrontEnd`; it needs no registration. Import everything but NumPy inside functions, so
that looking up a name stays fast. Front ends with parameters are a family instead: its module has a
``FAMILY``, the family's name and a function from what follows the colon in `embedding:768@75` to the front end.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.music.front_ends.base import FrontEnd

__all__ = ["FAMILIES", "FRONT_ENDS", "FrontEnd", "features", "front_end"]

_MODULES = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
#: name -> front end.
FRONT_ENDS: dict[str, FrontEnd] = {f.name: f for m in _MODULES for f in getattr(m, "FRONT_ENDS", ())}
#: family -> function that makes a front end from the rest of the name.
FAMILIES: dict[str, Callable[[str], FrontEnd]] = dict(m.FAMILY for m in _MODULES if hasattr(m, "FAMILY"))


def front_end(name: str) -> FrontEnd:
    """The front end with a name; its full name may be longer, such as `onnx:22050:0f3c...` for `onnx`.

    Raises:
        D2MError: no such front end, or an invalid name within a family.
    """
    family, _, rest = name.partition(":")
    if family in FAMILIES:
        return FAMILIES[family](rest)
    if name not in FRONT_ENDS:
        raise D2MError(f"no front end '{name}'; choose from {', '.join((*FRONT_ENDS, *FAMILIES))}")
    return FRONT_ENDS[name]


def features(
    wave: ArrayLike, name: str = "mfcc", song: str | Path | None = None, start_s: float = 0.0
) -> NDArray[np.float32]:
    """Music features (t, width) of one song by the front end of a name; see :meth:`FrontEnd.features`.

    Raises:
        D2MError: no such front end; or it reads files, and the song or the file is missing.
        ValueError: the wave is not one-dimensional.
    """
    return front_end(name).features(wave, song, start_s)
