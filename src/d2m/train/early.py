"""What a process does with signals, and with the end of the process that started it, before it trains.

Without torch: loading the libraries that train takes seconds, in which a signal would end the process silently,
and the end of the first process of a run would go unnoticed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Environment of processes that Lightning's launcher starts: the process that started them.
PARENT = "D2M_PARENT"
#: How often processes look for each other.
LOOK_SECONDS = 1.0
#: What a job of SLURM is told to go with: ``sbatch --signal=SIGUSR1@90``; submitit takes USR2.
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
_WAITING: list[int] = []


def watch_parent() -> None:
    """End this process when the one that started it is gone, also if it is already; may be called again."""
    parent = os.environ.get(PARENT)
    if parent is not None and not any(isinstance(t, _Orphan) for t in threading.enumerate()):
        _Orphan(int(parent)).start()


def let_signals_wait() -> None:
    """In a job of SLURM: a signal that announces the end of its time waits until :func:`waiting` is asked."""
    if "SLURM_JOB_ID" not in os.environ or threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda told, _: _WAITING.append(told))


def waiting() -> int | None:
    """The signal that came since :func:`let_signals_wait`, once; None if there was none."""
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
    """Around a call that waits for other processes in C++, where Python would handle no signal until it returns: SIGINT
    and SIGTERM end this process, and :func:`watch_parent` the ones that it has started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
