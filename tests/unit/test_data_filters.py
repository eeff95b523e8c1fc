"""Repairing poses: properties of every step, and clean() as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dancing import dancer, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS
from d2m.motion.kinematics import kinetic_energy, torso_length
from d2m.prepare.clean import CleanClip, clean
from d2m.prepare.filters import (
    drop_broken_frames,
    drop_jumps,
    drop_long_limbs,
    fill_gaps,
    frozen,
    long_gaps,
    runs,
    scene_cuts,
    seen,
)
from d2m.prepare.smooth import TORSO_PX, normalise_scale, one_euro, savitzky_golay, to_fps
from d2m.prepare.sources import SOURCES
from d2m.prepare.sources.clip import PoseClip, make_clip

quick = settings(max_examples=25, deadline=None)
RATES = st.sampled_from([24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 100.0, 120.0])


def clip_of(joints: np.ndarray, fps: float = 30.0, confidence: np.ndarray | None = None) -> PoseClip:
    return make_clip(joints, fps, "clip", confidence)


# --- resampling ----------------------------------------------------------------------------------------------------


@quick
@given(fps=RATES, hz=st.floats(0.2, 5.0), phase=st.floats(0, 6.3), seconds=st.floats(4, 12))
def test_resampling_keeps_sinusoids(fps: float, hz: float, phase: float, seconds: float) -> None:
    t = np.arange(round(seconds * fps)) / fps
    got = to_fps(np.sin(2 * np.pi * hz * t + phase)[:, None, None] * np.ones((1, 14, 2)), fps)
    assert got.shape == (int(np.floor(len(t) / fps * FPS + 0.5)), 14, 2)
    expected = np.sin(2 * np.pi * hz * np.arange(len(got)) / FPS + phase)
    edge = 8  # half the filter: beyond the ends nothing is known
    np.testing.assert_allclose(got[edge:-edge, 3, 1], expected[edge:-edge], atol=0.01)


@quick
@given(fps=st.sampled_from([30.0, 50.0, 60.0, 120.0]), part=st.floats(0, 1), phase=st.floats(0, 6.3))
def test_resampling_does_not_alias(fps: float, part: float, phase: float) -> None:
    hz = 8.0 + part * (0.5 * fps - 8.5)
    t = np.arange(round(10 * fps)) / fps
    got = to_fps(np.sin(2 * np.pi * hz * t + phase)[:, None, None] * np.ones((1, 14, 2)), fps)
    assert np.abs(got[10:-10]).max() < 0.01


@quick
@given(
    fps=st.sampled_from([5.0, 10.0, 15.0, 24.0, 25.0, 30.0, 60.0, 120.0]), n=st.integers(2, 400),
    slope=st.floats(-50, 50), start=st.floats(-500, 500),
)  # fmt: skip
def test_resampling_keeps_lines(fps: float, n: int, slope: float, start: float) -> None:
    """Steady motion stays steady, up to the ends, whatever the length and rate."""
    line = start + slope * np.arange(n) / fps
    got = to_fps(line[:, None, None] * np.ones((1, 14, 2)), fps)
    times = np.minimum(np.arange(len(got)) / FPS, (n - 1) / fps)
    np.testing.assert_allclose(got[:, 0, 0], start + slope * times, atol=1e-6 * (1 + abs(start) + abs(slope) * n))


def test_the_target_rate_is_left_alone() -> None:
    x = np.random.default_rng(0).normal(size=(50, 14, 3))
    np.testing.assert_array_equal(to_fps(x, 15.0), x)
    assert to_fps(x[:1], 30.0).shape == (1, 14, 3)


# --- gaps ----------------------------------------------------------------------------------------------------------


@quick
@given(data=st.data(), seed=st.integers(0, 999))
def test_gaps_in_linear_motion_are_filled_exactly(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(1, 14, 2)) * 100 + np.arange(60)[:, None, None] * rng.normal(size=(1, 14, 2)) * 3
    holes = rng.random((60, 14)) < data.draw(st.floats(0, 0.7))
    holes[[0, -1]] = False  # beyond the ends it holds instead
    got = fill_gaps(np.where(holes[..., None], np.nan, whole))
    np.testing.assert_allclose(got, whole, atol=1e-8)


@quick
@given(seed=st.integers(0, 999), share=st.floats(0, 0.8))
def test_filling_touches_nothing_that_was_seen(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    whole = dancer(2, 30, seed)
    holes = rng.random(whole.shape[:2]) < share
    got = fill_gaps(np.where(holes[..., None], np.nan, whole))
    np.testing.assert_array_equal(got[~holes], whole[~holes])
    assert np.isfinite(got[:, ~holes.all(axis=0)]).all()
    np.testing.assert_array_equal(fill_gaps(got), got)


def test_a_lost_hand_travels_with_its_dancer() -> None:
    body = dancer(2, 30) * 0 + dancer(2, 30)[:1] + np.arange(60)[:, None, None] * np.array([5.0, 0, 0])
    lost = body.copy()
    lost[30:, 4] = np.nan  # until the end
    np.testing.assert_allclose(fill_gaps(lost), body, atol=1e-9)
    never = body.copy()
    never[:, 4] = np.nan
    assert np.isnan(fill_gaps(never)[:, 4]).all() and np.isfinite(np.delete(fill_gaps(never), 4, 1)).all()


def test_long_gaps_are_named() -> None:
    known = np.ones((300, 14), bool)
    known[50:65] = False  # 0.5 s at 30 fps: just allowed
    known[100:116] = False
    known[200:230, 4] = False  # a hand for a second
    known[235:297, 10] = False  # a foot for more than two
    assert long_gaps(known, 30.0, 0.5).tolist() == [[100, 116], [235, 297]]
    assert long_gaps(known, 30.0, 5.0).tolist() == []


@given(st.lists(st.booleans(), max_size=40))
def test_runs_say_where_it_is_true(mask: list[bool]) -> None:
    back = np.zeros(len(mask), bool)
    for first, end in runs(np.array(mask, bool)):
        assert end > first and not back[max(0, first - 1)]
        back[first:end] = True
    assert back.tolist() == mask


# --- implausible frames --------------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 500), fps=st.sampled_from([15.0, 25.0, 30.0, 60.0]), flat=st.booleans())
def test_a_real_dance_is_left_alone(seed: int, fps: float, flat: bool) -> None:
    joints = picture(4, fps, seed) if flat else dancer(4, fps, seed)
    np.testing.assert_array_equal(drop_jumps(joints, fps), joints)
    np.testing.assert_array_equal(drop_broken_frames(joints), joints)
    assert (~seen(drop_long_limbs(joints, fps))).mean() < 0.01
    assert not len(scene_cuts(joints, fps))


@quick
@given(seed=st.integers(0, 500), frame=st.integers(0, 117), joint=st.integers(0, 13), n=st.integers(1, 3))
def test_leaps_are_dropped_and_nothing_else(seed: int, frame: int, joint: int, n: int) -> None:
    joints = picture(4, 30, seed)
    leap = joints.copy()
    leap[frame : frame + n, joint] += [420, -300]
    bad = np.zeros((120, 14), bool)
    bad[frame : frame + n, joint] = True
    np.testing.assert_array_equal(~seen(drop_jumps(leap, 30)), bad)


def test_a_joint_far_from_its_limb_is_dropped_even_where_it_stays() -> None:
    joints = picture(4, 30, 1)
    joints[40:60, 4] = joints[40:60, 3] + [0, 260]  # two thirds of a second: no leap that comes back
    assert (~seen(drop_long_limbs(joints, 30)))[40:60, 4].all()
    body = dancer(4, 30, 1)
    body[10, 10] = body[10, 9] + 3 * (body[10, 10] - body[10, 9])
    assert np.argwhere(~seen(drop_long_limbs(body, 30))).tolist() == [[10, 10]]
    zoom = picture(4, 30, 2) * np.linspace(0.5, 2, 120)[:, None, None]  # the camera comes nearer
    assert (~seen(drop_long_limbs(zoom, 30))).mean() < 0.01


def test_frames_of_few_joints_are_nobody() -> None:
    joints = picture(1, 30)
    joints[3, 4:] = np.nan
    joints[5, 6:] = np.nan
    assert np.flatnonzero(np.isnan(drop_broken_frames(joints)).all(axis=(1, 2))).tolist() == [3]


def test_scene_cuts_are_found() -> None:
    joints = np.concatenate([picture(2, 30, 0), picture(2, 30, 9) + np.array([400, 0])])
    assert scene_cuts(joints, 30).tolist() == [60]


# --- smoothing and scale -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth, left, lost", [(savitzky_golay, 0.6, 0.1), (one_euro, 0.8, 0.7)])
def test_smoothing_takes_noise_and_leaves_the_dance(smooth: object, left: float, lost: float) -> None:
    joints = normalise_scale(picture(6, 60, 3))[0]
    noisy = joints + np.random.default_rng(0).normal(scale=1.0, size=joints.shape)
    got = smooth(noisy, 60.0)  # type: ignore[operator]
    before, after = (np.sqrt(np.square(x - joints).mean()) for x in (noisy, got))
    assert after < left * before
    assert np.sqrt(np.square(smooth(joints, 60.0) - joints).mean()) < lost  # type: ignore[operator]
    still = np.full((40, 14, 2), 7.0)
    np.testing.assert_allclose(smooth(still, 60.0), still, atol=1e-9)  # type: ignore[operator]


def test_savitzky_golay_keeps_cubics() -> None:
    t = np.linspace(-1, 1, 60)[:, None, None] * np.ones((1, 14, 2))
    x = 3 * t**3 - t**2 + 2
    np.testing.assert_allclose(savitzky_golay(x, 60.0), x, atol=1e-9)
    np.testing.assert_array_equal(savitzky_golay(x[:3], 60.0), x[:3])


@quick
@given(
    seed=st.integers(0, 999), zoom=st.floats(0.05, 20), x=st.floats(-5000, 5000), y=st.floats(-5000, 5000),
    flat=st.booleans(),
)  # fmt: skip
def test_shift_and_zoom_do_not_change_scale_free_energy(seed: int, zoom: float, x: float, y: float, flat: bool) -> None:
    joints = picture(2, 15, seed) if flat else dancer(2, 15, seed)
    moved = joints * zoom + ([x, y] if flat else [x, y, 0.0])

    def energy(joints: np.ndarray) -> np.ndarray:
        return kinetic_energy(joints, 15) / torso_length(joints) ** 2

    np.testing.assert_allclose(energy(moved), energy(joints), rtol=1e-5, atol=1e-7)
    ours, factor = normalise_scale(moved)
    assert torso_length(ours) == pytest.approx(TORSO_PX) and factor > 0
    np.testing.assert_allclose(ours, normalise_scale(joints)[0], rtol=1e-6, atol=1e-6)


# --- all of it -----------------------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 999), fps=RATES, flat=st.booleans(), share=st.floats(0, 0.1))
def test_clean_is_idempotent(seed: int, fps: float, flat: bool, share: float) -> None:
    rng = np.random.default_rng(seed)
    joints = picture(4, fps, seed) if flat else dancer(4, fps, seed)
    joints[rng.random(joints.shape[:2]) < share] = np.nan
    once = clean(clip_of(joints, fps))
    again = clean(clip_of(once.joints, once.fps))
    np.testing.assert_allclose(again.joints, once.joints, atol=2e-4)
    assert again.dropped == again.filled == 0 and not len(again.rejected)


@quick
@given(seed=st.integers(0, 999), zoom=st.floats(0.2, 5), shift=st.floats(-900, 900))
def test_clean_forgets_where_the_camera_stood(seed: int, zoom: float, shift: float) -> None:
    near, far = (clean(clip_of(j, 30.0)) for j in (picture(3, 30, seed), picture(3, 30, seed) * zoom + shift))
    np.testing.assert_allclose(near.joints, far.joints, atol=0.05)
    assert near.scale == pytest.approx(far.scale * zoom, rel=1e-4)


def test_a_rough_recording_comes_out_near_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = picture(8, 60, 5)
    rough = truth + rng.normal(scale=1.5, size=truth.shape)
    for _ in range(40):
        rough[rng.integers(480), rng.integers(14)] += rng.normal(scale=600, size=2)
    sure = np.where(rng.random(truth.shape[:2]) < 0.05, 0.02, 0.9)
    rough[sure < 0.1] += 300
    rough[200:215] = np.nan  # a quarter of a second
    got = clean(clip_of(rough, 60.0, sure))
    expected = clean(clip_of(truth, 60.0))
    assert got.joints.shape == (120, 14, 2) and got.joints.dtype == np.float32 and np.isfinite(got.joints).all()
    away = np.linalg.norm(got.joints - expected.joints, axis=-1) / TORSO_PX
    assert np.median(away) < 0.02 and np.percentile(away, 99) < 0.12
    assert 0.05 < got.filled < 0.15 and 0 < got.dropped < 0.02 and got.seconds == 8.0


def test_what_is_invented_is_named_and_time_stays() -> None:
    joints = np.concatenate([picture(4, 30, 0), picture(4, 30, 9) + np.array([500.0, 0])])
    joints[30:60] = np.nan
    got = clean(clip_of(joints))
    assert len(got.joints) == 120 and np.isfinite(got.joints).all()
    np.testing.assert_allclose(got.rejected, [[1.0, 2.0], [3.8, 4.2]], atol=0.04)
    assert got.usable([[0, 1], [0.9, 1.1], [2, 3.7], [3, 5], [4.3, 8]]).tolist() == [True, False, True, False, True]
    whole = clean(clip_of(picture(4, 30, 0)))
    assert whole.usable(np.array([[0.0, 4.0]])).all() and isinstance(whole, CleanClip)


def test_metric_motion_is_not_scaled() -> None:
    got = clean(clip_of(dancer(4, 15)))
    np.testing.assert_allclose(clean(clip_of(dancer(4, 15), 15.0)).joints, dancer(4, 15), rtol=1e-6, atol=1e-4)
    assert got.scale == 1.0
    flat = clean(clip_of(picture(4, 15), 15.0), normalise=False)
    np.testing.assert_allclose(flat.joints, picture(4, 15), rtol=1e-6)


def broken(what: str) -> PoseClip:
    joints, rng = picture(4, 30), np.random.default_rng(0)
    if what == "short":
        return clip_of(joints[:9])
    if what == "nobody":
        return clip_of(np.full_like(joints, np.nan))
    if what == "unsure":
        return clip_of(joints, confidence=np.full((120, 14), 0.01))
    if what == "no foot":
        joints[:, 13] = np.nan
    if what == "gaps":
        joints[20:80] = np.nan
    if what == "noise":
        joints[rng.random((120, 14)) < 0.45] += rng.normal(scale=900, size=2)
    if what == "flat":
        joints[:, [1, 8, 11]] = joints[:, :1]
    return clip_of(joints)


@pytest.mark.parametrize(
    "what, told",
    [
        ("short", "too short: 0.30 s"), ("nobody", "no dancer visible"), ("unsure", "no dancer visible"),
        ("no foot", "left_ankle is hardly ever visible"), ("gaps", "too many gaps: 50%"), ("noise", "implausible: "),
        ("flat", "neck and hips always coincide"),
    ],
)  # fmt: skip
def test_what_cannot_be_repaired_is_refused_with_its_reason(what: str, told: str) -> None:
    with pytest.raises(D2MError, match=told) as e:
        clean(broken(what), name="films/a.mp4")
    assert str(e.value).startswith("films/a.mp4: ") and "\n" not in str(e.value)


def test_an_unknown_smoothing_is_refused() -> None:
    with pytest.raises(D2MError, match="smoothing=gauss"):
        clean(clip_of(picture(3, 30)), smoothing="gauss")
    for smoothing in ("savgol", "one_euro", "none"):
        assert np.isfinite(clean(clip_of(picture(3, 30)), smoothing=smoothing).joints).all()


def test_real_dances_are_hardly_touched(shared_folder: Path) -> None:
    files = [
        p for d in ("aist2d", "mocap/npz", "ballroom/pose3d") for p in sorted((shared_folder / "data" / d).glob("*"))
    ]
    assert files
    for path in files[::5]:
        got = clean(SOURCES["npz"](path), name=path.name)
        assert got.dropped < 0.005 and got.filled < 0.005 and not len(got.rejected)


def test_clips_of_npz_keep_their_rate_and_their_holes(tmp_path: Path) -> None:
    joints = dancer(2, 60).astype(np.float32)
    joints[5, 3] = np.nan
    sure = np.full((120, 14), 0.5, np.float32)
    np.savez(tmp_path / "a.npz", joints=joints, fps=60, genre="tango", confidence=sure)
    clip = SOURCES["npz"](tmp_path / "a.npz")
    np.testing.assert_array_equal(clip.joints, joints)
    assert (clip.fps, clip.genre, clip.confidence[5, 3], clip.confidence[5, 4]) == (60.0, "tango", 0.0, 0.5)
    np.savez(tmp_path / "b.npz", joints=joints, fps=60, confidence=sure[:, :3])
    with pytest.raises(D2MError, match="confidence is"):
        SOURCES["npz"](tmp_path / "b.npz")


@pytest.mark.parametrize(
    "joints, fps, sure, told",
    [
        (np.zeros((5, 13, 2)), 30, None, "poses have shape"), (np.zeros((5, 14, 4)), 30, None, "poses have shape"),
        (np.zeros((1, 14, 2)), 30, None, "1 frames"), (np.zeros((5, 14, 2)), 0, None, "fps is 0"),
        (np.zeros((5, 14, 2)), np.nan, None, "fps is nan"), (np.zeros((5, 14, 2)), 30, np.ones((5, 13)), "confidences"),
    ],
)  # fmt: skip
def test_a_clip_is_checked(joints: np.ndarray, fps: float, sure: np.ndarray | None, told: str) -> None:
    with pytest.raises(D2MError, match=told):
        make_clip(joints, fps, "x", sure)


@pytest.mark.parametrize("flat", [True, False])
def test_frozen_poses_give_no_units(flat: bool) -> None:
    joints = (picture if flat else dancer)(12.0)
    joints[90:190] = joints[90]
    joints[90:190, 4] = np.nan
    assert frozen(joints, 30.0).tolist() == [[90, 190]] and not len(frozen(joints[75:165], 30.0))
    assert [span for span in clean(clip_of(joints)).rejected.tolist() if span == [3.0, 190 / 30]]
    assert not len(clean(clip_of((picture if flat else dancer)(12.0))).rejected)
