"""Arrays of points from various writers: values that mark unseen points, and hints for axes in another order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A value in at least this many frames and at this many different joints means "unseen"; fewer if its coordinates are
#: equal.
_OFTEN, _JOINTS, _JOINTS_OF_EQUAL = 5, 7, 3
_CANDIDATES = 20


def unseen_points(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points are unseen: not finite, all 0, all -1, or a value that recurs as no body's does, such as 9999.

    A joint that is 0 in every frame is the origin, not unseen.

    Args:
        points: (t, n, 2 or 3), coordinates only.

    Returns:
        (t, n).
    """
    points = np.asarray(points, np.float64)
    zero = (points == 0).all(axis=-1)
    zero &= ~zero.all(axis=0)
    unseen = ~np.isfinite(points).all(axis=-1) | zero | (points == -1).all(axis=-1)
    for value in _repeated(points[~unseen]):
        same = (points == value).all(axis=-1)
        joints, frames = int(same.any(axis=0).sum()), int(same.any(axis=1).sum())
        if frames < _OFTEN or same.sum() == joints * frames:  # always the same joints: they really coincide
            continue
        if joints >= (_JOINTS_OF_EQUAL if np.ptp(value) == 0 else min(_JOINTS, points.shape[1])):
            unseen |= same
    return np.asarray(unseen, np.bool_)


def _repeated(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, c) -> the values that occur most often, (k, c)."""
    if not len(rows):
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        one = rows @ np.array([1.0, np.sqrt(2.0), np.sqrt(3.0)][: rows.shape[1]])
    _, first, count = np.unique(one, return_index=True, return_counts=True)
    often = np.flatnonzero(count >= _OFTEN)
    often = often[np.argsort(-count[often], kind="stable")][:_CANDIDATES]
    return rows[first[often]]


def reshaping(shape: tuple[int, ...], name: str, counts: tuple[int, ...]) -> str:
    """A hint, "; save NAME...", with the NumPy call that gives (frames, points, 2 or 3); "" if it is ambiguous.

    Args:
        counts: possible numbers of points of a body.
    """
    if len(shape) > 3 and (one := [axis for axis, n in enumerate(shape) if n == 1]) and len(shape) - len(one) <= 3:
        return f"; save {name}.squeeze()"
    if len(shape) == 4 and shape[-1] in (2, 3) and shape[-2] in counts:  # of several people, the short axis
        first = f"{name}[0]" if shape[0] < shape[1] else f"{name}[:, 0]"
        return f"; save one dancer per file, {first} is the first"
    if len(shape) == 3:
        last = [axis for axis, n in enumerate(shape) if n in (2, 3)]
        points = [axis for axis, n in enumerate(shape) if n in counts]
        if shape[2] == 4 and shape[1] in counts:
            return f"; save {name}[..., :3], and its fourth numbers as confidence"
        if len(last) == len(points) == 1 and (points[0], last[0]) != (1, 2):
            frames = 3 - points[0] - last[0]
            return f"; save {name}.transpose({frames}, {points[0]}, {last[0]})"
    if len(shape) == 2:
        for c in (3, 2):
            if shape[1] % c == 0 and shape[1] // c in counts:
                return f"; save {name}.reshape(-1, {shape[1] // c}, {c})"
    return ""
