"""Counterbalance, exactly."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from d2m.blind.design import Plan, Slot, Trial, deal, williams_row
from d2m.core.errors import D2MError


def slots(s: int, m: int, plan: Plan, seed: int = 0, n_genres: int = 3) -> list[Slot]:
    plan = plan.fitted(s, m, s)
    return deal(s, m, list(range(s)), n_genres, plan, np.random.default_rng(seed))


def of(slot: Slot, kind: str) -> list[Trial]:
    return [t for t in slot.trials if t.kind == kind]


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9])
def test_a_williams_design_balances_places_and_neighbours(n: int) -> None:
    rows = [williams_row(n, k) for k in range(n if n % 2 == 0 else 2 * n)]
    assert all(sorted(row) == list(range(n)) for row in rows)
    times = len(rows) // n
    assert all(Counter(column) == dict.fromkeys(range(n), times) for column in zip(*rows, strict=True))
    neighbours = Counter((a, b) for row in rows for a, b in pairwise(row))
    assert set(neighbours.values()) <= {times} and len(neighbours) == n * (n - 1)


@pytest.mark.parametrize(("s", "m", "trials", "participants"), [(3, 4, 8, 12), (4, 5, 12, 20), (2, 6, 6, 4)])
def test_every_comparison_is_shown_equally_often_on_both_sides(s: int, m: int, trials: int, participants: int) -> None:
    n = m * s * (s - 1) // 2
    assert participants * trials % (2 * n) == 0
    dealt = slots(s, m, Plan(participants, trials, 0, 0, 0))
    shown = Counter(t.shown for slot in dealt for t in slot.trials)
    assert set(shown.values()) == {participants * trials // (2 * n)} and len(shown) == 2 * n
    left = Counter(t.shown[0].system for slot in dealt for t in slot.trials)
    assert len(set(left.values())) == 1


def test_otherwise_no_comparison_is_shown_more_than_once_more_than_another() -> None:
    dealt = slots(4, 5, Plan(7, 11, 0, 0, 0))
    pairs = Counter(frozenset(t.shown) for slot in dealt for t in slot.trials)
    assert len(pairs) == 30 and max(pairs.values()) - min(pairs.values()) <= 1


def test_if_all_judge_all_every_comparison_stands_once_in_every_place() -> None:
    dealt = slots(3, 4, Plan(12, 12, 0, 0, 0))
    for place in range(12):
        assert len({frozenset(slot.trials[place].shown) for slot in dealt}) == 12


def test_a_comparison_is_of_two_systems_and_one_song_and_comes_once() -> None:
    for slot in slots(4, 6, Plan(10, 20, 0, 0, 0)):
        assert all(a.song == b.song and a.system != b.system for a, b in (t.shown for t in slot.trials))
        assert len({frozenset(t.shown) for t in slot.trials}) == 20


def test_guesses_are_dealt_evenly_and_their_buttons_take_turns() -> None:
    dealt = slots(3, 4, Plan(6, 0, 0, 0, 6))
    assert set(Counter(t.shown for slot in dealt for t in slot.trials).values()) == {3}
    assert [slot.options for slot in dealt[:3]] == [(0, 1, 2), (2, 0, 1), (1, 2, 0)]


def test_repeats_are_swapped_and_checks_are_never_first_and_change_sides() -> None:
    dealt = slots(3, 4, Plan(12, 8, 2, 2, 4))
    sides: Counter[bool] = Counter()
    for slot in dealt:
        again = [t.shown[::-1] for t in of(slot, "repeat")]
        assert len(again) == 2 and set(again) <= {t.shown for t in of(slot, "choice")}
        for check in of(slot, "check"):
            a, b = check.shown
            assert a._replace(frozen=False) == b._replace(frozen=False) and a.frozen != b.frozen
            sides[a.frozen] += 1
        compared = [t for t in slot.trials if t.kind != "genre"]
        assert len(of(slot, "check")) == 2 and compared[0].kind != "check"
    assert sides[True] == sides[False]
    first = Counter(slot.trials[0].kind == "genre" for slot in dealt)
    assert first[True] == first[False]


def test_kinds_come_in_two_blocks() -> None:
    for slot in slots(3, 4, Plan(4, 8, 2, 2, 4)):
        kinds = [t.kind == "genre" for t in slot.trials]
        assert sum(a != b for a, b in pairwise(kinds)) == 1


def test_the_same_generator_deals_the_same_and_another_does_not() -> None:
    plan = Plan(6, 8, 1, 1, 2)
    assert slots(3, 4, plan) == slots(3, 4, plan) != slots(3, 4, plan, seed=1)


def test_a_plan_shrinks_to_what_there_is() -> None:
    assert Plan(3, 50, 60, 2, 50).fitted(3, 4, 2) == Plan(3, 12, 12, 2, 8)
    assert Plan(3, 0, 2, 2, 5).fitted(1, 4, 1) == Plan(3, 0, 0, 0, 4)


@pytest.mark.parametrize(
    ("plan", "systems", "word"),
    [
        (Plan(0, 5, 0, 0, 0), 2, "participants=0"),
        (Plan(1, -1, 0, 0, 0), 2, "trials=-1"),
        (Plan(1, 5, 0, 99, 0), 2, "checks=99"),
        (Plan(1, 5, 0, 0, 0), 1, "one system"),
        (Plan(1, 0, 0, 0, 0), 2, "nothing to ask"),
    ],
)
def test_plans_that_cannot_be_are_refused(plan: Plan, systems: int, word: str) -> None:
    with pytest.raises(D2MError, match=word):
        plan.fitted(systems, 3, systems)
