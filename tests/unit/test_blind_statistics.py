"""Strengths and agreement against closed forms, simulations and published values."""

from __future__ import annotations

import numpy as np
import pytest

from d2m.blind.agreement import agreement, coincidences, krippendorff_alpha
from d2m.blind.strengths import bradley_terry
from d2m.core.errors import D2MError

NAMES = ("a", "b", "c", "d")


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("won", "lost", "prior"), [(7, 3, 0.0), (7, 3, 0.5), (12, 0, 0.5), (5, 5, 0.0)])
def test_two_systems_have_the_log_odds_of_their_wins(won: int, lost: int, prior: float) -> None:
    theta = bradley_terry(np.array([[0.0, won], [lost, 0.0]]), NAMES[:2], prior)
    assert theta[0] - theta[1] == pytest.approx(np.log((won + prior) / (lost + prior)))
    assert theta.sum() == pytest.approx(0)


def test_a_tie_is_half_a_win_for_both() -> None:
    assert bradley_terry(np.array([[0, 3.5], [1.5, 0]]), NAMES[:2], 0)[0] == pytest.approx(0.5 * np.log(3.5 / 1.5))


def test_expected_wins_give_back_their_strengths() -> None:
    truth = np.array([1.2, 0.3, -0.4, -1.1])
    wins = 40 * logistic(truth[:, None] - truth)
    assert bradley_terry(wins, NAMES, 0) == pytest.approx(truth, abs=1e-6)
    # The comparisons need not be complete: a chain is enough.
    chain = wins * (np.abs(np.subtract.outer(np.arange(4), np.arange(4))) == 1)
    assert bradley_terry(chain, NAMES, 0) == pytest.approx(truth, abs=1e-6)


def test_simulated_answers_give_their_strengths_within_their_error() -> None:
    truth, n = np.array([0.9, 0.1, -0.3, -0.7]), 400
    rng = np.random.default_rng(0)
    wins = np.zeros((4, 4))
    for i in range(4):
        for j in range(i):
            wins[i, j] = rng.binomial(n, logistic(truth[i] - truth[j]))
            wins[j, i] = n - wins[i, j]
    assert bradley_terry(wins, NAMES) == pytest.approx(truth, abs=0.15)  # three standard errors of about 0.05


def test_it_is_the_maximum_of_the_likelihood() -> None:
    wins = np.array([[0, 4, 6, 2], [3, 0, 5, 4], [1, 2, 0, 6], [3, 3, 1, 0]], float)

    def likelihood(theta: np.ndarray) -> float:
        return float((wins * np.log(logistic(theta[:, None] - theta))).sum())

    best = bradley_terry(wins, NAMES, 0)
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 1e-3:
        assert likelihood(best + step) < likelihood(best)


def test_many_tables_at_once_are_each_alone_and_may_lack_a_pair() -> None:
    one, two = np.array([[0, 5, 1], [2, 0, 4], [3, 1, 0.0]]), np.array([[0, 5, 0], [2, 0, 0], [0, 0, 0.0]])
    both = bradley_terry(np.stack([one, two]), NAMES[:3])
    assert both[0] == pytest.approx(bradley_terry(one, NAMES[:3]))
    assert np.isfinite(both[1]).all() and both[1, 0] > both[1, 1]


@pytest.mark.parametrize(
    ("wins", "prior", "word"),
    [
        ([[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 1, 0]], 0.5, "a, b was never compared with c, d"),
        ([[0, 3, 1, 0], [1, 0, 1, 0], [1, 2, 0, 0], [0, 0, 0, 0]], 0.5, "a, b, c was never compared with d"),
        ([[0, 3, 1, 1], [0, 0, 1, 1], [0, 2, 0, 1], [0, 1, 1, 0]], 0.0, "infinite"),
        ([[0, -1, 1, 1], [0, 0, 1, 1], [0, 2, 0, 1], [0, 1, 1, 0]], 0.5, "counts"),
        ([[0, 1], [1, 0]], 0.5, "counts"),
    ],
)
def test_what_has_no_strengths_is_one_line(wins: list, prior: float, word: str) -> None:
    with pytest.raises(D2MError, match=word) as e:
        bradley_terry(np.array(wins, float), NAMES, prior)
    assert "\n" not in str(e.value)


#: Krippendorff 2011, examples A (binary), B (nominal) and C (four observers, missing data).
MEG, OWEN = "0100000010", "1110010000"
BEN, GERRY = "aabbdcccedda", "babbbcccedd" + "d"
FOUR = ("123321412...", "1233224125.3", ".333234225" + "1.", "1233244125" + "1.")


def coded(rows: tuple[str, ...]) -> tuple[np.ndarray, int]:
    values = sorted(set("".join(rows)) - {"."})
    return np.array([[values.index(c) if c != "." else -1 for c in row] for row in rows]), len(values)


@pytest.mark.parametrize(
    ("rows", "alpha"),
    [((MEG, OWEN), 0.095), ((BEN, GERRY), 0.692), (FOUR, 0.743)],
    ids=["binary", "nominal", "missing"],
)
def test_alpha_is_the_published_one(rows: tuple[str, ...], alpha: float) -> None:
    assert round(krippendorff_alpha(*coded(rows)), 3) == alpha


def test_alpha_of_agreement_chance_and_nothing() -> None:
    alike = np.tile(np.arange(3), (4, 5))
    assert krippendorff_alpha(alike, 3) == 1 and agreement(alike, 3) == 1
    random = np.random.default_rng(0).integers(2, size=(30, 400))
    assert krippendorff_alpha(random, 2) == pytest.approx(0, abs=0.01)
    assert agreement(random, 2) == pytest.approx(0.5, abs=0.01)
    for nothing in (np.full((3, 4), -1), np.array([[0, 1, -1], [-1, -1, 0]]), np.ones((3, 4), int)):
        assert np.isnan(krippendorff_alpha(nothing, 2))


def test_alpha_knows_neither_the_order_of_raters_nor_the_names_of_values() -> None:
    values, n = coded(FOUR)
    swapped = np.array([3, 1, 0, 4, 2, -1])[values[::-1]]
    assert krippendorff_alpha(swapped, n) == pytest.approx(krippendorff_alpha(values, n))


def test_coincidences_by_hand() -> None:
    """Three answers a, a, b in one unit: pairs aa 2, ab 2, ba 2, each over m - 1 = 2."""
    assert coincidences(np.array([[0], [0], [1]]), 2).tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("values", [np.array([0, 1]), np.array([[0, 2]]), np.array([[0.5]])])
def test_answers_of_another_kind_are_refused(values: np.ndarray) -> None:
    with pytest.raises(D2MError, match="whole numbers"):
        coincidences(values, 2)
