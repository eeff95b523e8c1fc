"""The table of a corpus' recordings, recordings.arrow (Arrow IPC)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from d2m.core.errors import D2MError


class RecordingInfo(NamedTuple):
    """A row of recordings.arrow.

    tempo: BPM, nan if unknown. audio: path relative to the raw folder, or "". audio_sha256: digest of that file; ""
    without music, and in corpora that predate this field.
    """

    name: str
    genre: str
    group: str
    split: str
    seconds: float
    tempo: float
    start_s: float
    audio: str
    licence: str
    audio_sha256: str = ""


_FLOATS = ("seconds", "tempo", "start_s")


class RecordingTable(Sequence[RecordingInfo]):
    """The rows of recordings.arrow, read on demand."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            old = {n: pa.array([v] * len(table), pa.string()) for n, v in RecordingInfo._field_defaults.items()}
            there = set(table.column_names)
            self._columns = [old[n] if n in old and n not in there else table.column(n) for n in RecordingInfo._fields]
        except (OSError, pa.ArrowException, KeyError) as e:
            raise D2MError(f"{path}: not a readable table ({e}); delete the corpus and prepare it again") from e

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> RecordingInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordingInfo]: ...
    def __getitem__(self, index: int | slice) -> RecordingInfo | list[RecordingInfo]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[int(index)]
        return RecordingInfo(*(column[number].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[RecordingInfo]:
        return map(RecordingInfo._make, zip(*(column.to_pylist() for column in self._columns)))


def write_table(path: Path, recordings: Iterable[RecordingInfo]) -> None:
    """Write recordings.arrow."""
    import pyarrow as pa

    columns = list(zip(*recordings)) or [()] * len(RecordingInfo._fields)
    types = {name: pa.float64() if name in _FLOATS else pa.string() for name in RecordingInfo._fields}
    table = pa.table(
        [pa.array(values, kind) for values, kind in zip(columns, types.values())], schema=pa.schema(list(types.items()))
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
