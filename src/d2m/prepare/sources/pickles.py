"""Safe reading of pickled arrays: only numbers, strings, containers and NumPy arrays of numbers are accepted.

A pickle is a program. This unpickler accepts only the few names by which NumPy 1 and 2 write arrays, and replaces them
by harmless stand-ins: not even NumPy's own code sees a state chosen by the file (a dtype with forged flags can make it
read pointers). Any other name in a file is refused before anything runs.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

_MAX_DEPTH = 50


class _Refused(pickle.UnpicklingError):
    """The pickle holds something other than arrays of numbers."""


class _Dtype:
    """Stands in for ``numpy.dtype``: booleans, integers and floats only."""

    def __init__(self, code: str, *_: object) -> None:
        plain = np.dtype(str(code))
        if plain.kind not in "biuf":
            raise _Refused(f"an array of {plain}")
        self.dtype = plain

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):  # only the byte order of the state matters for plain numbers
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for an array that ``numpy.core.multiarray._reconstruct`` creates and a state fills."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise _Refused("an array of objects")
    flat = np.frombuffer(bytes(raw), dtype.dtype)
    return flat.reshape(tuple(int(n) for n in shape), order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, ())[()]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stands in for ``_codecs.encode``, with which protocols 0 to 2 write bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise _Refused(f"an encoding to {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stands in for ``bytes``, with which the same protocols write empty bytes."""
    return b""


_NAMES: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise _Refused("containers nested too deeply")
    if isinstance(value, _Array):
        if value.value is None:
            raise _Refused("an array without content")
        return value.value
    if isinstance(value, dict):
        return {_plain(k, depth + 1): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(v, depth + 1) for v in value)
    return value


def load_arrays(path: str | Path) -> Any:
    """Read a pickle that holds arrays.

    Raises:
        D2MError: a missing or unreadable file, not a pickle, or one that holds anything but arrays of numbers.
    """
    try:
        with open(path, "rb") as f:
            return _plain(_Unpickler(f).load())
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; correct the pose column of the manifest") from e
    except _Refused as e:
        raise D2MError(f"{path}: refused, the pickle holds {e}; only NumPy arrays of numbers are read") from e
    except Exception as e:  # a broken pickle raises nearly anything
        raise D2MError(f"{path}: not readable as a pickle of arrays ({type(e).__name__}); export it again") from e
