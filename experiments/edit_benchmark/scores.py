"""From raw numbers of dances to the three axes, anchored, as arrays over songs, targets and strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.metrics.edit_axes import harmonic_mean
from d2m.reports.edit_scores import (
    CONTENT,
    content_axis,
    known_mean,
    natural_anchors,
    naturalness_axis,
    success_by_judge,
)
from experiments.edit_benchmark.edits import ANCHOR, NO_EDIT

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """values: (method, index) -> (songs, targets, strengths, 3), nan where a song has no such edit; lengths alike;
    by_judge: success, judge by judge."""

    songs: tuple[str, ...]
    genres: tuple[str, ...]
    genre_of: NDArray[np.int64]
    values: dict[tuple[str, int], Floats]
    lengths: dict[tuple[str, int], Floats]
    by_judge: dict[tuple[str, int], Floats]
    anchors: dict[str, Any]

    def members(self, name: str) -> Floats:
        """(k, songs, targets, strengths, 3): each of a method's random directions or refits; k is 1 for all others."""
        return np.stack([v for (m, _), v in self.values.items() if m == name])

    def method(self, name: str, judge: int | None = None) -> Floats:
        """(songs, targets, strengths, 3) of a method, the mean over :meth:`members`.

        Args:
            judge: the one whose success counts; all of them if None.
        """
        x = self.members(name).mean(0)
        if judge is not None:
            x[..., 0] = np.mean([v for (m, _), v in self.by_judge.items() if m == name], axis=0)[..., judge]
        return np.asarray(x)

    def length(self, name: str) -> Floats:
        """(strengths,) mean length in mean shifts."""
        return np.asarray(np.nanmean([v for (m, _), v in self.lengths.items() if m == name], axis=(0, 1, 2)))

    def best_by_judge(self, name: str) -> list[float]:
        """Success of a method at the strength that suits each judge most; nan where it knows no pair of genres."""
        by_judge = np.mean([v for (m, _), v in self.by_judge.items() if m == name], axis=0)
        return [float(self.pair_mean(by_judge[..., k]).max()) for k in range(by_judge.shape[-1])]

    def has(self, name: str) -> bool:
        return any(m == name for m, _ in self.values)

    def pair_means(self, x: Floats, counts: Floats) -> Floats:
        """x (songs, targets, ...) and how often each song counts (m, songs) -> (m, ...): songs of a pair of genres
        alike, pairs alike. A pair that is not known of one of its songs is left out; nan where there is no pair.
        """
        n, targets = x.shape[:2]
        weight = np.zeros((len(counts), len(self.genres), n))
        weight[:, self.genre_of, np.arange(n)] = counts
        flat = x.reshape(n, targets, -1)
        unknown = np.isnan(flat).any(-1)
        total = weight.sum(-1)[..., None]
        sums = weight @ np.where(unknown[..., None], 0.0, flat).reshape(n, -1)
        means = (sums / np.maximum(total, 1.0)).reshape(len(counts), -1, flat.shape[-1])
        usable = ((total > 0) & (weight @ unknown == 0)).reshape(len(counts), -1)
        pairs = usable.sum(-1)[:, None]
        mean = (means * usable[..., None]).sum(1) / np.maximum(pairs, 1)
        return np.asarray(np.where(pairs > 0, mean, np.nan).reshape(len(counts), *x.shape[2:]), np.float64)

    def pair_mean(self, x: Floats, songs: NDArray[np.int64] | None = None) -> Floats:
        """:func:`pair_means` of all songs, or of some: (songs, targets, ...) -> (...)."""
        n = len(self.songs)
        counts = np.ones(n) if songs is None else np.bincount(songs, minlength=n)
        return self.pair_means(x, np.asarray(counts, np.float64)[None])[0]

    def draws(self, seed: int) -> Floats:
        """(n, songs): how often each song is in n draws of as many songs with replacement."""
        return counts_of_draws(len(self.songs), seed)


def counts_of_draws(s: int, seed: int, n: int = 500) -> Floats:
    """(n, s): how often each of s things is in n draws of s with replacement."""
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, s, s), minlength=s) for _ in range(n)]).astype(np.float64)


def aggregates(axes: Floats) -> Floats:
    """(..., 3) -> (...): harmonic means; nan where an axis is not known."""
    flat = axes.reshape(-1, axes.shape[-1])
    means = [float("nan") if np.isnan(a).any() else harmonic_mean(a) for a in flat]
    return np.array(means).reshape(axes.shape[:-1])


def numbers(value: Any) -> Any:
    """null as nan: JSON has no such number."""
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [numbers(v) for v in value]
    return float("nan") if value is None else value


def _content_zeros(foreign: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {k: float(np.nanmean([r["content"][k] for r in foreign])) for k in CONTENT}


def score(
    files: Sequence[Mapping[str, Any]], real: Sequence[Mapping[str, Any]], foreign: Sequence[Mapping[str, Any]],
    genres: Sequence[str],
) -> Scores:  # fmt: skip
    """All songs' rows on the axes.

    success      per judge, (p - p0) / (p1 - p0): p of the target genre; p0 of this song moved as far at random, between
                 the measured lengths linearly; p1 of real dances of the target genre. The mean of those judges to whom
                 p1 is well above p0.
    content      mean of its parts between another song's dance and the unedited one.
    naturalness  mean of its parts between shuffled frames and real dances of the target genre.
    """
    files = numbers(list(files))
    songs = tuple(f["song"] for f in files)
    genre_of = np.array([genres.index(f["genre"]) for f in files])
    n_judges = len(real[0]["judged"])
    one = np.full((n_judges, len(genres)), np.nan)
    for b, g in enumerate(genres):
        own = [r["judged"] for r in real if r["genre"] == g]
        if own:
            one[:, b] = np.mean(own, axis=0)[:, b]
    zeros = _content_zeros(foreign)
    natural = {g: natural_anchors([r for r in real if r["genre"] == g]) for g in genres}
    shape = (len(files), len(genres))
    curves: dict[tuple[int, int], tuple[Floats, Floats]] = {}
    for i, f in enumerate(files):
        for b, g in enumerate(genres):
            curves[i, b] = _random_curve([r for r in f["rows"] if r["target"] == g], b)
    values: dict[tuple[str, int], Floats] = {}
    lengths: dict[tuple[str, int], Floats] = {}
    by_judge: dict[tuple[str, int], Floats] = {}  # (songs, targets, strengths, judges)
    rows = [(i, genres.index(r["target"]), r) for i, f in enumerate(files) for r in f["rows"] if r["target"]]
    for _, _, r in rows:
        key = (r["method"], r["index"])
        places = max(r["place"] + 1, values[key].shape[2] if key in values else 0)
        if key not in values or values[key].shape[2] < places:
            values[key] = np.full((*shape, places, 3), np.nan)
            lengths[key] = np.full((*shape, places), np.nan)
            by_judge[key] = np.full((*shape, places, n_judges), np.nan)
    gaps = np.full((n_judges, len(genres), len(genres)), np.nan)
    for i, b, r in rows:
        key, place = (r["method"], r["index"]), r["place"]
        p = np.array(r["judged"])[:, b]
        p0 = _at(curves[i, b], r["length"])
        mates = [m for m in range(len(files)) if genre_of[m] == genre_of[i]]
        zero = np.mean([_at(curves[m, b], r["length"]) for m in mates], axis=0)
        if r["method"] == NO_EDIT:
            gaps[:, genre_of[i], b] = one[:, b] - zero
        told = success_by_judge(p, p0, zero, one[:, b])
        by_judge[key][i, b, place] = told
        content, near = content_axis(r["content"], zeros), naturalness_axis(r["natural"], natural[genres[b]])
        values[key][i, b, place] = (known_mean(told), content, near)
        lengths[key][i, b, place] = r["length"]
    anchors = {
        "real judged as their genre": one.tolist(), "gap of real dances over no edit": gaps.tolist(),
        "content of other songs' dances": zeros, "naturalness (shuffled, real)": natural,
    }  # fmt: skip
    return Scores(songs, tuple(genres), genre_of, values, lengths, by_judge, anchors)


def _random_curve(rows: Sequence[Mapping[str, Any]], b: int) -> tuple[Floats, Floats]:
    """Of one song and target: lengths (k,), and the judges' votes for the target after random edits, (k, judges)."""
    points: dict[float, list[Any]] = {}
    for r in rows:
        if r["method"] in (NO_EDIT, ANCHOR):
            points.setdefault(round(r["length"], 4), []).append(np.array(r["judged"])[:, b])
    at = np.array(sorted(points))
    return at, np.array([np.mean(points[x], axis=0) for x in sorted(points)])


def _at(curve: tuple[Floats, Floats], length: float) -> Floats:
    at, p = curve
    return np.array([np.interp(length, at, p[:, j]) for j in range(p.shape[1])])
