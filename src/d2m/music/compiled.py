"""Imports librosa such that only one process at a time compiles it (:mod:`d2m.core.compiling`).

librosa compiles its inner loops with Numba when one of its modules is first imported. Therefore d2m imports librosa
only through this module.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from d2m.core.compiling import compiling

# Modules that librosa would otherwise import lazily, outside the lock.
_SHARED = ("util.utils", "core.audio", "core.pitch")


@cache
def librosa(module: str) -> Any:
    """``librosa.<module>``, such as ``beat``, imported and compiled.

    Raises:
        D2MError: as :func:`d2m.core.compiling.compiling`.
    """
    with compiling(_sources()), _everything_cached():
        for name in (*_SHARED, module):
            loaded = importlib.import_module(f"librosa.{name}")
    return loaded


def _sources() -> Path:
    """librosa's folder, without importing it."""
    spec = importlib.util.find_spec("librosa")
    assert spec is not None and spec.origin is not None, "librosa is a requirement of d2m"
    return Path(spec.origin).parent


@contextmanager
def _everything_cached() -> Iterator[None]:
    """Inside the block, Numba keeps all that it compiles for librosa.

    librosa 0.11 declines this for one function of its beat tracker (``cache=False``), which would be compiled in every
    process, in 2 s.
    """
    import numba

    own = numba.guvectorize
    numba.guvectorize = lambda *a, **options: own(*a, **{**options, "cache": True})
    try:
        yield
    finally:
        numba.guvectorize = own
