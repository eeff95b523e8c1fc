"""The time warp: beats land on beats, time never runs backwards, and nothing freezes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.motion.beat_align import (
    cover_beats,
    dance_beat_frames,
    interval_weights,
    n_source_frames,
    time_map,
    warp,
)

RAMP = np.arange(4000.0)  # a dance whose pose is its frame number: the warp of it is the time map

beats_in_frames = st.lists(st.floats(-20, 400, allow_nan=False), max_size=30)


def test_dance_beats_are_those_of_the_unit() -> None:
    from d2m.core.skeleton import BEAT_FRAMES, UNIT_FRAMES

    two_units = [unit * UNIT_FRAMES + beat for unit in range(2) for beat in BEAT_FRAMES]
    np.testing.assert_array_equal(dance_beat_frames(8), two_units)
    assert dance_beat_frames(0).shape == (0,)


# --- the map -----------------------------------------------------------------------------------------------


@given(beats_in_frames, st.integers(0, 300))
@settings(deadline=None)
def test_the_map_increases_and_its_slope_is_that_of_an_interval(beats: list[float], n: int) -> None:
    positions = time_map(dance_beat_frames(len(beats)), beats, n)
    assert positions.shape == (n,) and np.isfinite(positions).all()
    assert (np.diff(positions) > 0).all()
    intervals = np.diff(np.unique(beats))
    intervals = intervals[intervals > 1e-6]  # closer beats are one
    if len(intervals) and n > 1:  # continuous: no step beyond what the quickest interval allows
        assert np.diff(positions).max() <= 8 / intervals.min() * (1 + 1e-9) + 1e-6


@given(st.lists(st.integers(2, 40), min_size=1, max_size=20), st.integers(0, 30))
@settings(deadline=None)
def test_every_beat_lands_on_its_beat(intervals: list[int], first: int) -> None:
    music = first + np.concatenate([[0], np.cumsum(intervals)])
    positions = time_map(dance_beat_frames(len(music)), music, int(music[-1]) + 1)
    np.testing.assert_allclose(positions[music], dance_beat_frames(len(music)), atol=1e-9)


@given(
    st.lists(st.floats(2.0, 40.0), min_size=1, max_size=20),
    st.floats(0.0, 30.0),
)
@settings(deadline=None)
def test_beats_between_frames_land_exactly_between(intervals: list[float], first: float) -> None:
    music = first + np.concatenate([[0], np.cumsum(intervals)])
    n = int(music[-1]) + 2
    positions = time_map(dance_beat_frames(len(music)), music, n)
    frames = np.arange(n)
    inside = (frames >= music[0]) & (frames <= music[-1])
    expected = np.interp(frames[inside], music, dance_beat_frames(len(music)))
    np.testing.assert_allclose(positions[inside], expected, atol=1e-9)


def test_fractional_beats_tend_to_whole_ones() -> None:
    whole, dance = np.array([2.0, 13.0, 20.0, 35.0]), dance_beat_frames(4)
    near = time_map(dance, whole + 1e-7, 40)
    np.testing.assert_allclose(near, time_map(dance, whole, 40), atol=1e-6)


def test_no_beat_leaves_the_dance_alone_and_one_beat_shifts_it() -> None:
    np.testing.assert_array_equal(time_map(dance_beat_frames(4), [], 6), np.arange(6))
    np.testing.assert_array_equal(time_map([], [4.0, 8.0], 6), np.arange(6))
    np.testing.assert_array_equal(time_map(dance_beat_frames(4), [2.5], 6), np.arange(6) + 0.5)
    np.testing.assert_array_equal(time_map([11.0], [2.0, 9.0, 20.0], 6), np.arange(6) + 9)


def test_outside_the_beats_it_goes_on_at_the_neighbours_tempo() -> None:
    positions = time_map([3, 11, 19], [4, 8, 24], 40)  # 2, then 1/2 source frames per frame
    np.testing.assert_allclose(np.diff(positions[:9]), 2)
    np.testing.assert_allclose(np.diff(positions[8:]), 0.5)
    assert positions[0] == -5 and positions[39] == 19 + 7.5


def test_beats_past_the_end_still_set_the_tempo() -> None:
    np.testing.assert_allclose(time_map([3, 11], [2, 200], 10), 3 + (np.arange(10) - 2) * 8 / 198)
    np.testing.assert_allclose(time_map([3, 11], [100, 116], 10), 3 + (np.arange(10) - 100) / 2)


def test_duplicates_count_once_and_order_does_not_matter() -> None:
    tidy = time_map([3, 11, 19], [5, 14, 22], 30)
    np.testing.assert_array_equal(time_map([3, 11, 19], [22, 5, 14, 14, 5], 30), tidy)
    np.testing.assert_array_equal(time_map([3, 3, 11, 19], [5, 14, 22], 30), tidy)


def test_beats_that_all_but_coincide_count_once() -> None:
    tidy = time_map([3, 11, 19], [5, 14, 22], 30)
    np.testing.assert_allclose(time_map([3, 11, 19], [5, 5 + 1e-9, 14, 22, 22 + 1e-300], 30), tidy)
    assert len(cover_beats([0.0, 1e-4, 2e-4], 300)) < 310  # at most a beat a frame is added


def test_what_either_has_more_is_not_used() -> None:
    short = time_map([3, 11, 19], [5, 14, 22], 60)
    np.testing.assert_array_equal(time_map([3, 11, 19, 27, 35], [5, 14, 22], 60), short)
    np.testing.assert_array_equal(time_map([3, 11, 19], [5, 14, 22, 50], 60), short)


# --- poses -------------------------------------------------------------------------------------------------


def test_equal_beats_change_nothing() -> None:
    poses = np.random.default_rng(0).standard_normal((96, 14, 2)).astype(np.float32)
    same = warp(poses, dance_beat_frames(12), dance_beat_frames(12), 96)
    np.testing.assert_array_equal(same, poses)
    assert same.dtype == np.float32


@pytest.mark.parametrize("shape", [(40,), (40, 28), (40, 14, 2), (40, 2, 7, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_trailing_shape_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    poses = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    out = warp(poses, dance_beat_frames(3), [2.5, 12.25, 20.0], 25)
    assert out.shape == (25, *shape[1:]) and out.dtype == dtype
    flat = warp(poses.reshape(40, -1), dance_beat_frames(3), [2.5, 12.25, 20.0], 25)
    np.testing.assert_array_equal(out.reshape(25, -1), flat)


@given(beats_in_frames, st.integers(1, 60), st.integers(0, 300))
@settings(deadline=None)
def test_poses_stay_between_the_poses_given(beats: list[float], n_poses: int, n: int) -> None:
    poses = np.sin(np.arange(n_poses) * 12.9898)
    out = warp(poses, dance_beat_frames(len(beats)), beats, n)
    assert len(out) == n
    assert n == 0 or (poses.min() - 1e-12 <= out.min() and out.max() <= poses.max() + 1e-12)


def test_missing_poses_are_held_as_a_last_resort() -> None:
    out = warp(RAMP[:20], dance_beat_frames(3), [10.0, 18.0, 26.0], 40)
    np.testing.assert_array_equal(out[:8], [0, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(out[7:27], RAMP[:20])
    np.testing.assert_array_equal(out[26:], 19)


def test_a_slow_interval_does_not_freeze() -> None:
    """15 and more frames between beats: every frame differs from the one before."""
    for interval in (4, 5, 14, 15, 16, 30, 60):
        out = warp(RAMP, dance_beat_frames(10), 5 + interval * np.arange(10), 5 + interval * 9 + 1)
        np.testing.assert_allclose(np.diff(out[5:]), 8 / interval, rtol=1e-9)


def test_wrong_inputs() -> None:
    with pytest.raises(ValueError, match="at least one pose"):
        warp(np.zeros((0, 28)), [3.0], [3.0], 5)
    with pytest.raises(ValueError, match="music_beats_frames"):
        time_map([3.0], [np.nan], 5)
    with pytest.raises(ValueError, match="dance_beats_frames"):
        time_map([[3.0]], [3.0], 5)
    with pytest.raises(ValueError, match="negative"):
        time_map([3.0], [3.0], -1)
    with pytest.raises(ValueError, match="at least 1"):
        interval_weights(0)


# --- covering a song ---------------------------------------------------------------------------------------

regular_beats = st.tuples(st.floats(0, 200), st.lists(st.floats(4, 30), min_size=1, max_size=20))


@given(regular_beats, st.integers(1, 400))
@settings(deadline=None)
def test_covered_songs_are_danced_from_the_first_to_the_last_frame(beats: tuple, n: int) -> None:
    first, intervals = beats
    music = first + np.concatenate([[0], np.cumsum(intervals)])
    covered = cover_beats(music, n)
    assert np.isin(music, covered).all() and (np.diff(covered) > 0).all()
    n_source = n_source_frames(covered, n)
    positions = time_map(dance_beat_frames(len(covered)), covered, n)
    assert positions[0] >= -1e-6 and positions[-1] <= n_source - 1 + 1e-6
    assert n_source - 1 < positions[-1] + 1 + 1e-6  # not more than needed
    np.testing.assert_allclose(warp(RAMP[:n_source], dance_beat_frames(len(covered)), covered, n), positions, atol=1e-6)
    # The song's own beats are danced on, each by some beat of the dance.
    danced = np.interp(music, covered, dance_beat_frames(len(covered)))
    np.testing.assert_allclose((danced - 3) % 8 % 8, 0, atol=1e-6)


def test_cover_by_hand() -> None:
    np.testing.assert_allclose(cover_beats([10, 18, 26], 45), [2, 10, 18, 26, 34, 42])
    np.testing.assert_allclose(cover_beats([3, 11, 19], 20), [3, 11, 19])
    np.testing.assert_allclose(cover_beats([4, 12, 20], 20), [-4, 4, 12, 20])  # frame 0 would be pose -1
    np.testing.assert_allclose(cover_beats([100], 120), [*range(-4, 100, 8), 100, 108, 116])
    np.testing.assert_allclose(cover_beats([2, 6, 13], 14), [-3.5, 2, 6, 13])  # at 2 a frame, 0 would be -1
    assert cover_beats([], 120).shape == (0,)


def test_cover_is_not_misled_by_one_odd_interval() -> None:
    covered = cover_beats([20, 28, 36, 44, 47], 80)  # the last beat is a mistake of the tracker
    np.testing.assert_allclose(covered[-4:], [55, 63, 71, 79])


def test_source_frames_by_hand() -> None:
    assert n_source_frames([], 40) == 40
    assert n_source_frames([3.0], 40) == 40
    assert n_source_frames([3, 11, 19], 40) == 40
    assert n_source_frames([3, 19, 35], 40) == 22  # at half speed from pose 1.5 on: 1.5 + 39 / 2 = 21
    assert n_source_frames([3, 7, 11], 40) == 76  # pose 3 in frame 3, two a frame from there: 3 + 72
    assert n_source_frames([500, 508], 40) == 1  # before the dance begins: hold its first pose
    assert n_source_frames([3, 11], 0) == 0


# --- the table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_out", [1, 2, 3, 4, 5, 9, 14, 15, 40])
def test_interval_weights(n_out: int) -> None:
    table = interval_weights(n_out)
    assert table.shape == (n_out, 9)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table.min() >= 0 and (np.count_nonzero(table, axis=1) <= 2).all()
    expected = np.linspace(0, 8, n_out) if n_out > 1 else [0.0]
    np.testing.assert_allclose(table @ np.arange(9.0), expected, atol=1e-9)
    np.testing.assert_allclose(table, table[::-1, ::-1] if n_out > 1 else table, atol=1e-9)  # symmetric in time


def test_equal_lengths_are_the_identity_and_one_source_frame_is_held() -> None:
    np.testing.assert_array_equal(interval_weights(9), np.eye(9))
    np.testing.assert_array_equal(interval_weights(5, 5), np.eye(5))
    np.testing.assert_array_equal(interval_weights(4, 1), np.ones((4, 1)))
