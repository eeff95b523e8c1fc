"""What the demo claims, measured on the held-out songs: numbers next to baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import UNIT_FRAMES
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance
from d2m.data.corpus import Corpus
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.motion import boundary_jump_ratio, mean_energy, measure_motion
from d2m.reports.held_out import (
    dance_to_recording,
    energy_extremes,
    held_out_songs,
    real_scale,
    reconstruction_error,
)

Numbers = dict[str, float]


def _mean(rows: Sequence[Numbers]) -> Numbers:
    return {k: float(np.nanmean([r[k] for r in rows])) for k in rows[0]} if rows else {}


def motion_by_genre(
    generator: DanceGenerator, corpus: Corpus, songs: Sequence[int], seeds: Sequence[int]
) -> tuple[dict[str, Numbers], dict[str, dict[str, Numbers]]]:
    """The real dances, and those generated to the same songs.

    Returns:
        Genre -> "songs"; "real" and "generated", mean kinetic energy (torso lengths^2/s^2); "boundary", the jump at
        unit boundaries of unwarped dances, 1 if there is no seam; "below_threshold", the share of segments where
        every draw was too still; with a motion classifier "judged" and "judged_real", its judge's probability of the
        song's own genre for the generated dance, unwarped, and for the real one. And genre -> "real", "generated" ->
        all of :data:`d2m.metrics.motion.MOTION_METRICS`.

    The scale is the real dance's for all dances to a song. Real dances are averaged over camera yaws, generated ones
    over seeds; songs weigh the same. Both keep the dancer's hips in place.
    """
    table: dict[str, dict[str, list[float]]] = {}
    metrics: dict[str, dict[str, list[Numbers]]] = {}
    for i in songs:
        genre = corpus.recordings[i].genre
        row = table.setdefault(genre, {"boundary": [], "below_threshold": []})
        views = [corpus.song_poses(i, v) for v in range(corpus.n_views(i))]
        dances = [dance_to_recording(generator, corpus, i, s) for s in seeds]
        scale = real_scale(corpus, i)
        both = metrics.setdefault(genre, {"real": [], "generated": []})
        both["real"].append(_mean([measure_motion(p, scale) for p in views]))
        both["generated"].append(_mean([measure_motion(d.poses["original"], scale) for d in dances]))
        row["below_threshold"].append(float(np.mean([(~d.accepted).mean() for d in dances])))
        unwarped = dances[0].unwarped["original"]
        if len(unwarped) > 64:
            row["boundary"].append(boundary_jump_ratio(unwarped))
        if generator.motion_style is not None and len(unwarped) >= UNIT_FRAMES:
            row.setdefault("judged", []).append(generator.genre_of_motion(unwarped)[genre])
            row.setdefault("judged_real", []).append(generator.genre_of_motion(corpus.song_poses(i))[genre])
    motion = {g: {k: _mean(rows) for k, rows in both.items()} for g, both in sorted(metrics.items())}
    energy = {
        g: {
            "songs": float(len(metrics[g]["real"])), **{k: both[k]["energy"] for k in ("real", "generated")},
            **{k: float(np.mean(v)) for k, v in table[g].items() if v},
        }
        for g, both in motion.items()
    }  # fmt: skip
    return energy, motion


def _named(three: NDArray[np.floating]) -> dict[str, float]:
    return dict(zip(("original", "neutral", "edited"), map(float, three), strict=True))


def target_votes(generator: DanceGenerator, dance: SongDance, target: str) -> list[float]:
    """The motion judge's probability of the target genre for the original, neutral and target dance, unwarped."""
    return [generator.genre_of_motion(dance.unwarped[k])[target] for k in ("original", "neutral", "target")]


def edit_energy(
    generator: DanceGenerator, corpus: Corpus, source: str, target: str, songs: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any]:
    """Mean shift of the source genre's songs towards the target's, all noise shared.

    Returns the mean kinetic energy (torso lengths^2/s^2, the real dance's torso) of the original, the neutral and the
    target dance, the share of (song, seed) pairs whose energy rose, how many pairs, and whether strength 0 gave the
    original to the bit with the first seed of every song; with a motion classifier also "target_probability_*" of the
    three by its judge, next to the judge's held-out accuracy.
    """
    edit = MeanShift(source, target).from_means(generator.genre_means)
    energies: list[list[float]] = []
    votes: list[list[float]] = []
    exact = True
    for i in songs:
        if corpus.recordings[i].genre != source:
            continue
        for seed in seeds:
            dance = dance_to_recording(generator, corpus, i, seed, edit=edit)
            if seed == seeds[0]:
                same = dance_to_recording(generator, corpus, i, seed, edit=edit, strength=0.0)
                exact &= np.array_equal(same.poses["target"], dance.poses["original"])
            scale = real_scale(corpus, i)
            energies.append([mean_energy(dance.poses[k], scale) for k in ("original", "neutral", "target")])
            if generator.motion_style is not None:
                votes.append(target_votes(generator, dance, target))
    table = np.array(energies).reshape(-1, 3)
    judged: dict[str, float] = {}
    if votes:
        judged = {f"target_probability_{k}": v for k, v in _named(np.mean(votes, axis=0)).items()}
        judged["judge_balanced_accuracy"] = generator.motion_style_held_out.get("balanced_accuracy", float("nan"))
    means = table.mean(0) if len(table) else np.full(3, np.nan)
    return {
        "source": source,
        "target": target,
        **_named(means),
        **judged,
        "share_higher": float((table[:, 2] > table[:, 0]).mean()) if len(table) else float("nan"),
        "pairs": len(table),
        "strength_0_exact": bool(exact),
    }


def style_accuracy(generator: DanceGenerator, corpus: Corpus, songs: Sequence[int]) -> dict[str, float]:
    """Balanced accuracy over genres of the music style network's votes of 2 s windows, per song."""
    hits: dict[str, list[bool]] = {}
    for i in songs:
        votes = generator.genre_probabilities(corpus.song_features(i))
        truth = corpus.recordings[i].genre
        hits.setdefault(truth, []).append(max(votes, key=lambda g: votes[g]) == truth)
    per_genre = [float(np.mean(h)) for h in hits.values()]
    return {
        "balanced_accuracy": float(np.mean(per_genre)),
        "songs": float(len(songs)),
        "chance": 1 / len(corpus.genres),
    }


def measure_claims(generator: DanceGenerator, corpus: Corpus, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """Everything above on the held-out songs: the report of a run.

    Returns:
        "energy" and "motion" (:func:`motion_by_genre`), "reconstruction" (:func:`reconstruction_error`), "style"
        (:func:`style_accuracy`), "motion_style" (:func:`d2m.train.release.motion_style_accuracy`; {} without a motion
        classifier), "edits": :func:`edit_energy` from the most energetic genre to the least and back.
    """
    songs = held_out_songs(corpus)
    high, low = energy_extremes(corpus)
    energy, motion = motion_by_genre(generator, corpus, songs, seeds)
    return {
        "most_energetic": high,
        "least_energetic": low,
        "held_out_songs": [corpus.recordings[i].name for i in songs],
        "seeds": list(seeds),
        "energy": energy,
        "motion": motion,
        "reconstruction": reconstruction_error(generator, corpus),
        "style": style_accuracy(generator, corpus, songs),
        "motion_style": generator.motion_style_held_out,
        "edits": [edit_energy(generator, corpus, a, b, songs, seeds) for a, b in ((high, low), (low, high))],
    }
