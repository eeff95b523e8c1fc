"""Scores of the mean shift for a system in training: four numbers by which runs can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import FPS
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance
from d2m.dance.stream import SongRequest, rows_for
from d2m.dance.together import Redanced, dance_again, dance_all
from d2m.data.corpus import Corpus
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.edit_axes import harmonic_mean
from d2m.reports.edit_scores import (
    AXES,
    Anchors,
    GenreReference,
    content_axis,
    content_of,
    known_mean,
    natural_anchors,
    naturalness_axis,
    naturalness_of,
    real_row,
    reference_of,
    success_by_judge,
)
from d2m.reports.held_out import real_scale
from d2m.reports.judges import Judges

#: Number of random directions for the zero of success.
_RANDOM = 4


@dataclass(frozen=True)
class _Song:
    number: int
    to: int
    dance: SongDance
    danced: Redanced  # the edit, then the random ones


def edit_scores(
    generator: DanceGenerator, corpus: Corpus, judges: Judges, *, songs: Sequence[int],
    means: Mapping[str, NDArray[np.float32]], source: str, target: str, seconds: float, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Success, content, naturalness of the mean shift at strength 1, and their harmonic mean, "aggregate".

    Songs of the target genre are edited towards the source, all others towards the target. Anchors are as in
    experiments/edit_benchmark, but from fewer dances: four random directions; real validation dances, or training
    dances if there are none. Shorter songs are used as a whole.

    Args:
        songs: recordings, two or more; content is scaled between the dances of other songs and a song's own.
        means: genre -> (z_dan,). seconds: of every dance, :data:`d2m.reports.edit_scores.LEAST_SECONDS` or more.

    Returns:
        The four scores that could be computed.
    """
    asked = [_request(corpus, i, seconds, seed) for i in songs]
    originals = dance_all(generator, asked, rows=rows_for(len(asked), generator.net.sizes))
    danced = [
        _edited(generator, corpus, i, dance, means, source, target, seed)
        for i, dance in zip(songs, originals, strict=True)
    ]
    zeros = _other_songs([s.dance.poses["original"] for s in danced])
    anchors = {to: _anchors(corpus, to, judges, round(seconds * FPS), seed) for to in {s.to for s in danced}}
    votes = [np.array([[j.probabilities(p)[s.to] for j in judges] for p in s.danced.poses]) for s in danced]
    axes: list[tuple[float, float, float]] = []
    for s, vote in zip(danced, votes, strict=True):
        reference, real, natural = anchors[s.to]
        alike = np.mean([v[1:].mean(0) for t, v in zip(danced, votes, strict=True) if t.to == s.to], axis=0)
        poses, unwarped = s.danced.poses[0], s.danced.unwarped[0]
        raw = naturalness_of(
            poses, unwarped, real_scale(corpus, s.number), judges[0].features(poses), reference
        )  # fmt: skip
        axes.append((
            known_mean(success_by_judge(vote[0], vote[1:].mean(0), alike, real)),
            content_axis(content_of(poses, s.dance.poses["original"]), zeros),
            naturalness_axis(raw, natural),
        ))  # fmt: skip
    scores = {k: known_mean([a[n] for a in axes]) for n, k in enumerate(AXES)}
    known = {k: v for k, v in scores.items() if not np.isnan(v)}
    return {**known, "aggregate": harmonic_mean(list(scores.values()))} if len(known) == len(AXES) else known


def _request(corpus: Corpus, i: int, seconds: float, seed: int) -> SongRequest:
    """A dance to the first seconds of a song; every song has its own noise."""
    features, beats = corpus.song_features(i), corpus.song_beats(i)
    n = min(int(seconds * FPS), len(features))
    return SongRequest(features, beats[beats < n / FPS], n, seed + i)


def _edited(
    generator: DanceGenerator, corpus: Corpus, i: int, dance: SongDance, means: Mapping[str, NDArray[np.float32]],
    source: str, target: str, seed: int,
) -> _Song:  # fmt: skip
    """A song's dance, edited, and moved equally far in random directions."""
    genre = corpus.recordings[i].genre
    to = source if genre == target else target
    z = dance.z_dan["original"]
    edit = MeanShift(genre, to).from_means(means)
    length = float(np.linalg.norm(edit.shift(z)))
    directions = np.random.default_rng([seed, i]).normal(size=(_RANDOM, z.shape[1]))
    directions *= length / np.linalg.norm(directions, axis=1, keepdims=True)
    rows = np.stack([edit.transform(z, 1.0), *(z + d.astype(z.dtype) for d in directions)])
    return _Song(i, corpus.genres.index(to), dance, dance_again(generator, dance, rows, seed=seed + i))


def _other_songs(originals: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """The zero of content: every dance read as an edit of every other."""
    rows = [content_of(b, a) for k, a in enumerate(originals) for m, b in enumerate(originals) if k != m]
    return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}


def _anchors(
    corpus: Corpus, to: int, judges: Judges, frames: int, seed: int
) -> tuple[GenreReference, NDArray[np.float64], Anchors]:
    """The target genre's reference, the judges' probabilities for its real dances (judges,), and anchors."""
    genre = corpus.genres[to]
    reference = reference_of(corpus, genre, judges, frames)
    own = next(r for s in ("val", "train") if len(r := corpus.recordings_in(s, genre)))
    rows = [real_row(corpus, int(i), frames, judges, reference, seed) for i in own]
    real = np.mean([np.array(r["judged"])[:, to] for r in rows], axis=0)
    return reference, real, natural_anchors([{k: r[k] for k in ("real", "shuffled")} for r in rows])  # type: ignore[misc]
