"""Two joints under each other's names, such as a knee and its ankle: bodies that exchanging them makes far more human.

Every pair of joints is exchanged in thought, and where each side has such a pair, both at once. How odd a body is sums
up the logs of its limbs' lengths over a human's, of left over right, and, in space, where bones keep their lengths, of
long over short moments. Legs count double: they are alike in all recordings, while arms are foreshortened or carry few
markers. Thresholds, and what real dances reach: docs/adr/0059.
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
#: By how much less odd an exchanged body is: in space; in pictures if only legs are exchanged, for every pair, and else
#: in recordings of at least ``_LONG_S`` and shorter ones. The nose is anywhere at the head: nose and neck need more.
_SPACE, _HEAD, _LEGS, _LONG, _SHORT, _LONG_S = 0.5, 0.9, 0.6, 1.1, 2.6, 10.0
#: A limb that is e to this times as long as a human's, in pictures: without one, bodies that sit or stand still, of
#: which some limbs are always shortened, would be taken for exchanged ones.
_TOO_LONG = 0.35
#: Share of its length by which the median distance of two joints changes in a picture, at least: less is one pose.
_MOVES = 0.05
#: No real dance is as odd.
_HUMAN = 7.0
#: In space pieces of so many seconds or more are looked at as well, at most so many.
_PIECE_S, _PIECES = 3.0, 6


@cache
def _exchanges() -> tuple[NDArray[np.int64], tuple[Pairs, ...]]:
    """(n, 14) the orders to try, and what each exchanges. Hips stay: nothing tells one from the other."""
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
    """Which joints are under each other's names.

    Args:
        joints: (t, 14, 2 or 3) of a recording or every so many of its frames, NaN if unseen.
        seconds: its length.

    Returns:
        The pairs, and from when to when (seconds; None: throughout); None if there are none. No pairs if the body is
        none, and no exchange makes it one.
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
    """(t, n) -> (shares, n): the nearest of the values that are not NaN. Of whole columns at once, unlike NumPy's."""
    ranked = np.sort(values, axis=0)  # NaN last
    last = np.isfinite(values).sum(axis=0) - 1
    return np.take_along_axis(ranked, np.rint(np.multiply.outer(shares, last)).astype(int), axis=0)


def _longest(table: Floats) -> float:
    """Log of the limb that is longest for a human's: a picture shortens limbs, but makes none longer."""
    a, b = np.array([(a, b) for a, b, _ in LIMBS]).T
    human = np.log(np.maximum(table[1, a, b], 1e-9) / SHARES_2D)
    return float(np.max(human - np.median(human)))


def _oddness(table: Floats, orders: NDArray[np.int64], flat: bool) -> Floats:
    """(3, 14, 14) distances, short, usual and long, and (n, 14) orders -> (n,)."""
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
    """By how much less odd a body has to become."""
    names = {JOINTS[j] for pair in exchanged for j in pair}
    if names == {"nose", "neck"}:
        return np.inf if flat else _HEAD  # in a picture a head that bends looks the same
    if not flat:
        return _SPACE
    if len(names) == 2 and len({name.split("_")[-1] for name in names}) == 1:
        return np.inf  # a joint and that of the other side: which is which a picture does not show
    if all(name.endswith(("hip", "knee", "ankle")) for name in names):
        return _LEGS * len(exchanged)
    return _LONG if seconds >= _LONG_S else _SHORT
