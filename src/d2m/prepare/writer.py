"""Arrays that grow on disk: rows are appended to an .npy file, and its header gets the final length at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, DTypeLike


class ArrayWriter:
    """Append rows of one shape and type to an .npy file without holding them in memory."""

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.row_shape, self.dtype, self.rows = tuple(row_shape), np.dtype(dtype), 0
        self._file = open(path, "wb")  # noqa: SIM115 (closed by close)
        self._body = self._write_header()

    def _write_header(self) -> int:
        header = {
            "descr": npy.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.rows, *self.row_shape),
        }
        npy.write_array_header_1_0(self._file, header)
        return self._file.tell()

    def append(self, rows: ArrayLike) -> None:
        """(n, *row_shape)."""
        block = np.ascontiguousarray(rows, self.dtype)
        if block.shape[1:] != self.row_shape:
            raise ValueError(f"rows are {self.row_shape}, not {block.shape[1:]}")
        self._file.write(block.data)
        self.rows += len(block)

    def close(self) -> None:
        """Write the final length into the header, which numpy pads so that the first axis can grow in place."""
        if self._file.closed:
            return
        try:
            self._file.seek(0)
            if self._write_header() != self._body:
                raise RuntimeError("an .npy header outgrew its padding")
        finally:
            self._file.close()


@contextmanager
def array_writers(
    folder: Path, layout: dict[str, tuple[tuple[int, ...], DTypeLike]]
) -> Iterator[dict[str, ArrayWriter]]:
    """A writer ``folder/NAME.npy`` per entry name -> (row shape, dtype)."""
    writers: dict[str, ArrayWriter] = {}
    try:
        for name, (shape, dtype) in layout.items():
            writers[name] = ArrayWriter(folder / f"{name}.npy", shape, dtype)
        yield writers
    finally:
        for writer in writers.values():
            writer.close()
