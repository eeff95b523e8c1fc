from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.data.splits import SPLITS, assign_splits, held_out


def per_genre(genres: list[str], groups: list[str], splits: list[str]) -> dict[str, Counter]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for genre, split in {(g, m): s for g, m, s in zip(genres, groups, splits)}.items():
        counts[genre[0]][split] += 1
    return counts


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(0, 5))
def test_counts_per_genre(genres: list[str], seed: int) -> None:
    groups = [str(i) for i in range(len(genres))]
    counts = per_genre(genres, groups, assign_splits(genres, groups, seed))
    for genre, n in Counter(genres).items():
        c = counts[genre]
        if n < 3:
            assert c == {"train": n}
        else:
            assert c["test"] == c["val"] == max(1, int(0.15 * n + 0.5)) and c["train"] == n - c["test"] - c["val"] >= 1


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("uvwxyz")), min_size=1, max_size=40),
    st.integers(0, 3),
)
def test_a_group_is_never_split(rows: list[tuple[str, str]], seed: int) -> None:
    genres, groups = [r[0] for r in rows], [r[1] for r in rows]
    seen = defaultdict(set)
    for group, split in zip(groups, assign_splits(genres, groups, seed)):
        seen[group].add(split)
    assert all(len(s) == 1 for s in seen.values())


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(0, 3),
)
def test_splits_are_disjoint_in_recordings_and_groups_of_several_genres(rows: list[tuple[str, int]], seed: int) -> None:
    genres, groups = [g for g, _ in rows], [f"dancer {n}" for _, n in rows]
    splits = assign_splits(genres, groups, seed)
    members = {s: {g for g, mine in zip(groups, splits) if mine == s} for s in SPLITS}
    assert sum(len(m) for m in members.values()) == len(set(groups))
    assert not members["train"] & members["val"] | members["train"] & members["test"] | members["val"] & members["test"]
    # A group of several genres is drawn with its most frequent one, and there are always groups to train on.
    assert members["train"]


def test_a_dancer_of_two_genres_counts_for_the_more_frequent_one() -> None:
    # r dances b twice and a once: b has three groups then, and holds one out for each of val and test.
    genres, groups = ["a", "a", "b", "b", "b", "b", "a"], ["x", "y", "p", "q", "r", "r", "r"]
    split_of = dict(zip(groups, assign_splits(genres, groups)))
    assert sorted(split_of[g] for g in "pqr") == ["test", "train", "val"]
    assert split_of["x"] == split_of["y"] == "train"


def test_ballroom_counts() -> None:
    genres = ["chacha"] * 5 + ["rumba"] * 7 + ["tango"] * 5 + ["waltz"] * 28
    groups = [f"{g}{i}" for i, g in enumerate(genres)]
    counts = per_genre(genres, groups, assign_splits(genres, groups))
    assert {g: [c[s] for s in SPLITS] for g, c in counts.items()} == {
        "chacha": [3, 1, 1], "rumba": [5, 1, 1], "tango": [3, 1, 1], "waltz": [20, 4, 4],
    }  # fmt: skip


def test_the_seed_decides_and_order_does_not() -> None:
    genres, groups = ["a"] * 20, [f"{i:02d}" for i in range(20)]
    first = dict(zip(groups, assign_splits(genres, groups, 1)))
    assert first == dict(zip(groups[::-1], assign_splits(genres, groups[::-1], 1)))
    assert first != dict(zip(groups, assign_splits(genres, groups, 2)))
    # Another genre moves nobody.
    more = assign_splits([*genres, "b", "b", "b", "b"], [*groups, "p", "q", "r", "s"], 1)
    assert dict(zip(groups, more)) == first


def test_fractions() -> None:
    genres, groups = ["a"] * 10, [str(i) for i in range(10)]
    assert Counter(assign_splits(genres, groups, 0, 0.3, 0.0)) == {"train": 7, "val": 3}
    assert Counter(assign_splits(["a"] * 3, groups[:3], 0, 0.4, 0.5)) == {"train": 1, "val": 1, "test": 1}
    assert held_out(28, 0.15) == 4 and held_out(3, 0.0) == 0
    for val, test in [(0.5, 0.5), (-0.1, 0.2), (0.0, 1.0)]:
        with pytest.raises(D2MError, match="fraction"):
            assign_splits(genres, groups, 0, val, test)
