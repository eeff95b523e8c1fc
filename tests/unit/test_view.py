"""Poses between frames, and the one scale and floor of all panels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.draw.view import box, check_panels, fit, poses_at
from tests.figures import joint, star, swaying

SIZE, TOP, BOTTOM = (512, 512), 43, 36


def test_panels_are_checked_and_flattened_poses_understood() -> None:
    a, b = check_panels([star(4), star(3).reshape(3, 28).astype(np.float32)])
    assert a.shape == (4, 14, 2) and b.shape == (3, 14, 2) and b.dtype == np.float64
    assert np.array_equal(a[:3], b)


def test_a_joint_with_one_unknown_coordinate_is_unknown() -> None:
    poses = star(2)
    poses[0, 4, 0], poses[1, 7, 1] = np.nan, np.inf
    (out,) = check_panels([poses])
    assert np.isnan(out[0, 4]).all() and np.isnan(out[1, 7]).all() and np.isnan(out).sum() == 4
    assert np.isfinite(poses[0, 4, 1])  # the caller's array is left alone


@pytest.mark.parametrize(
    "panels",
    [[], [np.zeros((0, 14, 2))], [np.zeros((3, 13, 2))], [np.zeros((3, 14, 3))], [np.zeros(28)], ["abc"], [[[1], 2]]],
)
def test_what_is_no_dance_is_refused(panels: list) -> None:
    with pytest.raises(D2MError, match="give"):
        check_panels(panels)


def test_one_caption_a_panel() -> None:
    with pytest.raises(D2MError, match="2 captions for 1 panels"):
        check_panels([star()], ["a", "b"])


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_interpolation_passes_through_every_given_pose(t: int, seed: int) -> None:
    poses = np.random.default_rng(seed).normal(size=(t, 14, 2)) * 100
    between = poses_at(poses, np.arange(2 * t) / 2)
    assert np.array_equal(between[::2], poses)
    assert np.array_equal(between[-1], poses[-1])  # held beyond the end


def test_interpolation_reproduces_straight_lines_everywhere_and_parabolas_inside() -> None:
    t = np.arange(10.0)
    at = np.linspace(0, 9, 181)
    slope = np.random.default_rng(0).normal(size=(14, 2))
    line = t[:, None, None] * slope
    assert np.allclose(poses_at(line, at), at[:, None, None] * slope)
    inside = at[(at >= 1) & (at <= 8)]
    assert np.allclose(poses_at(line * t[:, None, None], inside), inside[:, None, None] ** 2 * slope)


def test_interpolation_is_nearer_the_truth_than_straight_lines() -> None:
    fine = swaying(121)
    given_poses, between = fine[::2], fine[1:-1:2]
    error = np.abs(poses_at(given_poses, np.arange(60) + 0.5) - between)[1:-1].max()
    assert error < 0.25 * np.abs((given_poses[:-1] + given_poses[1:]) / 2 - between)[1:-1].max()


def test_times_outside_hold_the_ends() -> None:
    poses = swaying(5)
    out = poses_at(poses, np.array([-3.0, 4.0, 99.0]))
    assert np.array_equal(out, poses[[0, 4, 4]])
    assert np.array_equal(poses_at(poses[:1], np.array([0.0, 0.5, 7.0])), poses[[0, 0, 0]])


def test_an_unknown_joint_spreads_to_its_neighbours_only() -> None:
    poses = swaying(7)
    clean = poses_at(poses, np.arange(13) / 2)
    poses[3, 4] = np.nan
    out = poses_at(poses, np.arange(13) / 2)
    missing = np.isnan(out).all(-1)
    assert np.argwhere(missing).tolist() == [[5, 4], [6, 4], [7, 4]]
    others = np.arange(14) != 4
    assert np.array_equal(out[:, others], clean[:, others])


def pixels(dance: np.ndarray, size: tuple[int, int] = SIZE, top: int = TOP, bottom: int = BOTTOM) -> tuple:
    view = fit([dance], size, top, bottom)
    return view.place(dance, 0), view


@given(
    st.integers(0, 999), st.floats(0.01, 100), st.floats(-1e4, 1e4),
    st.tuples(st.integers(64, 800), st.integers(64, 800)),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_every_dance_of_any_size_anywhere_fits(seed: int, scale: float, shift: float, size: tuple[int, int]) -> None:
    dance = swaying(20, seed) * scale + shift
    out, view = pixels(dance, size, 12, 10)
    thick, head = 0.1 * view.torso, 0.235 * view.torso  # half a limb, the head's radius
    assert out[..., 0].min() >= thick and out[..., 0].max() <= size[0] - thick
    assert out[:, 0, 1].min() - head >= 12 and out[..., 1].max() + thick <= size[1] - 10
    # Nor is room wasted: the dance fills the panel in one direction.
    spans = np.ptp(out[..., 0]) / size[0], np.ptp(out[..., 1]) / (size[1] - 22)
    assert max(spans) > 0.55


def test_one_rare_leap_with_raised_arms_fits() -> None:
    dance = swaying(900)
    dance[450:455, :, 1] -= 45
    for wrist in ("right_wrist", "left_wrist"):
        dance[450:455, joint(wrist)] = (0, -155)
    out, _ = pixels(dance)
    assert out[..., 1].min() >= TOP


def test_a_stretch_to_the_side_of_a_narrow_dance_fits() -> None:
    dance = star(600)
    dance[..., 0] *= 0.3
    dance[300:303, joint("left_wrist")] = (85, -50)
    out, _ = pixels(dance)
    assert out[..., 0].max() < SIZE[0]


def test_a_joint_thrown_out_of_the_world_does_not_shrink_the_dance() -> None:
    dance = swaying(300)
    _, normal = pixels(dance)
    dance[100, 4], dance[200, 10] = (1e6, -1e6), (-1e7, 3e8)
    _, view = pixels(dance)
    assert view.scale == pytest.approx(normal.scale, rel=0.05)


def test_frames_with_an_unknown_joint_count() -> None:
    """A wrist never seen but in one frame must not make that frame the whole dance."""
    dance = swaying(60)
    dance[30:, :, 1] += 60
    dance[1:, joint("left_wrist")] = np.nan
    (dance,) = check_panels([dance])
    out, _ = pixels(dance)
    assert np.nanmax(out[..., 1]) < SIZE[1] - BOTTOM


def test_a_dance_without_known_joints_or_without_extent_has_a_view() -> None:
    nothing = np.full((3, 14, 2), np.nan)
    assert box(nothing) == (0, 0, 0, 0, 0)
    for dances in ([nothing], [nothing, star(2)], [np.zeros((2, 14, 2))], [np.full((1, 14, 2), 7.0)]):
        view = fit(dances, SIZE, TOP, BOTTOM)
        assert np.isfinite(view.scale) and np.isfinite(view.anchor).all() and np.isfinite(view.torso)


def test_panels_share_scale_and_floor_and_are_centred_each() -> None:
    tall, small = star(2), star(2) * 0.5 + [3000, -200]
    view = fit([tall, small], SIZE, TOP, BOTTOM)
    a, b = view.place(tall, 0), view.place(small, 1)
    assert np.ptp(b[..., 1]) == pytest.approx(0.5 * np.ptp(a[..., 1]))
    assert a[..., 1].max() == pytest.approx(b[..., 1].max())
    for panel in (a, b):
        assert (panel[..., 0].min() + panel[..., 0].max()) / 2 == pytest.approx(SIZE[0] / 2)


def test_nothing_is_mirrored_or_turned() -> None:
    out, view = pixels(star())
    assert view.scale > 0
    assert out[0, joint("right_wrist"), 0] < out[0, joint("left_wrist"), 0]
    assert out[0, joint("nose"), 1] < out[0, joint("left_ankle"), 1]
