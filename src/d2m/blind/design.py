"""The experimental design: assigns comparisons and guesses to participants, balanced over sides and order.

Everything is drawn from one generator. Dances are numbers here, so the design does not depend on the names of systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError


class Shown(NamedTuple):
    """A dance on the page: its system, its song, and whether it is a still picture."""

    system: int
    song: int
    frozen: bool = False


class Trial(NamedTuple):
    """One question. shown: (left, right) of a comparison, the only dance of a guess.

    kind: "choice", a comparison that counts; "repeat", one of them with sides swapped; "check", a dance next to a still
    picture of itself; "genre", a guess.
    """

    kind: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Slot:
    """The trials of one participant, in order; ``options``: the order of the genres' buttons."""

    trials: tuple[Trial, ...]
    options: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Sizes of a study: participants' slots, and trials of each kind that a participant gets."""

    participants: int
    trials: int
    repeats: int
    checks: int
    genre_trials: int

    def fitted(self, n_systems: int, n_songs: int, n_guessed: int) -> Plan:
        """The plan, limited to the number of comparisons and dances to guess.

        Raises:
            D2MError: a number out of range, or nothing to show.
        """
        for name, low, high in (
            ("participants", 1, 10_000), ("trials", 0, 500), ("repeats", 0, 100), ("checks", 0, 20),
            ("genre_trials", 0, 500),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise D2MError(f"{name}={getattr(self, name)}: give a whole number from {low} to {high}")
        n = n_songs * n_systems * (n_systems - 1) // 2
        if self.trials and not n:
            raise D2MError("one system cannot be compared with another; give two, or trials=0 for genre guesses alone")
        trials = min(self.trials, n)
        fitted = Plan(
            self.participants, trials, min(self.repeats, trials), self.checks if trials else 0,
            min(self.genre_trials, n_guessed * n_songs),
        )  # fmt: skip
        if not fitted.trials + fitted.genre_trials:
            raise D2MError("trials=0 genre_trials=0: nothing to ask; give one of them")
        return fitted


def williams_row(n: int, row: int) -> list[int]:
    """An order of n items: a row of a Williams design (Williams 1949, Aust. J. Sci. Res. A 2, 149).

    Over n rows, every item occurs once at every position; over n rows (2 n if n is odd), every item also follows every
    other equally often.
    """
    zigzag = [(k + 1) // 2 if k % 2 else (n - k // 2) % n for k in range(n)]
    order = [(k + row) % n for k in zigzag]
    return order[::-1] if n % 2 and (row // n) % 2 else order


def deal(
    n_systems: int, n_songs: int, guessed: list[int], n_genres: int, plan: Plan, rng: np.random.Generator
) -> list[Slot]:
    """The slots of a fitted plan.

    Comparisons (pair of systems, song) lie on a ring in which neighbours have different songs, and participants take
    ``plan.trials`` of them one after the other, so that the counts of any two comparisons differ by at most one.
    In every round of the ring the sides of each comparison are swapped, and within a round a pair's sides alternate
    over its songs. The order within a participant is a row of a Williams design. Guesses are dealt in the same way.
    Whether comparisons or guesses come first alternates over participants, as does the side of a check's right answer.

    Args:
        guessed: systems whose dances' genre is guessed.
        n_genres: answers to choose from.
    """
    songs: NDArray[np.int64] = rng.permutation(n_songs)
    pairs = [p if rng.random() < 0.5 else p[::-1] for p in combinations(range(n_systems), 2)]
    pairs = [pairs[k] for k in rng.permutation(len(pairs))]
    guess_order = [guessed[k] for k in rng.permutation(len(guessed))]
    ring = [((r + m) % len(pairs), m) for r in range(len(pairs)) for m in range(n_songs)]
    guesses = [
        Shown(guess_order[(r + m) % len(guessed)], int(songs[m])) for r in range(len(guessed)) for m in range(n_songs)
    ]
    still = rng.permutation(n_systems * n_songs)[: plan.checks]
    checks = [Shown(int(k) // n_songs, int(k) % n_songs) for k in np.resize(still, plan.checks)]
    offset = int(rng.integers(2))
    slots = []
    for p in range(plan.participants):
        chosen = []
        for k in range(p * plan.trials, (p + 1) * plan.trials):
            pair, m = ring[k % len(ring)]
            sides = [Shown(s, int(songs[m])) for s in pairs[pair]]
            swap = (m + k // len(ring)) % 2
            chosen.append(Trial("choice", tuple(sides[::-1] if swap else sides)))
        chosen = [chosen[k] for k in williams_row(plan.trials, p)]
        repeats = [Trial("repeat", t.shown[::-1]) for t in chosen[: plan.repeats]]
        compared = _insert_checks([*chosen, *repeats], checks, p + offset, rng)
        guess = [
            Trial("genre", (guesses[(p * plan.genre_trials + k) % len(guesses)],))
            for k in williams_row(plan.genre_trials, p)
        ]
        options = tuple(int(k) for k in np.roll(np.arange(n_genres), p))
        blocks = (guess, compared) if (p + offset) % 2 else (compared, guess)
        slots.append(Slot((*blocks[0], *blocks[1]), options))
    return slots


def _insert_checks(trials: list[Trial], checks: list[Shown], turn: int, rng: np.random.Generator) -> list[Trial]:
    """Insert checks at random, one in each of equally long parts of the trials, never first."""
    out: list[Trial] = []
    places = {}
    for j, dance in enumerate(checks):
        low, high = (round(len(trials) * (j + k) / len(checks)) for k in (0, 1))
        sides = (dance, dance._replace(frozen=True))
        places[j] = (int(rng.integers(max(low, 1), max(high, low, 1) + 1)), sides[:: -1 if (turn + j) % 2 else 1])
    for k in range(len(trials) + 1):
        out += [Trial("check", sides) for place, sides in places.values() if place == k]
        out += trials[k : k + 1]
    return out
