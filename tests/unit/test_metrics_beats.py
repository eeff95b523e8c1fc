"""Beat scores on planted beats, against mir_eval and loops by hand, and next to their chance level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mir_eval.util import match_events

from d2m.core.errors import D2MError
from d2m.metrics.beats import (
    Rhythms,
    against_shifts,
    bailando_alignment,
    bailando_motion_beats,
    beat_coverage,
    beat_hit_rate,
    fact_alignment,
    fact_motion_beats,
    motion_beats,
    pooled_against_shifts,
)

MUSIC = np.arange(0.5, 30, 0.5)
RNG = np.random.default_rng(0)


def stopping_at(stops: np.ndarray, fps: float, seconds: float) -> np.ndarray:
    """14 joints that slow down to a standstill at the given times and move between them, (t, 14, 2)."""
    t = np.arange(int(seconds * fps)) / fps
    phase = np.interp(t, np.r_[stops[0] - 0.5, stops, stops[-1] + 0.5], np.arange(len(stops) + 2.0))
    x = np.cos(np.pi * phase)  # its speed is zero at every stop
    return 100 * np.ones((1, 14, 2)) + x[:, None, None] * RNG.uniform(1, 2, (1, 14, 2))


# Where intervals differ, smoothing moves a minimum into the longer one.
@pytest.mark.parametrize(
    ("track", "fps", "within"),
    [(motion_beats, 15.0, 0.05), (fact_motion_beats, 60.0, 0.02), (bailando_motion_beats, 60.0, 0.05)],
)
def test_planted_stops_are_found(track, fps: float, within: float) -> None:  # type: ignore[no-untyped-def]
    stops = np.cumsum(RNG.uniform(0.45, 0.7, 30)) + 1
    found = track(stopping_at(stops, fps, stops[-1] + 1.5), fps)
    inside = stops[2:-2]
    assert np.abs(found[:, None] - inside).min(0).max() < within
    assert len(found) <= len(stops) + 2


def test_a_perfect_dance_has_the_best_scores_and_a_late_one_does_not() -> None:
    for score in (fact_alignment, bailando_alignment, beat_hit_rate, beat_coverage):
        assert score(MUSIC, MUSIC) == 1
    late = MUSIC + 0.1
    assert fact_alignment(late, MUSIC) == pytest.approx(math.exp(-2)) == bailando_alignment(late, MUSIC)
    assert beat_hit_rate(late, MUSIC) == 0 and beat_hit_rate(MUSIC + 0.07, MUSIC) == 1
    assert beat_hit_rate(late, MUSIC, tolerance_s=0.1) == 1


def test_what_each_score_averages_over() -> None:
    one, busy = MUSIC[:1], np.sort(np.r_[MUSIC, MUSIC + 0.25])
    assert fact_alignment(one, MUSIC) == 1 and bailando_alignment(one, MUSIC) < 0.05
    assert bailando_alignment(busy, MUSIC) == 1 and fact_alignment(busy, MUSIC) == pytest.approx(0.5, abs=1e-4)
    assert beat_coverage(busy, MUSIC) == 2 and beat_coverage(one, MUSIC) == pytest.approx(1 / 59)


def test_published_scores_by_an_independent_loop() -> None:
    """As the papers write them, in frames at 60 per second, sigma 3."""
    motion = np.sort(RNG.uniform(0, 30, 40))
    fact = 0.0
    for x in motion:
        fact += math.exp(-min((60 * x - 60 * y) ** 2 for y in MUSIC) / (2 * 3**2))
    assert fact_alignment(motion, MUSIC) == pytest.approx(fact / len(motion))
    bailando = 0.0
    for y in MUSIC:
        bailando += math.exp(-min((60 * x - 60 * y) ** 2 for x in motion) / 2 / 9)
    assert bailando_alignment(motion, MUSIC) == pytest.approx(bailando / len(MUSIC))


def test_hits_are_mir_evals_matches_where_beats_are_apart() -> None:
    motion = MUSIC[::2] + RNG.normal(0, 0.07, len(MUSIC[::2]))
    assert beat_hit_rate(motion, MUSIC) == pytest.approx(len(match_events(MUSIC, np.sort(motion), 0.07)) / len(motion))


def test_no_beats() -> None:
    for score in (fact_alignment, beat_hit_rate):
        assert math.isnan(score([], MUSIC)) and score(MUSIC, []) == 0
    assert math.isnan(bailando_alignment(MUSIC, [])) and bailando_alignment([], MUSIC) == 0
    assert math.isnan(beat_coverage(MUSIC, [])) and beat_coverage([], MUSIC) == 0
    assert len(motion_beats(np.ones((30, 14, 2)), 15)) == 0 == len(fact_motion_beats(np.ones((30, 14, 2)), 15))


def test_what_is_no_beat_or_no_dance_is_refused() -> None:
    with pytest.raises(D2MError, match="finite seconds"):
        beat_hit_rate([np.nan], MUSIC)
    for poses in (np.ones((0, 14, 2)), np.ones((1, 14, 2)), np.full((9, 14, 2), np.nan)):
        with pytest.raises(D2MError, match="three frames"):
            motion_beats(poses, 15)
    for seconds, why in ((0.0, "length above 0"), (10.0, "crop them alike")):
        with pytest.raises(D2MError, match=why):
            against_shifts(beat_hit_rate, MUSIC, MUSIC, seconds)


@pytest.mark.parametrize("score", [fact_alignment, bailando_alignment, beat_hit_rate])
def test_random_dances_have_z_about_zero(score) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    z = []
    for seed in range(20):
        songs = [Rhythms(np.sort(rng.uniform(0, 30, 45)), MUSIC, 30.0) for _ in range(3)]
        z.append(pooled_against_shifts(score, songs, 50, seed).z)
    assert abs(np.mean(z)) < 0.7 and 0.5 < np.std(z) < 1.7


def test_a_shifted_tempo_is_at_chance_and_a_dance_on_the_beat_far_above() -> None:
    own_tempo = np.arange(0, 30, 8 / 15)  # units as decoded, 112.5 BPM, to music of 120
    apart = pooled_against_shifts(beat_hit_rate, [Rhythms(own_tempo + x, MUSIC, 30.0) for x in (0.0, 0.1, 0.2)], 200)
    assert abs(apart.z) < 2.5 and apart.value == pytest.approx(apart.chance, abs=0.05)
    noisy = [Rhythms(MUSIC + RNG.normal(0, 0.03, len(MUSIC)), MUSIC, 30.0) for _ in range(6)]
    on = pooled_against_shifts(beat_hit_rate, noisy, 200)
    assert on.value > 0.9 and on.chance == pytest.approx(4 * 0.07, abs=0.06) and on.z > 3
    # More songs, more certainty.
    assert on.z > pooled_against_shifts(beat_hit_rate, noisy[:1], 200).z


def test_one_song_and_a_pool_of_one_are_the_same_and_seeded() -> None:
    motion = np.sort(RNG.uniform(0, 30, 30))
    one = against_shifts(beat_hit_rate, motion, MUSIC, 30.0, seed=4)
    assert one == pooled_against_shifts(beat_hit_rate, [Rhythms(motion, MUSIC, 30.0)], seed=4) and one.n == 200
    nothing = against_shifts(beat_hit_rate, [], MUSIC, 30.0)
    assert math.isnan(nothing.value) and math.isnan(nothing.z)
    # What no shift changes has no z.
    assert math.isnan(against_shifts(beat_coverage, motion, MUSIC, 30.0).z)
