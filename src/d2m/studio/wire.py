"""Responses as a sequence of frames, so that one response can hold progress, a provisional dance and the exact one.

A frame consists of the length of the rest (uint32, little-endian), the length of a JSON header (uint32), the header,
and the arrays listed in the header, in sequence and little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.files import finite


def frame(kind: str, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """One frame; arrays are float32 or uint8."""
    listed, blobs = [], []
    for name, array in (arrays or {}).items():
        dtype = "uint8" if array.dtype == np.uint8 else "float32"
        listed.append({"name": name, "dtype": dtype, "shape": list(array.shape)})
        blobs.append(np.ascontiguousarray(array, "u1" if dtype == "uint8" else "<f4").tobytes())
    text = json.dumps(finite({"kind": kind, **header, "arrays": listed})).encode()
    text += b" " * (-len(text) % 4)  # float32 arrays begin at multiples of four
    body = struct.pack("<I", len(text)) + text + b"".join(blobs)
    return struct.pack("<I", len(body)) + body


def frames(data: bytes) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Parse frames: yields each one's header and arrays."""
    at = 0
    while at < len(data):
        size, length = struct.unpack_from("<II", data, at)
        header = json.loads(data[at + 8 : at + 8 + length])
        place, arrays = at + 8 + length, {}
        for a in header["arrays"]:
            dtype = "u1" if a["dtype"] == "uint8" else "<f4"
            n = int(np.prod(a["shape"]))
            arrays[a["name"]] = np.frombuffer(data, dtype, n, place).reshape(a["shape"])
            place += arrays[a["name"]].nbytes
        yield header, arrays
        at += 4 + size
