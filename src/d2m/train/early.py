"""Signals, and the death of the parent process, before training starts.

Does not import torch: loading the training libraries takes seconds, in which a signal would end the process silently
and the death of a run's first process would go unnoticed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Environment variable of processes started by Lightning's launcher: the id of their parent process.
PARENT = "D2M_PARENT"
#: Interval at which processes check that the others are alive.
LOOK_SECONDS = 1.0
#: Signals that warn a SLURM job of its end: ``sbatch --signal=SIGUSR1@90``; submitit uses SIGUSR2.
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
_WAITING: list[int] = []


def watch_parent() -> None:
    """End this process as soon as its parent process is gone, even if it is gone already; may be called again."""
    parent = os.environ.get(PARENT)
    if parent is not None and not any(isinstance(t, _Orphan) for t in threading.enumerate()):
        _Orphan(int(parent)).start()


def let_signals_wait() -> None:
    """In a SLURM job, hold back a signal that warns of its end until :func:`waiting` is called."""
    if "SLURM_JOB_ID" not in os.environ or threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda told, _: _WAITING.append(told))


def remember(number: int) -> None:
    """Let :func:`waiting` return a signal whose handler raises: what is raised in a ``__del__`` is lost."""
    _WAITING.append(number)


def waiting() -> int | None:
    """The signal received since :func:`let_signals_wait` or remembered, returned once; None if there was none."""
    return _WAITING.pop() if _WAITING else None


class _Orphan(threading.Thread):
    def __init__(self, parent: int) -> None:
        super().__init__(name="orphan", daemon=True)
        self.parent = parent

    def run(self) -> None:
        while os.getppid() == self.parent:
            time.sleep(LOOK_SECONDS)
        if os.environ.get("LOCAL_RANK") == "1":
            print("error: the first process of this run is gone; the others were ended", file=sys.stderr, flush=True)
        os._exit(1)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """For a call that waits for other processes inside C++, during which Python handles no signals: SIGINT and SIGTERM
    end this process at once, and its children end by :func:`watch_parent`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
