"""Front ends: what hears the music. One file each, or one for a family; all in :data:`FRONT_ENDS` by name.

To add one, write a module in this folder whose ``FRONT_ENDS`` is a tuple of
:class:`d2m.music.front_ends.base.FrontEnd`: nothing else names it. What it needs beyond NumPy it imports when it is
called, so that looking a name up stays quick.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.music.front_ends.base import FrontEnd

__all__ = ["FRONT_ENDS", "FrontEnd", "features", "front_end"]


def _found() -> dict[str, FrontEnd]:
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return {f.name: f for module in modules for f in getattr(module, "FRONT_ENDS", ())}


#: name -> front end.
FRONT_ENDS: dict[str, FrontEnd] = _found()


def front_end(name: str) -> FrontEnd:
    """The front end of a name.

    Raises:
        D2MError: there is no such front end.
    """
    if name not in FRONT_ENDS:
        raise D2MError(f"no front end '{name}'; there are {', '.join(FRONT_ENDS)}")
    return FRONT_ENDS[name]


def features(wave: ArrayLike, name: str = "mfcc") -> NDArray[np.float32]:
    """Music features (t, width) of one song by the front end of a name; see :meth:`FrontEnd.features`.

    Raises:
        D2MError: there is no such front end.
        ValueError: the wave is not one-dimensional.
    """
    return front_end(name).features(wave)
