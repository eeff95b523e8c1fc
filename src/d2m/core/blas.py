"""numpy's BLAS on one thread, where its results should not depend on the machine and its threads should not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _OneThread:
    """The limit, while anybody is inside; the previous number of threads is restored by the last to leave."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._pools: Any = None
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._pools is None:  # searched for only now, because it takes time
                self._pools = ThreadpoolController().select(user_api="blas")
            if not self._inside:
                self._obey()
                self._limiter = self._pools.limit(limits=1)
                self._obey()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._obey()
                self._limiter.restore_original_limits()
                self._obey()

    def _obey(self) -> None:
        """Let any thread set the number: threadpoolctl 3.8 only obeys the first one that did, until it ends."""
        for library in self._pools.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)


_limit = _OneThread()  # one for all threads: a second would restore what the first has set


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run a block, or as a decorator a function, with numpy's BLAS on one thread; blocks may overlap between threads.

    The threads of OpenBLAS wait actively for up to a tenth of a second after each product: they compete with torch's,
    and more than double the processor time of analysing a song. Sums also depend on the number of threads.
    """
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()
