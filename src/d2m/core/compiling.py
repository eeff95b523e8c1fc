"""Compiling with Numba such that only one process at a time does, in a folder that can be written.

Numba keeps compiled functions on disk. Two processes that compile the same ones at once (two workers on a new machine,
the ranks of a job on a shared file system) can leave a corrupt cache, and every later process that loads it dies of a
segmentation fault (numba issue 10128).

Numba requires a cache. If it has no writable place (a read-only environment, no home folder), it gets a temporary
folder.
"""

from __future__ import annotations

import errno
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from d2m.core.errors import D2MError

LOCK_NAME = "d2m-compiling.lock"
# Compiling takes about 10 s. A process that has waited this long continues without the lock.
_PATIENCE = 180.0  # s


@contextmanager
def compiling(sources: Path) -> Iterator[None]:
    """The only block in which functions of the folder ``sources`` may be compiled or loaded from their cache.

    After three minutes of waiting for another process, it is entered without the lock.

    Raises:
        D2MError: no folder for Numba's cache is writable, not even a temporary one; it is full, or damaged, as after a
            power failure.
    """
    from filelock import FileLock

    with ExitStack() as held:
        folder = writable(sources)
        with suppress(OSError):  # e.g. filelock.Timeout
            held.enter_context(FileLock(folder / LOCK_NAME, timeout=_PATIENCE))
        try:
            yield
        except (EOFError, pickle.UnpicklingError) as e:
            below = sources if folder.parent == sources else folder  # each of its folders may have a cache
            raise D2MError(f"{below}: Numba's cache is damaged ({e}); delete the .nbi and .nbc files below it") from e
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise D2MError(f"{folder}: {e.strerror}; set NUMBA_CACHE_DIR to a folder with space") from e


def writable(sources: Path) -> Path:
    """The folder for Numba's cache: Numba's own choice, else a temporary one that belongs to the user."""
    for folder in cache_folders(sources):
        if _can_write(folder):
            return folder
    own = Path(tempfile.gettempdir()) / f"d2m-numba-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    if not _can_write(own) or _is_of_another(own):
        try:
            own = Path(tempfile.mkdtemp(prefix="d2m-numba-"))
        except OSError:
            raise D2MError("Numba needs a folder to compile to; set NUMBA_CACHE_DIR to a writable one") from None
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


def cache_folders(sources: Path) -> list[Path]:
    """Folders in which Numba looks for a place for the cache of ``sources``, in order."""
    named = [Path(name)] if (name := os.environ.get("NUMBA_CACHE_DIR")) else []
    home = os.path.expanduser("~/.cache")  # relative for a user id without a name
    caches = os.environ.get("XDG_CACHE_HOME", home)
    return [*named, sources / "__pycache__", *([Path(caches) / "numba"] if os.path.isabs(caches) else [])]
