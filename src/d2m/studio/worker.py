"""A single thread for the networks: jobs run in order, and a newer job of the same asker replaces an older one."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from d2m.core.errors import D2MError
from d2m.studio.wire import frame

#: Seconds between two progress reports.
EVERY_S = 0.1


class Tick(Protocol):
    """Called repeatedly during long work; raises to abort it."""

    def __call__(self, doing: str = "", share: float | None = None) -> None: ...


def never(doing: str = "", share: float | None = None) -> None:
    """A :class:`Tick` that never aborts."""


class Superseded(Exception):
    """Raised in a job whose result is no longer needed."""


class Job:
    """Work to be done in the worker's thread for a listener.

    Args:
        asker: a job replaces earlier ones of the same asker. send: called in the worker's thread with each frame of the
            response; None marks the end.
    """

    def __init__(self, asker: str, work: Callable[[Job], None], send: Callable[[bytes | None], None]) -> None:
        self.asker, self.work, self.send = asker, work, send
        self._over = threading.Event()
        self._said = 0.0

    def cancel(self) -> None:
        """Make the next :meth:`tick` abort the job."""
        self._over.set()

    def tick(self, doing: str = "", share: float | None = None) -> None:
        """A :class:`Tick`.

        Raises:
            Superseded: a newer job replaced it, or the listener disconnected.
        """
        if self._over.is_set():
            raise Superseded
        now = time.monotonic()
        if doing and (now - self._said > EVERY_S):
            self._said = now
            self.send(frame("progress", {"doing": doing, "share": share}))

    def run(self) -> None:
        try:
            self.tick()
            self.work(self)
        except Superseded:
            self.send(frame("superseded", {}))
        except D2MError as e:
            self.send(frame("error", {"message": str(e)}))
        except Exception as e:  # the thread must survive
            traceback.print_exc()
            self.send(frame("error", {"message": f"d2m studio failed: {type(e).__name__}: {e}"}))
        finally:
            self.send(None)


class Worker:
    """See the module."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._now: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="d2m-studio", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job, cancelling earlier jobs of the same asker."""
        with self._changed:
            for older in (*self._jobs, *([self._now] if self._now else [])):
                if older.asker == job.asker:
                    older.cancel()
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Cancel the running and the queued jobs, and end the thread."""
        with self._changed:
            self._closed = True
            for job in (*self._jobs, *([self._now] if self._now else [])):
                job.cancel()
            self._changed.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                self._now = self._jobs.popleft()
            self._now.run()
            with self._changed:
                self._now = None


def listen(call: Callable[[Callable[[], None]], Any], put: Callable[[bytes | None], None]) -> Callable[..., None]:
    """A ``send`` for jobs that calls ``put`` in an event loop's thread. call: the loop's ``call_soon_threadsafe``."""

    def send(data: bytes | None) -> None:
        try:
            call(lambda: put(data))
        except RuntimeError:  # the loop is closed, so nobody is listening
            return

    return send
