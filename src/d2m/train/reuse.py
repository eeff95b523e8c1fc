"""Reuse of stages: a stage that two runs share is trained once, and the second run takes the first one's checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import runs_below
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, sha256, write_json
from d2m.train.requeue import Cut

#: Folder beside the runs, with a lock for each stage in training.
_LOCKS = ".reuse"


@contextmanager
def shared(run: RunFolder, stage: str, wanted: str | None, beside: Path | None) -> Iterator[Path | None]:
    """Take a stage from another run if one has trained it; else lock it for the block, in which this run trains it.

    If several runs need the same stage, the first trains it and the others wait, after printing a line. A stage that
    this run has already begun is trained to its end here.

    Args:
        wanted: the stage's signature; None if it has none.
        beside: the folder of runs to search; None: no reuse.

    Yields:
        the run that the stage was taken from, or None.
    """
    if beside is None or wanted is None:
        yield None
        return
    lock = _lock(beside / _LOCKS / f"{stage}-{wanted}.lock", stage)
    try:
        lender = None if run.checkpoint(stage).exists() else _trained(run, stage, wanted, beside)
        if lender is not None:
            _take(lender, run, stage)
            print(f"stage {stage}: taken from {lender.path} (same config, start, corpus and code)", flush=True)
        yield None if lender is None else lender.path
    finally:
        if lock is not None:
            lock.release()


def _lock(path: Path, stage: str) -> FileLock | None:
    """The lock, acquired; None if the file system supports no locks: then several runs may train the same stage."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"stage {stage}: another run is training the same; waiting for it", flush=True)
            try:
                lock.acquire(poll_interval=1.0)
            except Cut as cut:
                cut.waited = True
                raise
    except (OSError, NotImplementedError):
        return None
    return lock


def _trained(run: RunFolder, stage: str, wanted: str, beside: Path) -> RunFolder | None:
    """Another run that has finished the stage with this signature and whose checkpoint is unchanged."""
    for other in runs_below(beside):
        with suppress(D2MError, OSError):  # runs with unreadable files are skipped
            done = other.done(stage)
            same = other.path.resolve() != run.path.resolve() and done.get("signature") == wanted
            if same and sha256(other.checkpoint(stage)) == done.get("checkpoint_sha256"):
                return other
    return None


def _take(lender: RunFolder, run: RunFolder, stage: str) -> None:
    """Copy checkpoint, curves and lineage; last done.json, which records their origin.

    The checkpoint is a hard link if possible, which is safe: checkpoints are replaced, never modified.

    Raises:
        D2MError: the folder cannot be written.
    """
    with atomic_path(run.checkpoint(stage)) as temp:
        try:
            os.link(lender.checkpoint(stage), temp)
        except OSError:
            shutil.copy2(lender.checkpoint(stage), temp)
    for path in (*lender.curves(stage), lender.lineage(stage)):
        if path.is_file():
            with atomic_path(run.path / path.relative_to(lender.path)) as temp:
                shutil.copy2(path, temp)
    done = lender.done(stage)
    first = done.get("reused_from") or str(lender.path.absolute())
    write_json(run.done_path(stage), {**done, "reused_from": first})
