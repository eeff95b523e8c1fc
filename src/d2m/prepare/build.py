"""Runs a preparation: makes the missing parts in worker processes, then the corpus.

It can be killed at any moment: when started again it resumes from the parts already written, and the result is
byte-identical, because parts and corpus are functions of inputs and options and are published by renames.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.data.corpus import Corpus
from d2m.data.layout import REPORT
from d2m.data.manifest import Recording
from d2m.prepare.assemble import DamagedPart, assemble, is_whole, write_sources
from d2m.prepare.parts import HASHES, SCRATCH, Parts, make_part, unwritable
from d2m.prepare.plan import PLAN, SHARDS, Plan, join_shards, read_plan, shard_path
from d2m.prepare.process import Options

LOCK = ".lock"
#: Every output folder contains one of these from its first part on.
_TRACES = frozenset((LOCK, REPORT, PLAN, HASHES))
Job = tuple[Recording, str]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder so that one process at a time prepares in it; the system releases the lock when the process
    ends."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "ab") as file:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def refuse_foreign(out: Path, raw: Path) -> None:
    """Refuse a folder with unrelated files, because preparing replaces and removes files in its output folder.

    Raises:
        D2MError: ``out`` is the raw folder, or holds files but no trace of a preparation.
    """
    if out == raw:
        raise D2MError(f"{out}: is the raw recordings' own folder; choose another out=")
    try:
        names = set(os.listdir(out))
    except OSError:
        return  # does not exist yet, or is unreadable, which writing will report
    if names and not names & _TRACES:
        raise D2MError(f"{out}: contains other files ({min(names)}); choose a new or empty folder")


def make_parts(
    out: Path, raw: Path, jobs: Sequence[Job], options: Options, workers: int, strict: bool, retry: bool
) -> None:
    """Process recordings that have no part yet and, with ``retry``, those that were refused.

    Raises:
        D2MError: disk full or no permission; in ``strict``, the first recording that cannot be used.
    """
    parts = Parts(out)
    states = {key: parts.state(key) for _, key in jobs}
    todo = {key: (r, key) for r, key in jobs if states[key] is None or (retry and states[key] != "done")}
    task = partial(make_part, out=out, raw=raw, options=options)
    if todo:
        with bar(len(jobs), "preparing", "recordings", len(jobs) - len(todo)) as update:
            for (recording, _), reason in _run(task, list(todo.values()), workers):
                if strict and reason:
                    raise D2MError(f"strict=true: recording '{recording.name}' cannot be used: {reason}")
                update()
    if strict:
        for recording, key in jobs:
            if (state := parts.state(key)) not in ("done", None):
                raise D2MError(f"strict=true: recording '{recording.name}' cannot be used: {state}")


def _run(task: partial[str], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, str]]:
    """Yield (job, reason or "") in the order of completion."""
    if min(workers, len(jobs)) <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the workers: sums depend on the number of threads
        try:
            for job in jobs:
                yield job, task(job)
        finally:
            torch.set_num_threads(threads)
        return
    # Spawned, not forked: a fork of a process with torch's threads can hang.
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        pending = {pool.submit(task, job): job for job in jobs}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BrokenProcessPool as e:
            raise D2MError("a worker process died (out of memory?); run again with fewer workers") from e
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def build(
    out: Path, raw: Path, plan: Plan, jobs: Sequence[Job], options: Options, workers: int = 1, strict: bool = False,
    retry: bool = False,
) -> None:  # fmt: skip
    """Make ``out`` hold the corpus of a plan; does nothing if it is complete.

    Raises:
        D2MError: anything the user can fix.
    """
    try:
        with locked(out):
            for _ in range(3):
                refuse_known(plan, strict)
                before = is_whole(out, plan.digest)
                states = [Parts(out).state(key) for _, key in jobs] if before else []
                if not before or retry or strict:
                    make_parts(out, raw, jobs, options, workers, strict, retry)
                try:
                    if not before or states != [Parts(out).state(key) for _, key in jobs]:
                        assemble(out, plan)
                    break
                except DamagedPart:
                    continue
            else:
                raise D2MError(f"{out}: parts of the corpus were written damaged repeatedly; check the disk")
            shutil.rmtree(out / SCRATCH, ignore_errors=True)  # left by a killed run, or by refusals tried again
            write_sources(out, [(_kept(out), raw)])
    except OSError as e:
        raise unwritable(out, e) from e


def _kept(out: Path) -> int:
    return len(Corpus.open(out).recording_genre)


def refuse_known(plan: Plan, strict: bool) -> None:
    """In ``strict``, refuse a plan with recordings that were refused before being processed."""
    for line in plan.lines if strict else ():
        if line.reason:
            raise D2MError(f"strict=true: recording '{line.name}' cannot be used: {line.reason}")


def build_shard(
    out: Path, raw: Path, plan: Plan, jobs: Sequence[Job], options: Options, shard: tuple[int, int],
    workers: int = 1, strict: bool = False, retry: bool = False,
) -> int:  # fmt: skip
    """Make the parts of one shard and write its lines for :func:`merge`; returns how many recordings are usable.

    Raises:
        D2MError: anything the user can fix.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / LOCK).touch()
        refuse_known(plan, strict)
        make_parts(out, raw, jobs, options, workers, strict, retry)
        usable = sum(Parts(out).state(key) == "done" for _, key in jobs)
        if is_whole(out) and set(plan.lines) <= set(read_plan(out / PLAN).lines):
            return usable  # merged already
        target = shard_path(out, shard)
        target.parent.mkdir(exist_ok=True)
        temp = target.with_name(f".{target.name}.{os.getpid()}")
        temp.write_text(plan.text(), encoding="utf-8")
        os.replace(temp, target)
        write_sources(out, [(sys.maxsize, raw)])
        return usable
    except OSError as e:
        raise unwritable(out, e) from e


def merge(out: Path) -> None:
    """Merge finished shards into the corpus, identical to that of a single process.

    Raises:
        D2MError: a shard is missing or damaged; disk full.
    """
    try:
        with locked(out):
            if is_whole(out) and not (out / SHARDS).is_dir():
                return
            plan = join_shards(out)
            lost = [line.name for line in plan.lines if line.key and Parts(out).state(line.key) is None]
            if lost:
                raise D2MError(
                    f"{out}: {len(lost)} recordings are not prepared yet (e.g. {lost[0]}); run the shards first"
                )
            try:
                assemble(out, plan)
            except DamagedPart as e:
                raise D2MError(f"{out}: part {e} is damaged and was removed; run the shards again, then merge") from e
    except OSError as e:
        raise unwritable(out, e) from e
