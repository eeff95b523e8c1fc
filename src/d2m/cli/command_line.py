"""User errors as one line and exit code 2."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from d2m.core.errors import Busy, D2MError

#: Disk and path errors that the user can fix.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR}

#: Start of Hydra's messages whose reason is only in the chained exception.
_MERGING = "Error merging override "
_KEY = re.compile(r"\s*full_key: (\S+)(\s*(reference_type|object_type)=\S+)*")
_OF_HYDRA = ", set env var HYDRA_FULL_ERROR=1 to see chained exception."


def one_line(error: BaseException) -> str:
    """The innermost user error of a chain of exceptions, on one line."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        if isinstance(link, D2MError):
            return str(link)
    text = str(error)
    if text.startswith(_MERGING) and error.__cause__ is not None:
        text = f"{text.removeprefix(_MERGING)}: {error.__cause__}"
    text = _KEY.sub(r" (\1)", text.replace(_OF_HYDRA, ""))
    return " ".join(part.strip() for part in text.splitlines() if part.strip())


@contextmanager
def user_errors(trial: str | None = None, folder: str = "output") -> Iterator[None]:
    """User errors, including full and read-only disks: one line on stderr, exit code 2. Interrupts: exit code 130. All
    other exceptions keep their traceback.

    Args:
        trial: name of a sweep's trial: the line is printed and the error raised, so that the sweep records it and
            continues.
        folder: that the program writes to, named for disk errors that do not name their file.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (D2MError, HydraException, OmegaConfBaseException) as e:
        if os.environ.get("D2M_TRACEBACK"):
            raise
        if trial is not None:
            print(one_line(e) if isinstance(e, Busy) else f"{trial} failed: {one_line(e)}", file=sys.stderr)
            raise
        print(f"error: {one_line(e)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout at exit
        sys.exit(128 + signal.SIGPIPE)
    except OSError as e:
        if os.environ.get("D2M_TRACEBACK") or e.errno not in _DISK:
            raise
        where = e.filename2 or e.filename
        line = f"{where or folder}: {e.strerror}; free space or choose another folder"
        if trial is not None:
            print(f"{trial} failed: {line}", file=sys.stderr)
            raise D2MError(line) from e
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(main: Callable[[], Any]) -> None:
    """Call ``main`` under :func:`user_errors`."""
    # Hydra would print its errors and exit with 1; with this it raises them.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with user_errors():
        main()
