"""Jobs of SLURM that have to go, because they are pre-empted or their time is nearly up: queued again, to go on.

One party may own this. Lightning would write a checkpoint of its own, from within a signal handler, and requeue;
submitit would requeue at once. Here training ends first, at a batch, with the checkpoint and the run.json that every
signal leaves; then submitit requeues, if it started the job, because it counts how often; else we do.
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
from d2m.core.machine import is_rank_zero
from d2m.train.early import SIGNALS, waiting

#: How long SLURM may take to answer.
_ANSWER_SECONDS = 30


class Cut(SystemExit):
    """A run was ended by a signal: exit code 128 + its number, as shells have it. Nothing after the stage is done.

    Args:
        number: of the signal.
        requeue: the job is to be queued again.
    """

    def __init__(self, number: int, requeue: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.requeue = number, requeue
        #: What run.json says.
        self.state = "requeued" if requeue else "killed"


def cluster_environment() -> list[SLURMEnvironment]:
    """Lightning's view of a job of SLURM, without its own checkpoints (hpc_ckpt) and requeueing; else none."""
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
    """Whether SLURM wants this job's place for another one. SIGTERM alone does not say: ``scancel`` sends it too."""
    job = slurm_job()
    try:
        told = "" if job is None else _scontrol("show", "job", "-o", job)
    except (OSError, subprocess.SubprocessError):
        return False
    facts = dict(word.partition("=")[::2] for word in told.split())
    return facts.get("PreemptTime", "None") not in ("None", "") and facts.get("JobState") != "CANCELLED"


def end_by(number: int) -> Cut:
    """The end of a run by a signal, which in a job of SLURM may mean that it is to be queued again."""
    asked = number in SIGNALS and slurm_job() is not None
    return Cut(number, asked or (number == signal.SIGTERM and is_rank_zero() and is_preempted()))


def heed() -> None:
    """Inside :class:`Requeue`: end the run if a signal came while its libraries were loaded.

    Raises:
        Cut: one did.
    """
    if (number := waiting()) is not None:
        print(f"{signal.Signals(number).name} came before anything was trained", file=sys.stderr)
        raise end_by(number)


class Requeue:
    """Around a run: if a :class:`Cut` that asks for it comes out, the job is queued again, last of all.

    Outside SLURM it does nothing.
    """

    def __enter__(self) -> Requeue:
        self._before: dict[int, Any] = {}
        if slurm_job() is not None and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:  # also between stages; within one Signals ends it at a batch
                self._before[number] = signal.signal(number, self._told)
        return self

    def _told(self, number: int, frame: FrameType | None) -> None:
        raise end_by(number)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if not isinstance(error, Cut) or not error.requeue:
            return
        if not is_rank_zero():
            time.sleep(_ANSWER_SECONDS)  # a task that fails can end the others before they have asked
            return
        submitit = self._before.get(signal.SIGUSR2)
        if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" and callable(submitit):
            submitit(signal.SIGUSR2, None)  # raises: SystemExit, or that it was asked too often
        job = slurm_job()
        try:
            _scontrol("requeue", str(job))
        except (OSError, subprocess.SubprocessError) as e:
            print(f"job {job} cannot be queued again: {e}", file=sys.stderr)
        else:
            print(f"job {job} is queued again", file=sys.stderr)
