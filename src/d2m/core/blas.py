"""numpy's BLAS on one thread, where its results should not depend on the machine and its threads should not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _OneThread:
    """The limit, while anybody is inside; the previous number of threads is restored by the last to leave."""

    def __init__(self) -> None:
        self._pools, self._lock, self._inside = ThreadpoolController().select(user_api="blas"), Lock(), 0
        self._limiter: Any = None

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._limiter = self._pools.limit(limits=1)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limiter.restore_original_limits()


@cache
def _limit() -> _OneThread:
    return _OneThread()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run a block, or as a decorator a function, with numpy's BLAS on one thread; blocks may overlap between threads.

    The threads of OpenBLAS wait actively for up to a tenth of a second after each product: they compete with torch's,
    and more than double the processor time of analysing a song. Sums also depend on the number of threads.
    """
    limit = _limit()
    limit.enter()
    try:
        yield
    finally:
        limit.leave()
