"""Requeueing of SLURM jobs that are pre-empted or about to reach their time limit, so that the run continues later.

Only one party may do this. Lightning would write its own checkpoint from within a signal handler, and requeue; submitit
would requeue at once. Here training first ends after a batch, with a checkpoint and run.json as after any signal. Then
submitit requeues if it started the job, because it counts the attempts; otherwise this module does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from d2m.bundle.passport import slurm_job
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import is_rank_zero
from d2m.train.early import SIGNALS, remember, waiting

#: Timeout of SLURM's commands.
_ANSWER_SECONDS = 30
#: Field of run.json: how many sessions in a row ran out of time without a checkpoint; at how many a job is given up.
_IDLE, _MAX_IDLE = "idle_sessions", 2


class Cut(SystemExit):
    """A run was ended by a signal: exit code 128 + its number, as in shells. Nothing after the current stage is run.

    Args:
        number: of the signal.
        requeue: the job is to be requeued.
    """

    def __init__(self, number: int, requeue: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.requeue = number, requeue
        #: The run's state in run.json.
        self.state = "requeued" if requeue else "killed"
        #: Whether a line on stderr has told how to resume; whether the run was waiting for another one.
        self.told = self.waited = False


def cluster_environment() -> list[SLURMEnvironment]:
    """Lightning's plugin for a SLURM job, without its own checkpoints (hpc_ckpt) and requeueing; [] outside a job."""
    if slurm_job() is None or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def _scontrol(*words: str) -> str:
    done = subprocess.run(
        ["scontrol", *words], capture_output=True, text=True, timeout=_ANSWER_SECONDS, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise OSError(f"scontrol {' '.join(words)}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout


def is_preempted() -> bool:
    """Whether SLURM is pre-empting this job. SIGTERM alone does not tell: ``scancel`` sends it too."""
    job = slurm_job()
    try:
        told = "" if job is None else _scontrol("show", "job", "-o", job)
    except (OSError, subprocess.SubprocessError):
        return False
    facts = dict(word.partition("=")[::2] for word in told.split())
    return facts.get("PreemptTime", "None") not in ("None", "") and facts.get("JobState") != "CANCELLED"


def end_by(number: int) -> Cut:
    """The exception that ends a run after a signal; in a SLURM job it may ask for requeueing."""
    asked = number in SIGNALS and slurm_job() is not None
    return Cut(number, asked or (number == signal.SIGTERM and is_rank_zero() and is_preempted()))


def heed() -> None:
    """Inside :class:`Requeue`, between two stages: end the run if a signal arrived while libraries were loading, or one
    was lost.

    Raises:
        Cut: one did.
    """
    if (number := waiting()) is not None:
        raise end_by(number)


def _reached(run: RunFolder) -> list[Any]:
    """How far a run's checkpoints are: equal before and after a session in which none was written."""
    files = sorted(run.path.glob("checkpoints/*/*"))
    return [(f, f.stat().st_mtime_ns) for f in files if f.name in ("last.ckpt", "done.json")]


class Requeue:
    """Context around a run, in which SIGTERM and, in a SLURM job, the signals that warn of its end raise :class:`Cut`.

    If the run ends with one that asks for it, the job is requeued as the very last step.

    Args:
        run: its folder.

    Raises:
        D2MError: the job's time ended twice in a row before a checkpoint was written: it would be requeued for ever.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def __enter__(self) -> Requeue:
        self._before: dict[int, Any] = {}
        self._reached, self._began = _reached(self.run), time.monotonic()
        if threading.current_thread() is threading.main_thread():
            # Between stages; within a stage, Signals ends it after a batch.
            numbers = [*SIGNALS] if slurm_job() is not None else []
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                numbers.append(signal.SIGTERM)
            self._before = {number: signal.signal(number, self._told) for number in numbers}
        return self

    def _told(self, number: int, frame: FrameType | None) -> None:
        remember(number)
        raise end_by(number)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        while waiting() is not None:  # a sweep's next job starts in this process
            pass
        if not isinstance(error, Cut) or not error.requeue:
            return
        if not is_rank_zero():
            time.sleep(_ANSWER_SECONDS)  # a failing task can end the others before they have asked
            return
        self._check_progress(error)
        submitit = self._before.get(signal.SIGUSR2)
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and callable(submitit):
            submitit(signal.SIGUSR2, None)  # raises: SystemExit, or an error after too many requeues
        job = slurm_job()
        try:
            _scontrol("requeue", str(job))
        except (OSError, subprocess.SubprocessError) as e:
            print(f"job {job} cannot be queued again: {e}", file=sys.stderr)
        else:
            print(f"job {job} is queued again", file=sys.stderr)

    def _check_progress(self, cut: Cut) -> None:
        """Count the sessions without a checkpoint in run.json. Only those that ran out of time: a job can be pre-empted
        at any moment. Preparing a corpus is progress, too: it resumes. So is waiting for a stage of another run."""
        facts = self.run.facts()
        idle = 0
        if cut.number in SIGNALS and not cut.waited and facts.get("stage") != "corpus":
            idle = 0 if _reached(self.run) != self._reached else int(facts.get(_IDLE, 0)) + 1
        if idle < _MAX_IDLE:
            if facts and idle != facts.get(_IDLE, 0):
                write_json(self.run.facts_path, {**facts, _IDLE: idle})
            return
        line = (
            f"job {slurm_job()} is not queued again: {idle} sessions in a row ended without a checkpoint, the "
            f"last one {time.monotonic() - self._began:.0f} s after its start; raise the time limit (sbatch --time, "
            "hydra.launcher.timeout_min) or let the signal come later (--signal, hydra.launcher.signal_delay_s)"
        )
        ended = {} if self.run.is_finished() else {"state": "failed", "error": line}  # finished: it was evaluated
        write_json(self.run.facts_path, {**facts, _IDLE: 0, **ended})
        raise D2MError(line) from cut
