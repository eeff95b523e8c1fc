"""Intervals over songs, on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from d2m.stats.bootstrap import paired_difference, percentile_interval, song_bootstrap


def test_the_interval_of_a_mean_agrees_with_scipy() -> None:
    x = np.random.default_rng(0).normal(2.0, 1.0, 40)
    ours = song_bootstrap(lambda i: float(x[i].mean()), 40, n=4000)
    theirs = bootstrap((x,), np.mean, n_resamples=4000, method="percentile", random_state=1).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.03) and ours.high == pytest.approx(theirs.high, abs=0.03)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        x = rng.normal(size=30)
        low, high = song_bootstrap(lambda i, x=x: float(x[i].mean()), 30, n=200, level=0.8, seed=seed)
        hits += low <= 0 <= high
    assert 0.65 <= hits / 100 <= 0.9


def test_a_seed_is_an_interval_and_undefined_draws_are_passed_over() -> None:
    x = np.arange(5.0)

    def first_only(i: np.ndarray) -> float:
        return float(x[i].mean()) if 0 in i else float("nan")

    assert song_bootstrap(first_only, 5, seed=3) == song_bootstrap(first_only, 5, seed=3)
    assert np.isfinite(song_bootstrap(first_only, 5)).all()
    assert np.isnan(song_bootstrap(first_only, 1)).all()
    assert np.isnan(percentile_interval([np.nan, np.nan])).all()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        song_bootstrap(lambda i: 0.0, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        percentile_interval([1.0], 1.0)


def test_paired_difference_finds_a_small_shift_that_songs_share() -> None:
    rng = np.random.default_rng(2)
    songs = 10 * rng.normal(size=20)  # songs differ far more than systems
    mean, interval, p = paired_difference(songs + 0.5 + 0.1 * rng.normal(size=20), songs)
    assert mean == pytest.approx(0.5, abs=0.1) and interval.low > 0.3 and p < 0.001
    back = paired_difference(songs, songs + 0.5)
    assert back[0] == pytest.approx(-0.5)


def test_paired_difference_of_nothing_is_uniform_and_of_few_songs_is_never_small() -> None:
    rng = np.random.default_rng(3)
    p = np.array([paired_difference(rng.normal(size=12), rng.normal(size=12), n=99, seed=k)[2] for k in range(80)])
    assert np.mean(p <= 0.1) < 0.22 and 0.35 < p.mean() < 0.65
    assert paired_difference([1.0, 1.1, 0.9], [0.0, 0.0, 0.0])[2] > 0.2  # 2 of 8 flips
    assert paired_difference(np.ones(3), np.ones(3))[2] == 1


def test_paired_numbers_have_to_match() -> None:
    for a, b in (([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])):
        with pytest.raises(ValueError, match="shapes"):
            paired_difference(a, b)
    with pytest.raises(ValueError, match="not finite"):
        paired_difference([1.0, np.nan], [0.0, 0.0])
