"""Exact percentiles of more numbers than memory should hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

Floats = NDArray[np.float64]

#: Number of histogram bins used to locate the values next to a percentile.
_BINS = 4096


def percentiles(blocks: Callable[[], Iterable[NDArray[np.floating]]], q: Sequence[float]) -> Floats:
    """``np.percentile(np.concatenate(blocks()), q, axis=0)``, without the concatenation.

    The blocks are read three times: for their range, for a histogram, and for the values in the few bins that contain
    the percentiles. Only these values are held in memory, about one in 4,096 of evenly spread numbers.

    Args:
        blocks: returns a new iterable of the blocks (n_i, c) on every call.
        q: percentages.

    Returns:
        (len(q), c), by linear interpolation between neighbours.

    Raises:
        D2MError: no numbers, or some that are not finite.
    """
    low, high, n = _range(blocks)
    width = np.where(high > low, high - low, 1.0)

    def bins(block: Floats) -> NDArray[np.int64]:
        return np.minimum(((block - low) / width * _BINS).astype(np.int64), _BINS - 1)

    columns = len(low)
    counts = np.zeros((columns, _BINS), np.int64)
    for block in (np.asarray(b, np.float64) for b in blocks()):
        for c, mine in enumerate(bins(block).T):
            counts[c] += np.bincount(mine, minlength=_BINS)
    upto = counts.cumsum(1)
    places = (n - 1) * np.asarray(q, np.float64) / 100
    neighbours = np.unique([np.floor(places), np.ceil(places)]).astype(np.int64)  # which values, counted from 0
    wanted = np.zeros((columns, _BINS), bool)
    for c in range(columns):
        wanted[c, np.searchsorted(upto[c], neighbours, side="right")] = True
    held: list[list[Floats]] = [[] for _ in range(columns)]
    for block in (np.asarray(b, np.float64) for b in blocks()):
        for c, mine in enumerate(bins(block).T):
            held[c].append(block[wanted[c, mine], c])
    out = np.empty((len(places), columns))
    for c in range(columns):
        values = np.sort(np.concatenate(held[c]))
        # Values in lower bins, which are not held.
        fewer = np.cumsum(np.where(wanted[c], 0, counts[c]))
        for k, place in enumerate(places):
            below, above = int(np.floor(place)), int(np.ceil(place))
            a, b = (values[i - fewer[np.searchsorted(upto[c], i, side="right")]] for i in (below, above))
            out[k, c] = a + (b - a) * (place - below)
    return out


def _range(blocks: Callable[[], Iterable[NDArray[np.floating]]]) -> tuple[Floats, Floats, int]:
    lows, highs, n = [], [], 0
    for block in blocks():
        if len(block):
            lows.append(np.min(block, axis=0))
            highs.append(np.max(block, axis=0))
            n += len(block)
    if not n:
        raise D2MError("no numbers to take percentiles of; give some")
    low, high = np.min(lows, axis=0).astype(np.float64), np.max(highs, axis=0).astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise D2MError("percentiles of numbers that are not finite; fill or cut the gaps")
    return low, high, n
