"""Scores of answers: strengths, preferences and guesses against chance, and agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, false_discovery_control

from d2m.blind.agreement import agreement, krippendorff_alpha
from d2m.blind.answers import Participant
from d2m.blind.key import Key
from d2m.blind.strengths import bradley_terry

_LEVEL = 0.95


def score(key: Key, people: Sequence[Participant], samples: int, seed: int) -> dict[str, Any]:
    """All results, as plain values; NaN if undefined.

    Intervals are 95 % percentile intervals of a bootstrap over participants, ``samples`` draws; NaN for fewer than two
    participants. ``p`` values are from exact binomial tests over answers, assumed to be independent: two-sided for
    comparisons; for genres, one-sided for more correct guesses than by chance. ``q`` is p after Benjamini and
    Hochberg's correction.

    Raises:
        D2MError: the comparisons do not connect all systems.
    """
    draws = np.random.default_rng(seed).integers(len(people), size=(samples, len(people)))
    out: dict[str, Any] = {}
    if any(kind == "choice" for slot in key.slots for kind, _ in slot):
        out["choice"] = _choices(key, people, draws)
    if any(kind == "genre" for slot in key.slots for kind, _ in slot):
        out["genre"] = _guesses(key, people, draws)
    return out


def _interval(statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], draws: NDArray[np.int64]) -> Any:
    """Low and high ends (k,) of a statistic of participants' weights (samples, participants) -> (samples, k)."""
    n = draws.shape[1]
    weights = np.stack([(draws == k).sum(1) for k in range(n)], 1)
    values = statistic(weights)
    if n < 2:
        return np.full((2, values.shape[1]), np.nan)
    tails = (1 - _LEVEL) / 2
    return np.array([
        [np.nan, np.nan] if not np.isfinite(column).any() else np.nanquantile(column, [tails, 1 - tails])
        for column in values.T
    ]).T  # fmt: skip


def _ratio(hits: NDArray[np.float64], all_: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares (samples, k) of counts (participants, k)."""
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ hits) / (weights @ all_), np.float64)


def _share(
    hits: NDArray[np.float64], of: NDArray[np.float64], chance: float, draws: NDArray[np.int64], side: str = "two-sided"
) -> Any:
    """A share of counts (participants,), with its interval and test against chance on ``side``."""
    low, high = _interval(lambda w: _ratio(hits[:, None], of[:, None], w), draws)[:, 0]
    k, n = int(hits.sum()), int(of.sum())
    return {
        "share": k / n if n else float("nan"), "n": n, "chance": chance, "low": float(low), "high": float(high),
        "p": float(binomtest(k, n, chance, alternative=side).pvalue) if n else float("nan"),
    }  # fmt: skip


def _choices(key: Key, people: Sequence[Participant], draws: NDArray[np.int64]) -> dict[str, Any]:
    systems = key.systems
    wins = np.zeros((len(people), len(systems), len(systems)))
    for k, person in enumerate(people):
        for a in person.of("choice"):
            winner, loser = (systems.index(key.videos[v]["system"]) for v in (a.chosen, a.other))
            wins[k, winner, loser] += 1
    total = wins.sum(0)
    theta = bradley_terry(total, systems)
    # The full table comes first, so that pairs missing from a sample are still known to be compared.
    low, high = _interval(
        lambda w: bradley_terry(np.concatenate([total[None], np.tensordot(w, wins, 1)]), systems)[1:], draws
    )
    strengths = {
        name: {"strength": float(theta[i]), "low": float(low[i]), "high": float(high[i]),
               "n": int(total[i].sum() + total[:, i].sum()), "chosen": int(total[i].sum())}
        for i, name in enumerate(systems)
    }  # fmt: skip
    pairs = [
        {"system": systems[i], "over": systems[j],
         **_share(wins[:, i, j], wins[:, i, j] + wins[:, j, i], 0.5, draws)}
        for i, j in combinations(range(len(systems)), 2)
    ]  # fmt: skip
    tested = [row for row in pairs if row["n"]]
    for row, q in zip(tested, false_discovery_control([row["p"] for row in tested]), strict=True):
        row["q"] = float(q)
    values = _table(people, "choice", lambda a: (tuple(sorted(a.shown)), int(min(a.shown) != a.chosen)))
    # The order of two dances is arbitrary; counting both orders makes alpha independent of their names.
    values = np.hstack([values, np.where(values < 0, -1, 1 - values)])
    left = np.array([[sum(a.value == "left" for a in p.of("choice")), len(p.of("choice"))] for p in people], float)
    same = np.array([_again(p) for p in people], float)
    return {
        "n": int(total.sum()), "strengths": strengths, "pairs": pairs,
        "alpha": krippendorff_alpha(values, 2), "agreement": agreement(values, 2),
        "left": _share(left[:, 0], left[:, 1], 0.5, draws),
        "repeated_alike": _share(same[:, 0], same[:, 1], 0.5, draws),
    }  # fmt: skip


def _again(person: Participant) -> tuple[int, int]:
    """(number of repeated comparisons with the same answer as before, number of repeats)."""
    first = {frozenset(a.shown): a.chosen for a in person.of("choice")}
    repeats = [a for a in person.of("repeat") if frozenset(a.shown) in first]
    return sum(first[frozenset(a.shown)] == a.chosen for a in repeats), len(repeats)


def _table(people: Sequence[Participant], kind: str, code: Callable[[Any], tuple[Any, int]]) -> NDArray[np.int64]:
    """Answers (participants, units), -1 if missing; ``code`` gives an answer's unit and value."""
    coded = [{unit: value for unit, value in map(code, p.of(kind))} for p in people]
    units = sorted({unit for row in coded for unit in row})
    table = np.array([[row.get(u, -1) for u in units] for row in coded], np.int64)
    return table.reshape(len(people), len(units))


def _guesses(key: Key, people: Sequence[Participant], draws: NDArray[np.int64]) -> dict[str, Any]:
    genres, systems = list(key.genres), key.systems
    counts = np.zeros((len(people), len(systems), len(genres), len(genres)))
    for k, person in enumerate(people):
        for a in person.of("genre"):
            video = key.videos[a.shown[0]]
            counts[k, systems.index(video["system"]), genres.index(video["genre"]), genres.index(a.value)] += 1
    chance = 1 / len(genres)
    right, n = np.trace(counts, axis1=2, axis2=3), counts.sum((2, 3))
    values = _table(people, "genre", lambda a: (a.shown[0], genres.index(a.value)))
    return {
        **_share(right.sum(1), n.sum(1), chance, draws, "greater"),
        "systems": {
            name: {
                **_share(right[:, i], n[:, i], chance, draws, "greater"),
                "confusion": counts[:, i].sum(0).astype(int).tolist(),
            }
            for i, name in enumerate(systems) if n[:, i].sum()
        },
        "genres": genres, "confusion": counts.sum((0, 1)).astype(int).tolist(),
        "alpha": krippendorff_alpha(values, len(genres)), "agreement": agreement(values, len(genres)),
    }  # fmt: skip
