"""Figures about time: beats against circular shifts of the music's, repetition against shuffled blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from d2m.metrics.beats import (
    AgainstShifts,
    Rhythms,
    Score,
    bailando_alignment,
    bailando_motion_beats,
    beat_coverage,
    beat_hit_rate,
    fact_alignment,
    fact_motion_beats,
    motion_beats,
    pooled_against_shifts,
)
from d2m.metrics.figure import Array, Better, DanceToSong, Figure, Floats, Ints, SongDraws, Songs, unmeasured
from d2m.metrics.repetition import MIN_BLOCKS, beat_blocks, repeats_with_music, self_similarity

Track = Callable[[Array, float], Floats]

NO_BEATS = "no beats of the music are known"


def _scored(
    songs: Songs, rhythms: dict[str, list[Rhythms]], score: Score, shifts: int, draws: SongDraws, seed: int
) -> tuple[AgainstShifts, int, Figure]:
    """A score pooled over dances, the number of songs, and a figure with its interval."""
    all_of = [r for rows in rhythms.values() for r in rows]
    pooled = pooled_against_shifts(score, all_of, shifts, seed)
    # Per song: sum of weighted scores, and of weights.
    sums = np.zeros((len(songs), 2))
    for i, name in enumerate(songs):
        for r in rhythms[name]:
            value = score(r.motion, r.music)
            if np.isfinite(value) and r.weight > 0:
                sums[i] += r.weight * value, r.weight

    def mean(chosen: Ints, _: Ints) -> float:
        total, weight = sums[chosen].sum(0)
        return float(total / weight) if weight > 0 else float("nan")

    bare = Figure(pooled.value, int((sums[:, 1] > 0).sum()), "", "higher").with_interval(draws.interval(mean))
    return pooled, bare.n, bare


def _figure(scored: tuple[AgainstShifts, int, Figure], better: Better, note: str) -> Figure:
    pooled, n, bare = scored
    z = pooled.z if np.isfinite(pooled.z) else None
    return Figure(pooled.value, n, "", better, pooled.chance, bare.low, bare.high, z, note)


def lee_beats(songs: Songs, tolerance_s: float, shifts: int, draws: SongDraws, seed: int) -> dict[str, Figure]:
    """Coverage and hit rate of measured kinematic beats (Lee et al. 2019), F-measure, and the hit rate before the warp.

    Over all songs: coverage is all beats of the dances over all of the music, the hit rate all hits over all beats of
    the dances. ``beat_f`` is their balance, mir_eval's F-measure with the same tolerance.
    """
    if not any(len(d.music_beats) for mine in songs.values() for d in mine):
        why = {k: unmeasured("", "higher", NO_BEATS) for k in ("beat_hit", "beat_f", "beat_hit_unwarped")}
        return {"beat_coverage": unmeasured("", "real", NO_BEATS), **why}

    def rhythms(weight: Callable[[Floats, Floats], float], unwarped: bool = False) -> dict[str, list[Rhythms]]:
        return {name: [r for d in mine if (r := _rhythms(d, weight, unwarped))] for name, mine in songs.items()}

    def hits(motion: Floats, music: Floats) -> float:
        return beat_hit_rate(motion, music, tolerance_s)

    within = f"within {tolerance_s:g} s; {shifts} circular shifts of the music's beats"
    by_motion, by_music = (lambda k, m: float(len(k))), (lambda k, m: float(len(m)))
    coverage, n, bare = _scored(songs, rhythms(by_music), beat_coverage, 1, draws, seed)
    # Shifts do not change the number of beats, so coverage has no chance level.
    figures = {
        "beat_coverage": Figure(
            coverage.value, n, "", "real", None, bare.low, bare.high, note="dance beats per music beat"
        ),
        "beat_hit": _figure(_scored(songs, rhythms(by_motion), hits, shifts, draws, seed), "higher", within),
        "beat_f": _figure(
            _scored(songs, rhythms(lambda k, m: 1.0), _f_measure(tolerance_s), shifts, draws, seed), "higher", within
        ),
    }
    before = rhythms(by_motion, unwarped=True)
    if any(before.values()):
        note = f"{within}; as decoded, at the units' own tempo: expected at chance"
        figures["beat_hit_unwarped"] = _figure(_scored(songs, before, hits, shifts, draws, seed), "real", note)
    else:
        figures["beat_hit_unwarped"] = unmeasured("", "real", "no dances as decoded were given")
    return figures


def _rhythms(d: DanceToSong, weight: Callable[[Floats, Floats], float], unwarped: bool = False) -> Rhythms | None:
    poses = d.unwarped if unwarped else d.poses
    if poses is None or len(poses) < 3 or not len(d.music_beats):
        return None
    seconds = min(len(poses) / d.fps, d.seconds)
    motion = motion_beats(poses[: len(d.poses)], d.fps)
    music = np.asarray(d.music_beats, np.float64)
    music = music[music < seconds]
    return Rhythms(motion, music, seconds, weight(motion, music))


def _f_measure(tolerance_s: float) -> Score:
    from mir_eval.beat import f_measure

    def score(motion: Floats, music: Floats) -> float:
        if not len(music):
            return float("nan")
        return float(f_measure(music, motion, tolerance_s)) if len(motion) else 0.0

    return score


def alignment(songs: Songs, kind: str, sigma_s: float, shifts: int, draws: SongDraws, seed: int) -> dict[str, Figure]:
    """Beat alignment of a card, ``kind`` fact or bailando: the mean over dances of the published score."""
    track, score, over = {
        "fact": (fact_motion_beats, fact_alignment, "the dance's"),
        "bailando": (bailando_motion_beats, bailando_alignment, "the music's"),
    }[kind]
    if not any(len(d.music_beats) for mine in songs.values() for d in mine):
        return {"beat_align": unmeasured("", "higher", NO_BEATS)}
    rhythms = {
        name: [Rhythms(track(d.poses, d.fps), np.asarray(d.music_beats), d.seconds) for d in mine if len(d.music_beats)]
        for name, mine in songs.items()
    }
    scored = _scored(songs, rhythms, lambda k, m: score(k, m, sigma_s), shifts, draws, seed)
    note = f"mean over {over} beats, sigma {sigma_s:g} s; {shifts} circular shifts of the music's beats"
    return {"beat_align": _figure(scored, "higher", note)}


def repetition(songs: Songs, beats_per_block: int, shuffles: int, draws: SongDraws, seed: int) -> Figure:
    """Does the dance repeat when the music repeats? Mean over dances of :func:`repeats_with_music`."""
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in songs}
    for k, (name, mine) in enumerate(songs.items()):
        for d in mine:
            if d.music_features is None:
                continue
            dance = beat_blocks(d.poses, d.fps, d.music_beats, beats_per_block)
            music = beat_blocks(d.music_features, d.fps, d.music_beats, beats_per_block)
            n = min(len(dance), len(music))
            if n < MIN_BLOCKS:
                continue
            r = repeats_with_music(self_similarity(dance[:n]), self_similarity(music[:n]), shuffles, seed + k)
            if np.isfinite(r.z) and r.z != 0:
                scores[name].append((r.value, r.chance, abs((r.value - r.chance) / r.z)))
    rows = [np.array(x) for x in scores.values() if x]
    if not rows:
        return unmeasured(
            "", "higher", f"no music features, or fewer than {MIN_BLOCKS} blocks of {beats_per_block} beats"
        )
    flat = np.concatenate(rows)
    value, chance = float(flat[:, 0].mean()), float(flat[:, 1].mean())
    spread = float(np.sqrt(np.square(flat[:, 2]).sum()) / len(flat))
    per_song = np.array([np.mean([r[0] for r in x]) if x else np.nan for x in scores.values()])
    interval = draws.interval(lambda a, _: float(np.nanmean(per_song[a])) if np.isfinite(per_song[a]).any() else np.nan)
    note = f"blocks of {beats_per_block} beats; {shuffles} shuffles of the dance's blocks"
    z = (value - chance) / spread if spread > 0 else None
    return Figure(value, len(rows), "", "higher", chance, z=z, note=note).with_interval(interval)
