"""Atomic files: written under a temporary name next to the target, then renamed."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.core.spreadsheets import read_spreadsheet


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path with the target's suffix, in its folder; renamed to the target if the block succeeds.

    Missing parent folders are created. If the block raises, the temporary file is removed and the target is unchanged.

    Raises:
        D2MError: the folder cannot be made or written, or the disk is full (any OSError of the block).
    """
    target = Path(path)
    temp = target.with_name(f".{os.urandom(8).hex()}.tmp{target.suffix}")
    try:
        if target.is_dir():
            raise D2MError(f"{target}: is a folder; give the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        os.replace(temp, target)
    except OSError as e:
        reason = e.strerror or str(e) or type(e).__name__
        raise D2MError(f"{target}: cannot write ({reason}); choose a writable folder with free space") from e
    finally:
        with suppress(OSError):  # e.g. the parent is not a folder: nothing was written
            temp.unlink(missing_ok=True)


@contextmanager
def appear_together(folder: str | os.PathLike[str], instead_of: Iterable[str] = ()) -> Iterator[Path]:
    """A temporary folder inside the existing ``folder``, whose contents move to ``folder`` if the block succeeds.

    Files and folders move in the order in which they were written and replace older ones with the same names; then
    files named in ``instead_of`` that were not written again are removed. If the block raises, ``folder`` is unchanged.
    Temporary folders left behind by killed processes of this machine are removed as well.

    Raises:
        D2MError: the disk is full or the folder cannot be written. Errors raised by the block name the final paths.
    """
    target, temp = Path(folder), None
    try:
        _remove_left(target)
        temp = Path(tempfile.mkdtemp(prefix=f"{_mine()}{os.getpid()}-", suffix=".tmp", dir=target))
        yield temp
        written = sorted(temp.iterdir(), key=lambda f: f.stat().st_mtime_ns)
        for file in written:
            if file.is_dir() and (target / file.name).is_dir():  # a folder cannot be renamed onto another one
                os.replace(target / file.name, Path(tempfile.mkdtemp(dir=temp)) / file.name)
            os.replace(file, target / file.name)
        for name in set(instead_of) - {file.name for file in written}:
            (target / name).unlink(missing_ok=True)
    except D2MError as e:
        raise D2MError(str(e).replace(str(temp), str(target))) from e
    except OSError as e:
        raise D2MError(f"{target}: cannot write ({e.strerror}); choose a writable folder with free space") from e
    finally:
        if temp is not None:
            shutil.rmtree(temp, ignore_errors=True)


def _mine() -> str:
    """Prefix of this machine's temporary folders: other machines may share the disk, but not its process numbers."""
    return f".d2m-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-"


def _remove_left(folder: Path) -> None:
    """Remove temporary folders of processes that have ended."""
    for left in folder.glob(f"{_mine()}*.tmp"):
        number = left.name.removeprefix(_mine()).partition("-")[0]
        if number.isdecimal() and not process_runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def process_runs(process: int) -> bool:
    """Whether a process with this number is running here (possibly a later one with the same number)."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user
        return True
    return True


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: temporary files are removed on the way out."""

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, leave)


def finite(value: Any) -> Any:
    """Replace NaN and infinities by None, since JSON has no such numbers."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees either the old file or the new one. NaN becomes null.

    Synced to disk before the rename: without it, some file systems leave an empty file after a power failure, and a run
    whose run.json is empty cannot be resumed.

    Raises:
        D2MError: it cannot be written.
    """
    with atomic_path(path) as temp, open(temp, "w") as f:
        f.write(json.dumps(finite(value), indent=2, sort_keys=True, default=str) + "\n")
        f.flush()
        os.fsync(f.fileno())


def check_out(out: Path) -> None:
    """Create the output folder and check that it is writable.

    Raises:
        D2MError: it is not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as e:
        raise D2MError(f"out={out}: cannot write here ({e.strerror}); choose another folder") from e


def csv_rows(path: Path, columns: Sequence[str], called: str | None = None) -> list[dict[str, str]]:
    """Rows of a CSV file (:mod:`d2m.core.spreadsheets`), names in lower case, surrounding blanks stripped from cells.

    Args:
        columns: the expected columns, for the error message.
        called: name of the file in error messages; its path by default.

    Raises:
        D2MError: it cannot be read.
    """
    try:
        rows = read_spreadsheet(path)[1]
        return [{k: v for k, v in row.items() if k is not None} for _, row in rows]
    except FileNotFoundError as e:
        raise D2MError(f"{called or path}: no such file") from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        wanted = " and ".join([", ".join(columns[:-1]), columns[-1]] if len(columns) > 1 else columns)
        raise D2MError(f"{called or path}: not readable as CSV; save it in UTF-8 with the columns {wanted}") from e
