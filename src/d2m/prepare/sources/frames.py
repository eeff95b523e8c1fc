"""Frames stored as separate files or entries, identified by the number at the end of their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

_MAX_FRAMES = 1_000_000
#: Largest step between frame numbers; larger ones mean that the numbers are something else, such as milliseconds.
_MAX_STRIDE = 8
_FEWEST = 10


def number_frames(names: Iterable[str], where: str, ending: str = r"\.\w+") -> dict[int, str]:
    """Frame number -> name, for the names of one film, ``film_000123`` plus ``ending``; other names are ignored.

    Raises:
        D2MError: frames of two films, a duplicate number, or numbers too far apart or in steps of more than 8.
    """
    pattern = re.compile(rf"(\d+)(?:{ending})$")
    numbers: dict[int, str] = {}
    films: dict[str, None] = {}
    for name in names:
        if not (match := pattern.search(name)):
            continue
        films.setdefault(name[: match.start()])
        if len(films) > 1:
            two = " and ".join(f"'{f}'" for f in films)
            raise D2MError(f"{where}: contains frames of two films, {two}; give each film its own folder or file")
        if int(match[1]) in numbers:
            raise D2MError(f"{where}: {numbers[int(match[1])]} and {name} are both frame {int(match[1])}; keep one")
        numbers[int(match[1])] = name
    if numbers and max(numbers) - min(numbers) >= _MAX_FRAMES:
        raise D2MError(f"{where}: frames {min(numbers)} to {max(numbers)}; the numbers are too far apart for one film")
    if len(numbers) >= _FEWEST and (step := _step(numbers)) > _MAX_STRIDE:
        raise D2MError(f"{where}: frame numbers are multiples of {step}; number the frames 0, 1, 2, ...")
    return numbers


def stride(numbers: Iterable[int]) -> int:
    """The step between processed frames: 1, or for example 2 for the frame numbers 0, 2, 4, ..."""
    known = sorted(numbers)
    step = _step(known) if len(known) >= _FEWEST else 1
    return step if 1 < step <= _MAX_STRIDE else 1


def _step(numbers: Iterable[int]) -> int:
    first, *others = numbers
    return math.gcd(*(n - first for n in others))


def in_order(read: dict[int, NDArray[np.float32] | None], points: int) -> Sequence[NDArray[np.float32]]:
    """People (n, points, 3) in every frame from the first to the last, in steps of :func:`stride`; no people if a frame
    is missing or None."""
    nobody = np.zeros((0, points, 3), np.float32)
    return [nobody if (p := read.get(k)) is None else p for k in range(min(read), max(read) + 1, stride(read))]
