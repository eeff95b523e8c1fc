"""A run's passport: run.json, which describes a run from its first second to its end, and detection of killed runs.

run.json  state       running, done, failed, pruned (stopped early by a sweep), killed or requeued (its job will
          continue it)
          error       the reason if it is not done, on one line
          stage       current step: "start", "corpus", a stage, "bundle"
          heartbeat   last sign of life of the training process, every BEAT_SECONDS
          started, resumed, ended   times of the first, the current and the last session (ISO 8601, UTC)
          host, pid, slurm_job, wandb   its machine, process and job; W&B ids by stage
          slurm_restarts   how often SLURM has requeued its job
          idle_sessions    how many of its sessions in a row ran out of time before a checkpoint was written
          metrics     of the last stage that has any, as of its last checkpoint
          signature   of the training (d2m.bundle.signature); none if its sessions had different ones
          code        digest of the source code of the current session
          config      in config.json beside it, resolved
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError, Pruned
from d2m.core.files import process_runs, write_json

BEAT_SECONDS = 10.0
#: If the heartbeat is older than this, the process has ended, unless it still holds the run's lock.
STALE_SECONDS = 90.0
#: Fields of the current session only.
_LIVE = ("ended", "error", "heartbeat", "host", "pid", "resumed", "slurm_job", "slurm_restarts", "stage", "state")


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def reason(error: BaseException) -> str:
    """An exception on one line; of a chain, the user error if there is one."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, D2MError):
            return " ".join(str(link).split())
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return f"ended by signal {error.code - 128}"
    text = " ".join(str(error).split())[:300]
    if isinstance(error, Pruned):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Passport:
    """Maintains run.json while a run is trained: a context manager, entered by the process that holds the run's lock.

    An existing run.json is kept until :meth:`identify`, so that a refused command leaves no trace of its settings. The
    end of the block determines the run's state: done, failed by an exception, killed by one that is not an error (an
    interrupt, a signal), or pruned if a sweep stopped it early.

    Args:
        run: its folder, which exists.
        facts: facts known from the start: overrides, stages.
        writes: False in all processes of a job but the first: then nothing is written.
        beat_seconds: between two heartbeats.
    """

    def __init__(
        self, run: RunFolder, facts: Mapping[str, Any], writes: bool = True, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self.run, self.writes = run, writes
        self._given, self._beat_seconds = dict(facts), beat_seconds
        self._before: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._identified = False
        self._lock, self._end = threading.Lock(), threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Passport:
        if not self.writes:
            return self
        self._before = self.run.facts()
        kept = {k: v for k, v in self._before.items() if k not in _LIVE} or self._given
        session: dict[str, Any] = {"state": "running", "stage": "start", "host": platform.node(), "pid": os.getpid()}
        if job := slurm_job():
            session |= {"slurm_job": job, "slurm_restarts": int(os.environ.get("SLURM_RESTART_COUNT") or 0)}
        self._facts = {"started": now(), **kept, **session}
        if self._before:
            self._facts["resumed"] = now()
        self._write()
        self._beats.start()
        return self

    def identify(self, config: Mapping[str, Any], signature: str, **facts: Any) -> None:
        """To be called when all checks have passed: from now on the folder belongs to this run.

        Args:
            config: the resolved config, for config.json.
            signature: of the training. A run whose stages were trained in sessions with different signatures has none,
                so that it is never mistaken for another run.
            facts: corpus, git, ...

        Raises:
            D2MError: the folder cannot be written.
        """
        if self.writes:
            mixed = self.run.has_trained() and self._before.get("signature") != signature
            write_json(self.run.config_path, config)
            self._identified = True
            given = self._given if self._before else {}  # else it says so already
            self.update(**given, **facts, signature=None if mixed else signature)

    def update(self, **facts: Any) -> None:
        """Write further facts to run.json immediately.

        Raises:
            D2MError: it cannot be written.
        """
        if self.writes:
            with self._lock:
                self._facts.update(facts)
                self._write()

    def add_wandb(self, stage: str, run_id: str) -> None:
        """Record the W&B id of a stage."""
        self.update(wandb={**self._facts.get("wandb", {}), stage: run_id})

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.writes:
            return
        self._end.set()
        self._beats.join()
        end: dict[str, Any] = {"state": "done", "ended": now()}
        if error is not None:
            # KeyboardInterrupt and SystemExit, raised by signals, are not subclasses of Exception.
            ended = str(getattr(error, "state", "killed"))
            state = "pruned" if isinstance(error, Pruned) else "failed" if isinstance(error, Exception) else ended
            end |= {"state": state, "error": reason(error)}
        with suppress(D2MError):  # a full disk: report the error of the block; the run's files are complete
            if error is not None and self._before and not self._identified:
                write_json(self.run.facts_path, self._before)
            else:
                self.update(**end)

    def _beat(self) -> None:
        while not self._end.wait(self._beat_seconds):
            with suppress(D2MError), self._lock:  # a temporarily full disk does not end training
                self._write()

    def _write(self) -> None:
        with suppress(D2MError):  # a damaged progress.json is reported by its reader
            for stage in self._facts.get("stages", []):
                if metrics := (self.run.done(stage) or self.run.progress(stage)).get("metrics"):
                    self._facts["metrics"] = {"stage": stage, **metrics}
        self._facts["heartbeat"] = now()
        write_json(self.run.facts_path, self._facts)


class Begun:
    """A new run whose folder this process holds, with its passport, from before the libraries are loaded that train it.

    Args:
        passport: entered.
        held: what is left, in this order, at the run's end: the passport, then the folder's lock.
    """

    def __init__(self, passport: Passport, held: ExitStack) -> None:
        self.passport, self._held = passport, held

    def take_over(self) -> ExitStack:
        """What the caller has to leave from now on, instead of :func:`begun`."""
        return self._held.pop_all()


@contextmanager
def begun(run: RunFolder, facts: Mapping[str, Any]) -> Iterator[Begun]:
    """Hold a new run's folder and write its run.json; both end with the block unless somebody takes them over.

    Raises:
        D2MError: another process holds the folder, or it cannot be written.
    """
    with ExitStack() as held:
        held.enter_context(run.lock())
        yield Begun(held.enter_context(Passport(run, facts)), held)


def slurm_job() -> str | None:
    """The id of the SLURM job that this process is part of, ARRAY_TASK of an array's; None outside."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def state(run: RunFolder) -> str:
    """running, done, failed, pruned, killed or requeued; "unfinished" of runs from before
    run.json had a state.

    The state "running" is trusted while the heartbeat is recent and, if the run is on this machine, its process
    exists. Otherwise the run's lock decides, which the system releases when a process ends.

    Raises:
        D2MError: run.json cannot be read.
    """
    facts = run.facts()
    told = facts.get("state")
    if told is None:
        return "done" if run.is_finished() else "running" if run.in_use() else "unfinished"
    if told != "running":
        return str(told)
    gone = facts.get("host") == platform.node() and not process_runs(int(facts.get("pid") or 0))
    if not gone and not _stale(str(facts.get("heartbeat"))):
        return "running"
    return "running" if run.in_use() else "killed"


def _stale(heartbeat: str) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(heartbeat) > timedelta(seconds=STALE_SECONDS)
    except (ValueError, TypeError):
        return True
