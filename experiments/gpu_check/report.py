"""Outcomes of checks: judged, printed as they come, kept for the file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Checked(NamedTuple):
    """A check's outcome. worst: what is compared with the bound ``below``; None if nothing is judged."""

    name: str
    worst: float | None
    below: float | None
    note: str = ""

    @property
    def is_right(self) -> bool:
        return self.worst is None or self.below is None or self.worst <= self.below


def budgeted(until: float, act: Callable[[], Any]) -> Any:
    """What ``act`` gives; None if the time is up, and its error, as one line, if it fails."""
    if time.monotonic() > until:
        return None
    try:
        return act()
    except (RuntimeError, AssertionError, ValueError) as e:
        return f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"


def rounded(value: float | None, digits: int = 3) -> str:
    """For a table; a dash if there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


class Report:
    """Checks as they come: printed, judged and kept."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.checks: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.failed: list[str] = []

    def add(self, name: str, act: Callable[[], Checked | list[Checked]]) -> None:
        """Run a check if there is time for it."""
        result = budgeted(self.until, act)
        if result is None:
            self.left_out.append(name)
        elif isinstance(result, str):
            self._keep(Checked(name, float("inf"), 0.0, result))
        else:
            for one in [result] if isinstance(result, Checked) else result:
                self._keep(one)

    def _keep(self, f: Checked) -> None:
        word = "ok" if f.is_right else "WRONG"
        if not f.is_right:
            self.failed.append(f.name)
        print(f"{word:6}{f.name:58}{rounded(f.worst):>10}  (at most {rounded(f.below)}) {f.note}", flush=True)
        self.checks.append({**f._asdict(), "right": f.is_right})
