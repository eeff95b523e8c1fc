"""Frames that are files or entries of their own, known by the number that ends their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

_MAX_FRAMES = 1_000_000
#: Of more pictures than this left out between two, the numbers are something else, such as milliseconds.
_MAX_STRIDE = 8
_FEWEST = 10


def number_frames(names: Iterable[str], where: str, ending: str = r"\.\w+") -> dict[int, str]:
    """Frame number -> name, of the names of one film, ``film_000123`` and ``ending``; others are passed over.

    Raises:
        D2MError: frames of two films, a number twice, numbers too far apart.
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
    return numbers


def stride(numbers: Iterable[int]) -> int:
    """Every how many pictures of its film one was looked at: 1, or the step of numbers such as 0, 2, 4, ..."""
    known = sorted(numbers)
    step = math.gcd(*(n - known[0] for n in known)) if len(known) >= _FEWEST else 1
    return step if 1 < step <= _MAX_STRIDE else 1


def in_order(read: dict[int, NDArray[np.float32] | None], points: int) -> Sequence[NDArray[np.float32]]:
    """People (n, points, 3) of every frame from the first to the last, or of every so many if only those were looked at
    (:func:`stride`); nobody if a number is missing or None."""
    nobody = np.zeros((0, points, 3), np.float32)
    return [nobody if (p := read.get(k)) is None else p for k in range(min(read), max(read) + 1, stride(read))]
