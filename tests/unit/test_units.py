"""Planted beats land on frames 3, 11, 19, 27; cut units can be put back together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.skeleton import BEAT_FRAMES, FPS
from d2m.motion import units as u


def dancer(beats: np.ndarray, seconds: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(t, 14, 2): every joint swings between two ends and rests at the beats; 1 cycle per 2 beats."""
    t = np.arange(round(seconds * FPS)) / FPS
    # Beyond the known beats the phase goes on at the end rates.
    first, last = beats[1] - beats[0], beats[-1] - beats[-2]
    grid = np.concatenate([beats[0] - first * np.arange(9, 0, -1), beats, beats[-1] + last * np.arange(1, 10)])
    phase = np.interp(t, grid, np.arange(len(grid)) - 9.0)
    rng = np.random.default_rng(seed)
    reach = rng.uniform(5, 40, (14, 2))
    swing = np.cos(np.pi * phase)[:, None, None] * reach
    return swing + rng.normal(0, 60, (14, 2)) + noise * rng.normal(size=(len(t), 14, 2))


def beats_at(period: float, seconds: float, start: float = 0.4, jitter: float = 0.0, seed: int = 0) -> np.ndarray:
    n = int((seconds - start) / period)
    steps = period * (1 + jitter * np.random.default_rng(seed).uniform(-1, 1, n))
    return start + np.concatenate([[0.0], np.cumsum(steps)[:-1]])


@given(st.floats(0.02, 20.0))
def test_folded_periods_are_octaves_within_reach(period: float) -> None:
    folded = u.fold_period(period)
    assert u.PERIOD_RANGE_S[0] - 0.03 <= folded <= u.PERIOD_RANGE_S[1]
    octaves = np.log2(folded / period)
    assert octaves == pytest.approx(round(octaves), abs=1e-9)


@pytest.mark.parametrize("period", [0.0, -1.0, float("nan"), float("inf")])
def test_a_period_is_a_positive_number(period: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        u.fold_period(period)


@pytest.mark.parametrize("period", [0.4, 0.5, 0.62, 0.75])
@pytest.mark.parametrize("known", [True, False])
def test_planted_beats_are_tracked(period: float, known: bool) -> None:
    truth = beats_at(period, 20.0, jitter=0.03)
    found = u.track_beats(dancer(truth, 20.0, noise=0.3), period_s=period if known else None)
    inner = truth[1:-1]
    assert np.abs(inner[:, None] - found[None]).min(axis=1).max() < 0.07
    assert len(found) <= len(truth) + 2
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("octave", [0.5, 2.0])
def test_a_double_or_half_tempo_prior_is_folded_to_the_dancer(octave: float) -> None:
    truth = beats_at(0.5, 20.0)
    found = u.track_beats(dancer(truth, 20.0), period_s=0.5 * octave)
    assert np.median(np.diff(found)) == pytest.approx(0.5, abs=0.02)


def test_nothing_is_tracked_in_stillness() -> None:
    assert len(u.track_beats(np.zeros((100, 14, 2)))) == 0
    assert len(u.track_beats(np.zeros((100, 14, 2)), period_s=0.5)) == 0
    assert len(u.track_beats(np.zeros((2, 14, 2)))) == 0
    assert len(u.dynamic_beats(np.empty(0), 30.0)) == 0


def test_dynamic_beats_bridge_a_missing_one() -> None:
    strength = np.zeros(600)
    strength[10:600:30] = 1.0
    strength[310] = 0.0
    assert u.dynamic_beats(strength, 30.0).tolist() == list(range(10, 600, 30))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.3, 1.0), min_size=6, max_size=30),
    st.floats(0.0, 2.0),
    st.integers(0, 60),
)
def test_planted_beats_land_on_the_beat_frames(intervals: list[float], start: float, more: int) -> None:
    beats = start + np.concatenate([[0.0], np.cumsum(intervals)])
    t = np.arange(int(beats[-1] * FPS) + 2 + more) / FPS
    cut = u.cut_units(t[:, None] * [1.0, -2.0], FPS, beats)
    # The "pose" is the time itself, so a frame shows when it was taken.
    np.testing.assert_allclose(cut.units[:, BEAT_FRAMES, 0], cut.beats, atol=1e-4)
    np.testing.assert_allclose(cut.units[..., 1], -2 * cut.units[..., 0], atol=1e-4)
    assert np.isin(cut.beats.round(9), beats.round(9)).all()
    np.testing.assert_allclose(cut.units[:, 0, 0], cut.spans[:, 0], atol=1e-4)
    if len(cut.units):
        assert cut.spans[0, 0] >= 0 and cut.units.max() <= t[-1] + 1e-4
        assert (np.diff(cut.units[..., 0].ravel()) > 0).all()  # time never stands or runs back
        np.testing.assert_allclose(cut.spans[1:, 0], cut.spans[:-1, 1])  # one run: no gap
        assert cut.runs.tolist() == [[0, len(cut.units)]]
    # Nothing that fits is lost: at most one beat before, a unit's worth after.
    assert len(cut.units) >= (len(beats) - 2) // 4 - 1


@pytest.mark.parametrize("interval, breaks", [(0.2, True), (0.28, False), (1.05, False), (1.2, True), (5.0, True)])
def test_runs_break_at_implausible_intervals(interval: float, breaks: bool) -> None:
    beats = np.concatenate([0.5 + 0.5 * np.arange(9), 4.5 + interval + 0.5 * np.arange(9)])
    t = np.arange(int(beats[-1] * FPS) + 20) / FPS
    cut = u.cut_units(t[:, None], FPS, beats)
    assert cut.runs.tolist() == ([[0, 2], [2, 2]] if breaks else [[0, 4]])
    if breaks:  # half an interval after the last beat to three eighths before the next run's first
        assert cut.spans[2, 0] - cut.spans[1, 1] == pytest.approx(0.5 + interval - 5 / 8 * 0.5 - 3 / 8 * 0.5)


@pytest.mark.parametrize("beats", [[], [1.0], [1.0, 1.5, 2.0], [0.0, 5.0, 10.0, 15.0, 20.0]])
def test_too_few_beats_make_no_unit(beats: list[float]) -> None:
    cut = u.cut_units(np.zeros((400, 14, 2)), FPS, np.array(beats))
    assert cut.units.shape == (0, 32, 28) and cut.runs.shape == (0, 2) and cut.spans.shape == (0, 2)


def unwarp_units(units: np.ndarray, beats: np.ndarray, fps: float = FPS) -> tuple[np.ndarray, int]:
    """The inverse of `cut_units` for one run: units back to the recording's own time.

    Args:
        units: (n, 32, d) consecutive.
        beats: (n, 4) seconds.

    Returns:
        Poses (t, d) on the recording's frames, and the number of the first of these frames.
    """
    flat = np.asarray(units).reshape(len(units) * 32, -1)
    beat_times = np.asarray(beats, np.float64).reshape(-1)
    times = u._warp_map(beat_times, np.arange(len(flat)))
    first, last = int(np.ceil(times[0] * fps - 1e-9)), int(np.floor(times[-1] * fps + 1e-9))
    positions = np.interp(np.arange(first, last + 1) / fps, times, np.arange(len(flat)))
    return u.resample(flat, positions).astype(np.float32), first


def test_units_go_back_to_their_own_time() -> None:
    beats = beats_at(0.52, 16.0, jitter=0.1)
    poses = dancer(beats, 16.0)
    cut = u.cut_units(poses, FPS, beats)
    back, first = unwarp_units(cut.units, cut.beats)
    truth = poses.reshape(len(poses), -1)[first : first + len(back)]
    assert len(back) / FPS == pytest.approx(cut.spans[-1, 1] - cut.spans[0, 0], abs=0.15)
    moved = np.abs(np.diff(truth, axis=0)).mean()
    assert np.abs(back - truth)[1:-1].mean() < 0.1 * moved


def test_resampling_is_exact_on_frames_and_on_smooth_curves() -> None:
    t = np.arange(60) / FPS
    x = np.stack([np.sin(2 * np.pi * 1.3 * t), np.cos(2 * np.pi * 0.7 * t)], 1)
    np.testing.assert_allclose(u.resample(x, np.arange(60)), x, atol=1e-12)
    at = np.linspace(5, 50, 70)
    exact = np.stack([np.sin(2 * np.pi * 1.3 * at / FPS), np.cos(2 * np.pi * 0.7 * at / FPS)], 1)
    np.testing.assert_allclose(u.resample(x, at), exact, atol=2e-3)


def test_resampling_to_a_coarser_clock_does_not_alias() -> None:
    t = np.arange(600)
    fast = np.sin(2 * np.pi * 0.45 * t)[:, None]
    coarse = u.resample(fast, np.arange(0, 599, 8.0))[5:-5]
    assert np.abs(coarse).max() < 0.15 < 0.9 < np.abs(fast[40:560:8]).max()
    slow = np.sin(2 * np.pi * 0.005 * t)[:, None]
    np.testing.assert_allclose(u.resample(slow, np.arange(0, 599, 8.0)), slow[:599:8], atol=0.02)


def test_one_and_two_frames_can_be_resampled() -> None:
    assert u.resample(np.ones((1, 3)), np.array([0.0, 0.0])).tolist() == [[1.0] * 3] * 2
    np.testing.assert_allclose(u.resample(np.array([[0.0], [2.0]]), np.array([0.0, 0.5, 1.0]))[:, 0], [0, 1, 2])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=14), st.integers(0, 10))
def test_units_left_out_break_their_runs(keep: list[bool], at: int) -> None:
    n = len(keep)
    first = min(at, n)
    runs = np.array([r for r in ([0, first], [first, n - first]) if r[1]])
    cut = u.UnitCut(
        np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 32, 2), np.float32),
        np.arange(4.0 * n).reshape(n, 4), np.arange(2.0 * n).reshape(n, 2), runs,
    )  # fmt: skip
    left = u.select_units(cut, keep)
    assert left.units[:, 0, 0].tolist() == np.flatnonzero(keep).tolist()
    assert left.runs[:, 1].sum() == sum(keep) and (left.runs[:, 1] > 0).all()
    follows = np.zeros(len(left.units), bool)
    for a, m in left.runs:
        follows[a + 1 : a + m] = True
    old = left.units[:, 0, 0]
    expected = [i > 0 and old[i] == old[i - 1] + 1 and old[i] != first for i in range(len(old))]
    assert follows.tolist() == expected


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.4, 0.75), st.floats(0.0, 0.12), st.integers(9, 24), st.integers(0, 1000), st.floats(0.2, 1.2)
)  # fmt: skip
def test_unit_to_sequence_to_unit(period: float, jitter: float, count: int, seed: int, hz: float) -> None:
    """Units joined to a sequence, unwarped to the recording's clock and cut again are the same units."""
    rng = np.random.default_rng(seed)
    beats = 0.8 + np.cumsum(period * (1 + jitter * rng.uniform(-1, 1, count)))
    t = np.arange(round((beats[-1] + 1.5) * FPS)) / FPS
    phase = rng.uniform(0, 6, 4)
    poses = np.sin(2 * np.pi * hz * t[:, None] + phase)
    cut = u.cut_units(poses, FPS, beats)
    assert len(cut.units) >= 2 and cut.runs.tolist() == [[0, len(cut.units)]]
    sequence, first = unwarp_units(cut.units, cut.beats)
    again = u.cut_units(sequence, FPS, cut.beats.reshape(-1) - first / FPS)
    n = len(again.units)
    assert n >= len(cut.units) - 1
    offset = int(np.argmin(np.abs(cut.beats[:, 0] - (again.beats[0, 0] + first / FPS)))) if n else 0
    if n and np.isclose(cut.beats[offset, 0], again.beats[0, 0] + first / FPS):
        np.testing.assert_allclose(again.units[:, 4:-4], cut.units[offset : offset + n, 4:-4], atol=0.08)
