"""Cleanup after a refused command: removes what it, and Hydra for it, wrote to the run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero


@contextmanager
def nothing_left(folder: RunFolder, hydras: Container[str] = (), named: bool = True) -> Iterator[None]:
    """If the block refuses a command before its first batch, remove what was written to the run's folder.

    Files that existed before are kept, and a folder that already held a run is left unchanged. A folder left empty is
    removed.

    Args:
        hydras: names of files and folders in it that Hydra has created for this command.
        named: whether the user named the folder; else the parents outputs/runs are removed as well if they are empty.
    """
    before = {p.name for p in folder.path.iterdir()} if folder.path.is_dir() else set()
    held_a_run = folder.facts_path.is_file() or folder.has_trained()
    try:
        yield
    except (D2MError, HydraException, OmegaConfBaseException):
        if is_rank_zero() and not held_a_run and not folder.has_trained() and not folder.in_use():
            _remove(p for p in folder.path.glob("*") if p.name not in before or p.name in hydras)
            with suppress(OSError):  # not empty, or already gone
                for path in (folder.path, *([] if named else list(folder.path.parents)[:2])):
                    path.rmdir()
        raise


def of_hydra(hydra: Any) -> set[str]:
    """Names of what Hydra creates in a job's folder before the job begins: its configs and the log.

    Args:
        hydra: its config.
    """
    handlers = (hydra.job_logging or {}).get("handlers") or {}
    logs = {Path(str(h.filename)).name for h in handlers.values() if h.get("filename")}
    return logs | {str(hydra.output_subdir)}


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
