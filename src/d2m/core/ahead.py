"""Work on threads ahead of whoever takes its results, in order, and no further ahead than memory allows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Threads at most: each decodes a file.
MAX_THREADS = 4


def ahead(work: Callable[[T], R], items: Sequence[T], size: Callable[[R], int], limit: int) -> Iterator[R]:
    """``work`` of every item, in order, while the results before it are used.

    Args:
        size: of a result. limit: no item but the next is begun while results of so much wait to be taken.

    Raises:
        whatever ``work`` raises, at its item.
    """
    held, taken, closed, room = 0, 0, False, threading.Condition()

    def run(i: int, item: T) -> tuple[R, int]:
        nonlocal held
        with room:  # the one that is waited for needs no room
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
                futures[i] = Future()  # lets go of the result
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
