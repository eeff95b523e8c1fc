"""librosa, its compiled parts loaded by one process at a time.

librosa compiles its inner loops with Numba when one of its modules is first imported, and keeps them on disk. Two
processes that do so at once (two workers on a new machine, the ranks of a job on a shared file system) can leave a
cache in which the halves of a function do not fit each other, and every later process that loads it dies of a
segmentation fault (numba issue 10128). So nothing in d2m imports librosa but through here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

# What the others compile on: librosa would import these late, at a call, outside the lock.
_SHARED = ("util.utils", "core.audio", "core.pitch")
LOCK_NAME = "d2m-librosa.lock"
# Compiling takes about 10 s. Who has waited this long goes on without the lock.
_PATIENCE = 180.0  # s


@cache
def librosa(module: str) -> Any:
    """``librosa.<module>``, such as ``beat``, imported and compiled. Goes on without a lock where none can be had."""
    from filelock import FileLock

    with ExitStack() as held:
        for folder in _cache_folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(folder / LOCK_NAME, timeout=_PATIENCE))
                break
            except OSError:  # nothing can be written there, or filelock.Timeout
                continue
        for name in (*_SHARED, module):
            loaded = importlib.import_module(f"librosa.{name}")
    return loaded


def _cache_folders() -> list[Path]:
    """Where Numba looks for a place to keep what it compiled, in its order."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(named)]
    found = importlib.util.find_spec("librosa")
    beside = [Path(found.origin).parent / "__pycache__"] if found and found.origin else []
    return [*beside, Path.home() / ".cache" / "numba"]
