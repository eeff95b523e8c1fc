"""A process that Lightning's launcher has started ends when the first process of its run is gone.

Without torch: the watch begins before the libraries are loaded, which takes longer than ending the first process does.
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


def watch_parent() -> None:
    """End this process when the one that started it is gone, also if it is already; may be called again."""
    parent = os.environ.get(PARENT)
    if parent is not None and not any(isinstance(t, _Orphan) for t in threading.enumerate()):
        _Orphan(int(parent)).start()


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
