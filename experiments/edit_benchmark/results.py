"""Which edit is best: strengths chosen on half of the songs, reported on the other; intervals and tests over songs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.metrics.edit_axes import at_place, pareto_area, strength_at
from d2m.reports.edit_scores import AXES
from d2m.stats.bootstrap import paired_difference, percentile_interval
from d2m.stats.nulls import permutation_p
from experiments.edit_benchmark.edits import MEAN_SHIFT, NO_EDIT, OPTIMISE, PERMUTED, RANDOM, REAL
from experiments.edit_benchmark.scores import Scores, aggregates, counts_of_draws

Floats = NDArray[np.float64]

#: Random divisions of the songs into halves.
SPLITS = 3
#: A control is at chance if its success is not reliably above 0, or not above this.
TOLERANCE = 0.1
CONTROLS = (NO_EDIT, RANDOM, PERMUTED)


def halves(genre_of: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Song numbers of two halves, every genre's songs divided evenly; a genre of one song is in both."""
    rng, a, b = np.random.default_rng(seed), [], []
    for k, g in enumerate(np.unique(genre_of)):
        own = rng.permutation(np.flatnonzero(genre_of == g))
        first, second = own[: len(own) // 2], own[len(own) // 2 :]
        if k % 2:
            first, second = second, first
        a += (first if len(first) else own).tolist()
        b += (second if len(second) else own).tolist()
    return np.sort(np.array(a)), np.sort(np.array(b))


@dataclass(frozen=True, eq=False)
class CrossFit:
    """share: (songs, strengths), of the divisions in which a song was reported at a strength chosen without it.
    chosen: the place of the strength, per division and half."""

    share: Floats
    chosen: list[int]

    def of(self, x: Floats) -> Floats:
        """x (songs, targets, strengths, ...) at the chosen strengths: (songs, targets, ...)."""
        weight = self.share.reshape(len(self.share), 1, -1, *[1] * (x.ndim - 3))
        return np.asarray(np.where(weight > 0, weight * x, 0.0).sum(2))


def cross_fit(scores: Scores, x: Floats, seed: int) -> CrossFit:
    """x (songs, targets, strengths, 3): the strength of the best aggregate on one half serves the other, both ways."""
    share, chosen = np.zeros((len(x), x.shape[2])), []
    for k in range(SPLITS):
        a, b = halves(scores.genre_of, seed + k)
        for fit, report in ((a, b), (b, a)):
            worth = aggregates(scores.pair_mean(x, fit))
            if not (worth > 0).any():  # the strength of most success then
                worth = scores.pair_mean(x, fit)[:, 0]
            best = int(np.nan_to_num(worth, nan=-np.inf).argmax())
            chosen.append(best)
            share[report, best] += 1
    return CrossFit(share / share.sum(1, keepdims=True), chosen)


def drawn_axes(scores: Scores, members: Floats, seed: int) -> Floats:
    """The axes of songs drawn with replacement, and of random directions or refits drawn too: (draws, 3).

    Three refits of eight songs are not twenty-four songs: with shuffled genres most of the chance is in the refit.

    Args:
        members: (k, songs, targets, 3).
    """
    songs = scores.draws(seed)
    each = np.stack([scores.pair_means(m, songs) for m in members], axis=1)
    return np.asarray((each * counts_of_draws(len(members), seed + 1)[..., None]).sum(1) / len(members))


def row(scores: Scores, name: str, strengths: Sequence[float], seed: int) -> dict[str, Any]:
    """A method's row of the table, its intervals, and its curve over strengths."""
    members = scores.members(name)
    x = members.mean(0)
    fitted = cross_fit(scores, x, seed)
    axes = scores.pair_mean(fitted.of(x))
    axes_drawn = drawn_axes(scores, np.stack([fitted.of(m) for m in members]), seed)
    places = scores.length(name)
    out: dict[str, Any] = {
        "method": name,
        "aggregate": float(aggregates(axes)),
        "aggregate_95": list(percentile_interval(aggregates(axes_drawn))),
        "n_songs": len(scores.songs),
        "strengths_chosen": [strengths[c] for c in fitted.chosen],
        "length_chosen": float(np.mean(places[fitted.chosen])),
    }
    for k, axis in enumerate(AXES):
        out |= {axis: float(axes[k]), f"{axis}_95": list(percentile_interval(axes_drawn[:, k]))}
    out["curve"] = [
        {"strength": s, "length": float(at), **dict(zip(AXES, map(float, c), strict=True))}
        for s, at, c in zip(strengths, places, scores.pair_mean(x), strict=True)
    ]
    started = _with_start(x)
    out["pareto_area"] = _area(scores.pair_mean(started))
    out["pareto_area_95"] = list(
        percentile_interval([_area(c) for c in scores.pair_means(started, scores.draws(seed))])
    )
    out["aggregate_at_length_1"] = _at_length_one(scores, x, places)
    return out


def _area(curve: Floats) -> float:
    """Of success and content (strengths, 2)."""
    return float("nan") if np.isnan(curve).any() else pareto_area(*curve.T)


def _at_length_one(scores: Scores, x: Floats, length: Floats) -> float | None:
    """The aggregate as far as the mean shift, between two strengths linearly; None where the curve does not reach."""
    place = strength_at(length, 1.0)
    if np.isnan(place) or length[0] > 1.0 + 1e-6:
        return None
    return float(aggregates(scores.pair_mean(at_place(np.moveaxis(x, 2, -1), place))))


def song_means(scores: Scores, x: Floats) -> Floats:
    """x (songs, targets) -> (songs,): every song over its targets, as far as they are known."""
    with np.errstate(invalid="ignore"):
        return np.asarray([row[~np.isnan(row)].mean() if not np.isnan(row).all() else np.nan for row in x])


def compare_at_success(scores: Scores, a: str, b: str, seed: int, judge: int | None = None) -> dict[str, Any] | None:
    """Content that two methods keep at one success: the most that both reach, and half of it; paired over songs.

    None where one of them does not succeed at all.
    """
    both = [_with_start(scores.method(m, judge)) for m in (a, b)]
    curves = [scores.pair_mean(x)[:, 0] for x in both]
    top = float(min(c.max() for c in curves))
    if not top > 0.05:
        return None
    out: dict[str, Any] = {"methods": [a, b], "levels": []}
    for level in (top, top / 2):
        kept = [
            song_means(scores, at_place(np.moveaxis(x[..., 1], 2, -1), strength_at(c, level)))
            for x, c in zip(both, curves, strict=True)
        ]
        known = ~np.isnan(kept[0]) & ~np.isnan(kept[1])
        mean, interval, p = paired_difference(kept[0][known], kept[1][known], seed=seed)
        out["levels"].append({
            "success": level, "content": [float(k[known].mean()) for k in kept], "difference": mean,
            "difference_95": list(interval), "p": p, "n_songs": int(known.sum()),
        })  # fmt: skip
    return out


def _with_start(x: Floats) -> Floats:
    """Success and content (songs, targets, 1 + strengths, 2), the unedited dance (0, 1) before the first strength."""
    start = np.where(np.isnan(x[:, :, :1, :1]), np.nan, np.array([0.0, 1.0]))
    return np.concatenate([start, x[..., :2]], axis=2)


def paired_aggregates(scores: Scores, names: Sequence[str], best: str, seed: int) -> dict[str, dict[str, Any]]:
    """The best method against every other, song by song: the difference of their aggregates over songs, as intervals.

    The aggregate is not a mean over songs, so that both are computed on the same songs drawn with replacement.
    """
    drawn, out = scores.draws(seed), {}

    def both(name: str) -> tuple[float, Floats]:
        x = scores.method(name)
        values = cross_fit(scores, x, seed).of(x)
        return float(aggregates(scores.pair_mean(values))), aggregates(scores.pair_means(values, drawn))

    top, top_drawn = both(best)
    for name in names:
        if name != best:
            value, values = both(name)
            interval = percentile_interval(top_drawn - values)
            out[name] = {"difference": top - value, "difference_95": list(interval), "n_songs": len(scores.songs)}
    return out


def left_of(scores: Scores, name: str, place: int, seed: int) -> dict[str, Any] | None:
    """A variant's success at one strength beside the mean shift's, on the pairs of genres that the variant has.

    Returns:
        "success", "full" (the mean shift's), "left" (their ratio), "success_95", "pairs"; None without any pair.
    """
    own = scores.method(name)[:, :, place, 0]
    full = np.where(np.isnan(own), np.nan, scores.method(MEAN_SHIFT)[:, :, place, 0])
    success, whole = float(scores.pair_mean(own)), float(scores.pair_mean(full))
    if np.isnan(success):
        return None
    interval = percentile_interval(scores.pair_means(own, scores.draws(seed)))
    pairs = {(int(g), b) for i, g in enumerate(scores.genre_of) for b in np.flatnonzero(~np.isnan(own[i]))}
    left = success / whole if whole > 0 else float("nan")
    return {"success": success, "full": whole, "left": left, "success_95": list(interval), "pairs": len(pairs)}


def permutation_test(scores: Scores, seed: int) -> dict[str, Any] | None:
    """The mean shift's success among those of the refits with shuffled genres, each at its own cross-fitted strength.

    Returns:
        "success", "refits" (each one's) and p = (1 + refits that succeed as much) / (1 + refits); None without refits.
    """
    if not scores.has(PERMUTED):
        return None

    def success(x: Floats) -> float:
        return float(scores.pair_mean(cross_fit(scores, x, seed).of(x))[0])

    own, refits = success(scores.method(MEAN_SHIFT)), [success(m) for m in scores.members(PERMUTED)]
    return {"success": own, "refits": refits, "p": permutation_p(own, refits)}


def verdict(rows: Mapping[str, Mapping[str, Any]], judges: Sequence[Mapping[str, Any]]) -> list[str]:
    """What speaks against believing the benchmark; empty if its controls are where they must be.

    Broken: success that is not known, since real dances look like random edits to both judges; a control (no edit,
    random directions apart from the anchors, permuted labels) whose success is reliably above 0 (95 %, with songs,
    directions and refits drawn again) and above :data:`TOLERANCE`; a control whose aggregate is reliably above it; real
    dances of the target genre that are not natural (below 0.5) or that keep the content of a song they do not know; a
    judge that recognises real held-out dances no better than half-way from chance to all of them.
    """
    wrong = []
    if np.isnan(rows[MEAN_SHIFT]["success"]):
        wrong.append("no judge tells real dances of any genre from random edits")
    for name in CONTROLS:
        if name not in rows:
            continue
        r = rows[name]
        if r["success_95"][0] > 0 and r["success"] > TOLERANCE:
            wrong.append(f"{name}: success {r['success']:.2f} is above chance")
        if r["aggregate_95"][0] > TOLERANCE:
            wrong.append(f"{name}: aggregate {r['aggregate']:.2f} is above chance")
    if REAL in rows and rows[REAL]["naturalness"] < 0.5:
        wrong.append(f"real dances: naturalness {rows[REAL]['naturalness']:.2f} where 1 is expected")
    if REAL in rows and rows[REAL]["content_95"][0] > TOLERANCE:
        wrong.append(f"real dances of other songs: content {rows[REAL]['content']:.2f} where 0 is expected")
    for j in judges:
        if j["balanced_accuracy"] < 0.5 * (1 + j["chance"]):
            wrong.append(f"judge {j['name']}: balanced accuracy {j['balanced_accuracy']:.2f} on real held-out dances")
    return wrong


def optimiser_answer(scores: Scores, judges: Sequence[str], seed: int) -> dict[str, Any]:
    """Does the optimiser keep more content than the mean shift at equal success? "yes", "no" or "cannot be said".

    "by_judge": the same where one judge alone says what success is. The guide that the optimiser climbs is a network,
    and so is the first judge; the second is of another kind.
    """
    comparison = compare_at_success(scores, OPTIMISE, MEAN_SHIFT, seed) if scores.has(OPTIMISE) else None
    if comparison is None:
        return {"answer": "cannot be said", "comparison": None}
    low, high = comparison["levels"][0]["difference_95"]
    each = {n: compare_at_success(scores, OPTIMISE, MEAN_SHIFT, seed, k) for k, n in enumerate(judges)}
    answer = "yes" if low > 0 else "no"
    return {"answer": answer, "worse": bool(high < 0), "comparison": comparison, "by_judge": each}
