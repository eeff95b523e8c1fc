"""Long work between two epochs that a signal abandons: a job that is to end has seconds, a study takes minutes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from d2m.train.callbacks.ending import Signals
from d2m.train.early import SIGNALS


class Abandoned(BaseException):
    """Not an Exception, like KeyboardInterrupt: handlers of errors must not swallow it."""


@contextmanager
def abandonable(trainer: Any) -> Iterator[Callable[[], None]]:
    """Context around work that may be lost: a signal that ends training also ends the block, wherever it is.

    What the block writes has to appear as a whole or be removed, and what it changes has to be restored by contexts
    outside of this one.

    Yields:
        a check to call now and then: what a handler raises within a ``__del__`` is lost.

    Raises:
        Abandoned: the signal came, now or before the block.
    """
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def end_if_asked() -> None:
        if trainer.received_sigterm or any(c.asked for c in trainer.callbacks if isinstance(c, Signals)):
            raise Abandoned

    def told(number: int, frame: FrameType | None) -> None:
        before[number](number, frame)
        end_if_asked()

    try:
        if threading.current_thread() is threading.main_thread():
            for number in map(int, (signal.SIGINT, signal.SIGTERM, *SIGNALS)):
                handler = signal.getsignal(number)
                if callable(handler):
                    before[number] = handler
                    signal.signal(number, told)
        end_if_asked()
        yield end_if_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
