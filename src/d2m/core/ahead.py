"""Compute results on threads ahead of their consumer, in order and within a memory limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Maximum number of threads; each decodes a file.
MAX_THREADS = 4


def ahead(work: Callable[[T], R], items: Sequence[T], size: Callable[[R], int], limit: int) -> Iterator[R]:
    """Yield ``work(item)`` for every item, in order, computed while earlier results are being used.

    Args:
        size: the size of a result. limit: while waiting results have this total size, no item but the next is started.

    Raises:
        Any exception that ``work`` raises, when its item is reached.
    """
    held, taken, closed, room = 0, 0, False, threading.Condition()

    def run(i: int, item: T) -> tuple[R, int]:
        nonlocal held
        with room:  # the item that the consumer waits for is always started
            room.wait_for(lambda: held < limit or i == taken or closed)
        result = work(item)
        with room:
            held += (weight := size(result))
        return result, weight

    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(run, i, item) for i, item in enumerate(items)]
        try:
            for i in range(len(futures)):
                result, weight = futures[i].result()
                futures[i] = Future()  # releases the result
                with room:
                    held, taken = held - weight, i + 1
                    room.notify_all()
                yield result
        finally:
            with room:
                closed = True
                room.notify_all()
            for waiting in futures:
                waiting.cancel()
