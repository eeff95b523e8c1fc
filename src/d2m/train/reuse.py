"""Stages that a run shares with another one are trained once: the second run takes the first one's checkpoint."""

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

#: Beside the runs: a lock for each stage that is being trained.
_LOCKS = ".reuse"


@contextmanager
def shared(run: RunFolder, stage: str, wanted: str | None, beside: Path | None) -> Iterator[Path | None]:
    """Take a stage from another run, if one has trained it; else hold it for the block, in which this run trains it.

    Of several runs that need the same stage the first one trains it and the others wait, with a line that says so.
    A stage that this run has begun already is trained here to its end.

    Args:
        wanted: the stage's signature; None if it has none.
        beside: the folder of runs to look through; None reuses nothing.

    Yields:
        the run that it was taken from, or None.
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
    """Held; None if the folder or its file system has no locks: then several runs may train the same."""
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"stage {stage}: another run is training the same; waiting for it", flush=True)
            lock.acquire(poll_interval=1.0)
    except (OSError, NotImplementedError):
        return None
    return lock


def _trained(run: RunFolder, stage: str, wanted: str, beside: Path) -> RunFolder | None:
    """A run, other than this one, whose stage has the signature and whose checkpoint is what it was."""
    for other in runs_below(beside):
        with suppress(D2MError, OSError):  # a run whose files cannot be read lends nothing
            done = other.done(stage)
            same = other.path.resolve() != run.path.resolve() and done.get("signature") == wanted
            if same and sha256(other.checkpoint(stage)) == done.get("checkpoint_sha256"):
                return other
    return None


def _take(lender: RunFolder, run: RunFolder, stage: str) -> None:
    """Checkpoint, curves and lineage; done.json last, which says where they are from.

    The checkpoint is one file with two names where the disk allows it: checkpoints are replaced, never written to.

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
