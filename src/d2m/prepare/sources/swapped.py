"""Detects joints with exchanged names, such as a knee and its ankle: exchanging them makes the body far more human.

Every pair of joints is exchanged tentatively and, if both sides have such a pair, both at once. A body's oddness is a
sum of absolute log ratios: of limb lengths to a human's, of left to right limbs and, in 3-D, where bones keep their
length, of each limb's longest to shortest lengths. Legs count double: they vary least between recordings, while arms
are foreshortened or have few markers. Thresholds, and what real dances reach: docs/adr/0059.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import JOINTS, LIMBS, N_JOINTS
from d2m.prepare.sources.orders import SHARES_2D, SHARES_3D, SIDES

Floats = NDArray[np.float64]
Pairs = tuple[tuple[int, int], ...]

_PAIRS = np.array(list(combinations(range(N_JOINTS), 2)))
_OF_LIMB = np.array([1.0, *2 * (0.8, 1.0, 0.7), *2 * (1.5, 2.0, 2.0)])
_OF_SIDE = np.array([0.7, 1.0, 0.7, 2.0, 2.0, 2.0])
_MOST = 1.5
_FEWEST, _ENOUGH = 8, 300
#: Least decrease of oddness for an exchange: in 3-D; in 3-D for nose and neck (more, because the nose may be anywhere
#: on the head); in 2-D per pair of leg joints; in 2-D for others, in recordings of at least ``_LONG_S`` seconds and in
#: shorter ones.
_SPACE, _HEAD, _LEGS, _LONG, _SHORT, _LONG_S = 0.5, 0.9, 0.6, 1.1, 2.6, 10.0
#: In 2-D some limb must be longer than a human's by the factor exp of this. Otherwise bodies that sit or stand still,
#: with some limbs always foreshortened, would be taken for exchanged ones.
_TOO_LONG = 0.35
#: Least relative change of the joints' median distances in 2-D; below it the recording is a single pose.
_MOVES = 0.05
#: Oddness that no real dance reaches.
_HUMAN = 7.0
#: In 3-D, pieces of at least this many seconds are checked as well; and their maximum number.
_PIECE_S, _PIECES = 3.0, 6


@cache
def _exchanges() -> tuple[NDArray[np.int64], tuple[Pairs, ...]]:
    """(n, 14) the orders to try, and the pairs that each exchanges. Hips are not: nothing distinguishes them."""
    right = {j: JOINTS.index(f"left_{n[6:]}") for j, n in enumerate(JOINTS) if n.startswith("right_")}
    pairs: list[Pairs] = [((int(a), int(b)),) for a, b in _PAIRS if right.get(int(a)) != b or "hip" not in JOINTS[a]]
    for limb in (tuple(right)[:3], tuple(right)[3:]):
        pairs += [((a, b), (right[a], right[b])) for a, b in combinations(limb, 2)]
    orders = np.tile(np.arange(N_JOINTS), (len(pairs), 1))
    for order, exchanged in zip(orders, pairs, strict=True):
        for a, b in exchanged:
            order[[a, b]] = b, a
    return orders, tuple(pairs)


def find_swapped(joints: Floats, seconds: float) -> tuple[Pairs, tuple[float, float] | None] | None:
    """Find joints whose names are exchanged.

    Args:
        joints: (t, 14, 2 or 3) of a recording, or of every k-th frame of it, NaN if unseen.
        seconds: its length.

    Returns:
        The pairs, and (start, end) in seconds (None: throughout); None if nothing is exchanged. The pairs are empty if
            it is not a body and no exchange makes it one.
    """
    if (pairs := _swapped(joints, seconds)) is not None:
        return pairs, None
    pieces = min(_PIECES, int(seconds / _PIECE_S)) if joints.shape[-1] == 3 else 0
    if pieces > 1:
        edges = np.linspace(0, len(joints), pieces + 1).astype(int)
        for first, end in pairwise(edges):
            if (pairs := _swapped(joints[first:end], seconds / pieces)) is not None:
                return pairs, (seconds * first / len(joints), seconds * end / len(joints))
    return None


def _swapped(joints: Floats, seconds: float) -> Pairs | None:
    x = joints[:: max(1, len(joints) // _ENOUGH)]
    apart = np.linalg.norm(x[:, _PAIRS[:, 0]] - x[:, _PAIRS[:, 1]], axis=-1)
    if (np.isfinite(x).all(axis=-1).sum(axis=0) < _FEWEST).any() or (np.isfinite(apart).sum(axis=0) < _FEWEST).any():
        return None
    flat = x.shape[-1] == 2
    short, usual, long = _quantiles(apart, (0.1, 0.8 if flat else 0.5, 0.9))
    table = np.zeros((3, N_JOINTS, N_JOINTS))
    table[:, _PAIRS[:, 0], _PAIRS[:, 1]] = table[:, _PAIRS[:, 1], _PAIRS[:, 0]] = short, usual, long
    orders, pairs = _exchanges()
    if flat and (_longest(table) < _TOO_LONG or np.nanmedian((long - short) / np.maximum(usual, 1e-9)) < _MOVES):
        return None
    odd = _oddness(table, orders, flat)
    gain = _oddness(table, np.arange(N_JOINTS)[None], flat) - odd
    least = [_least(exchanged, flat, seconds) for exchanged in pairs]
    best = int(np.argmax(gain - least))
    if gain[best] <= least[best]:
        return None
    return pairs[best] if odd[best] < _HUMAN else ()


def _quantiles(values: Floats, shares: tuple[float, ...]) -> Floats:
    """(t, n) -> (shares, n): the nearest values, ignoring NaN; computed for all columns at once, unlike NumPy's."""
    ranked = np.sort(values, axis=0)  # NaN last
    last = np.isfinite(values).sum(axis=0) - 1
    return np.take_along_axis(ranked, np.rint(np.multiply.outer(shares, last)).astype(int), axis=0)


def _longest(table: Floats) -> float:
    """Largest log ratio of a limb's length to a human's: 2-D views shorten limbs, but lengthen none."""
    a, b = np.array([(a, b) for a, b, _ in LIMBS]).T
    human = np.log(np.maximum(table[1, a, b], 1e-9) / SHARES_2D)
    return float(np.max(human - np.median(human)))


def _oddness(table: Floats, orders: NDArray[np.int64], flat: bool) -> Floats:
    """Oddness (n,) of (n, 14) orders, from (3, 14, 14) low, median and high quantiles of the joints' distances."""
    a, b = np.array([(a, b) for a, b, _ in LIMBS]).T
    short, usual, long = np.maximum(table[:, orders[:, a], orders[:, b]], 1e-9)
    human = np.log(usual / (SHARES_2D if flat else SHARES_3D))
    human -= np.median(human, axis=1, keepdims=True)
    right, left = np.array(SIDES).T
    sides = np.log(usual[:, right] / usual[:, left])
    odd = _total(human, _OF_LIMB) + _total(sides, _OF_SIDE)
    return odd if flat else odd + _total(np.log(long / short), np.ones(len(LIMBS)))


def _total(logs: Floats, weights: Floats) -> Floats:
    return np.asarray(np.minimum(np.abs(logs), _MOST) @ weights, np.float64)


def _least(exchanged: Pairs, flat: bool, seconds: float) -> float:
    """The least decrease of oddness for an exchange to count."""
    names = {JOINTS[j] for pair in exchanged for j in pair}
    if names == {"nose", "neck"}:
        return np.inf if flat else _HEAD  # in a picture a head that bends looks the same
    if not flat:
        return _SPACE
    if len(names) == 2 and len({name.split("_")[-1] for name in names}) == 1:
        return np.inf  # a joint and its mirror image: 2-D does not show which is which
    if all(name.endswith(("hip", "knee", "ankle")) for name in names):
        return _LEGS * len(exchanged)
    return _LONG if seconds >= _LONG_S else _SHORT
