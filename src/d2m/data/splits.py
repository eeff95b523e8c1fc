"""Splits into training, validation and test: by group, stratified by genre, determined by the seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from d2m.core.errors import D2MError

SPLITS = ("train", "val", "test")


def held_out(n: int, fraction: float) -> int:
    """Number of groups to hold out of n groups of a genre: at least one if the fraction is positive."""
    return max(1, int(np.floor(fraction * n + 0.5))) if fraction > 0 else 0


def strictest(splits: Sequence[str], links: Sequence[Sequence[Hashable]]) -> list[str]:
    """Give linked recordings a common split: test if any of them was in test, else val if any was, else train.

    So no held-out recording is trained on, and no test recording is used for model selection.

    Args:
        splits: of every recording.
        links: of every recording, keys that it shares with the recordings it must stay with; links are transitive.
    """
    leader: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for keys in links:
        for key in keys[1:]:
            leader[find(key)] = find(keys[0])
    held: dict[Hashable, int] = {}
    for split, keys in zip(splits, links, strict=True):
        if keys:
            held[find(keys[0])] = max(held.get(find(keys[0]), 0), SPLITS.index(split))
    return [SPLITS[held[find(keys[0])]] if keys else split for split, keys in zip(splits, links, strict=True)]


def assign_splits(
    genres: Sequence[str],
    groups: Sequence[str],
    seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
) -> list[str]:
    """One of :data:`SPLITS` per recording.

    In each genre with n >= 3 groups, ``held_out(n, test_fraction)`` of them go to test, ``held_out(n, val_fraction)``
    to val and the others (at least one) to train; with fewer groups, all go to train. A group with several genres
    counts for its most frequent one. The draw for a genre depends only on the seed and its own groups, so adding a
    genre does not move songs of another.

    Args:
        genres, groups: of every recording.

    Raises:
        D2MError: fractions that leave nothing to train on.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise D2MError(
            f"val_fraction {val_fraction} + test_fraction {test_fraction}: each must be at least 0, their sum below 1"
        )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for genre, group in zip(genres, groups, strict=True):
        counts[group][genre] += 1
    by_genre: dict[str, list[str]] = defaultdict(list)
    for group, counter in counts.items():
        by_genre[min(counter, key=lambda g: (-counter[g], g))].append(group)
    split_of: dict[str, str] = {}
    for genre, members in by_genre.items():
        members.sort()
        n = len(members)
        n_test = min(held_out(n, test_fraction), n - 2) if n >= 3 else 0
        n_val = min(held_out(n, val_fraction), n - 1 - n_test) if n >= 3 else 0
        digest = hashlib.sha256(f"{seed}/{genre}".encode()).digest()
        order = np.random.default_rng(int.from_bytes(digest[:8], "little")).permutation(n)
        for rank, member in enumerate(order):
            split_of[members[member]] = "test" if rank < n_test else "val" if rank < n_test + n_val else "train"
    return [split_of[g] for g in groups]
