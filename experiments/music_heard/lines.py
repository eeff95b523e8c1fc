"""What a report is made of: lines with chance and p, in parts; and how to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from d2m.stats.pooled import SongRows, by_split

NAN = float("nan")


@dataclass(frozen=True)
class Line:
    """A measured number: of distinct test songs, validation songs and all held-out ones, with chance and p."""

    name: str
    test: float = NAN
    validation: float = NAN
    pooled: float = NAN
    chance: float | None = None
    p: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A table of the report: its lines, what they are, and numbers for report.json."""

    key: str
    heading: str
    text: str
    lines: Sequence[Line]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"lines": [asdict(line) for line in self.lines], **self.numbers}


@dataclass(frozen=True)
class Options:
    """How to measure. seeds: dances of each song. pairs: of halves, a run. edit_seconds, half_seconds: of a song."""

    seeds: int = 2
    permutations: int = 999
    pairs: int = 14
    edit_seconds: float = 20.0
    half_seconds: float = 20.0
    source: str = ""
    target: str = ""
    seed: int = 0


def line(name: str, rows: SongRows, statistic: Callable[[SongRows], float], **more: Any) -> Line:
    """A statistic of distinct songs, by split and pooled."""
    return Line(name, **by_split(rows, statistic), **more)


def sign_p(values: ArrayLike) -> float:
    """One-sided p of the sign test: as many of the values above 1/2 by chance; those at 1/2 are left out."""
    from scipy.stats import binomtest

    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x) & (x != 0.5)]
    return float(binomtest(int((x > 0.5).sum()), len(x), 0.5, alternative="greater").pvalue) if len(x) else NAN
