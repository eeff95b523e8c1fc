"""Imports librosa such that only one process at a time compiles it.

librosa compiles its inner loops with Numba when one of its modules is first imported, and keeps them on disk. Two
processes that do so at once (two workers on a new machine, the ranks of a job on a shared file system) can leave a
corrupt cache, and every later process that loads it dies of a segmentation fault (numba issue 10128). Therefore d2m
imports librosa only through this module.

Numba requires a cache. If it has no writable place (a read-only environment, no home folder), it gets a temporary
folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError

# Modules that librosa would otherwise import lazily, outside the lock.
_SHARED = ("util.utils", "core.audio", "core.pitch")
LOCK_NAME = "d2m-librosa.lock"
# Compiling takes about 10 s. A process that has waited this long continues without the lock.
_PATIENCE = 180.0  # s


@cache
def librosa(module: str) -> Any:
    """``librosa.<module>``, such as ``beat``, imported and compiled. After three minutes of waiting, without the lock.

    Raises:
        D2MError: no folder for Numba's cache is writable, not even a temporary one.
    """
    from filelock import FileLock

    with ExitStack() as held:
        folder = _writable()
        with suppress(OSError):  # e.g. filelock.Timeout
            held.enter_context(FileLock(folder / LOCK_NAME, timeout=_PATIENCE))
        held.enter_context(_everything_cached())
        for name in (*_SHARED, module):
            loaded = importlib.import_module(f"librosa.{name}")
    return loaded


@contextmanager
def _everything_cached() -> Iterator[None]:
    """Inside the block, Numba keeps all that it compiles for librosa.

    librosa 0.11 declines this for one function of its beat tracker (``cache=False``), which would be compiled in every
    process, in 2 s.
    """
    import numba

    compiling = numba.guvectorize
    numba.guvectorize = lambda *a, **options: compiling(*a, **{**options, "cache": True})
    try:
        yield
    finally:
        numba.guvectorize = compiling


def _writable() -> Path:
    """The folder for Numba's cache: Numba's own choice, else a temporary one that belongs to the user."""
    for folder in _cache_folders():
        if _can_write(folder):
            return folder
    own = Path(tempfile.gettempdir()) / f"d2m-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    if not _can_write(own) or _is_of_another(own):
        try:
            own = Path(tempfile.mkdtemp(prefix="d2m-numba-"))
        except OSError:
            raise D2MError("librosa needs a folder to compile to; set NUMBA_CACHE_DIR to a writable one") from None
    os.environ["NUMBA_CACHE_DIR"] = str(own)
    if (numba := sys.modules.get("numba")) is not None:  # it has already read the environment
        numba.config.CACHE_DIR = str(own)
    return own


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _is_of_another(folder: Path) -> bool:
    """Whether other users can write to a folder, whose compiled code would run with our rights."""
    status = folder.lstat()
    return hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or bool(status.st_mode & 0o022) or folder.is_symlink()
    )


def _cache_folders() -> list[Path]:
    """Folders in which Numba looks for a place for its cache, in order."""
    named = [Path(name)] if (name := os.environ.get("NUMBA_CACHE_DIR")) else []
    spec = importlib.util.find_spec("librosa")
    beside = [Path(spec.origin).parent / "__pycache__"] if spec and spec.origin else []
    home = os.path.expanduser("~")  # "~" itself for a user id without a name
    return [*named, *beside, *([Path(home) / ".cache" / "numba"] if os.path.isabs(home) else [])]
