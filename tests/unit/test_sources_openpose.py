"""OpenPose folders: both orders, several people in any order, drop-outs, broken and missing files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dancing import coco17, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.prepare.sources import SOURCES
from d2m.prepare.sources.follow import follow
from d2m.prepare.sources.openpose import read_openpose


def body25(points: np.ndarray) -> list[float]:
    """(14, 3) -> OpenPose's 75 numbers; feet and face unseen, the hips' middle in place 8."""
    out = np.zeros((25, 3))
    out[:8], out[9:15] = points[:8], points[8:]
    out[8] = 0.5 * (points[8] + points[11])
    return out.reshape(-1).tolist()


def coco18(points: np.ndarray) -> list[float]:
    """(14, 3) -> OpenPose's 54 numbers."""
    return np.concatenate([points, np.zeros((4, 3))]).reshape(-1).tolist()


def people(*clips: np.ndarray, sure: float = 0.9) -> list[np.ndarray]:
    """Clips (t, 14, 2) -> per frame (people, 14, 3)."""
    frames = np.stack([np.concatenate([c, np.full((*c.shape[:2], 1), sure)], -1) for c in clips], axis=1)
    return [f.astype(np.float32) for f in frames]


def write(folder: Path, frames: list[np.ndarray], order: str = "body25", first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for k, frame in enumerate(frames):
        numbers = [body25(p) if order == "body25" else coco18(p) for p in frame]
        text = json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": n} for n in numbers]})
        (folder / f"clip_{first + k:012d}_keypoints.json").write_text(text)
    return folder


@pytest.mark.parametrize("order", ["body25", "coco18"])
def test_both_orders_give_our_joints(tmp_path: Path, order: str) -> None:
    clip = picture(2, 30)
    got = SOURCES["openpose"](write(tmp_path / "c", people(clip), order, first=17))
    np.testing.assert_allclose(got.joints, clip, atol=1e-3)
    np.testing.assert_allclose(got.confidence, 0.9, atol=1e-6)
    assert got.fps == 30.0 and got.genre is None


def test_the_frame_rate_lies_in_the_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", people(picture(2, 25)))
    (folder / "fps.txt").write_text("25\n")
    assert read_openpose(folder).fps == 25.0
    (folder / "fps.txt").write_text("fast")
    with pytest.raises(D2MError, match=r"fps.txt: contains no number"):
        read_openpose(folder)
    (folder / "fps.txt").write_text("0")
    with pytest.raises(D2MError, match="fps is 0"):
        read_openpose(folder)


def test_unseen_joints_and_broken_files_are_nan(tmp_path: Path) -> None:
    frames = people(picture(2, 30))
    frames[10][0, 4] = 0.0
    frames[20] = frames[20][:0]
    folder = write(tmp_path / "c", frames)
    files = sorted(folder.glob("*.json"))
    files[30].write_text("{")
    files[31].write_text('{"people": [{"pose_keypoints_2d": [1, 2]}]}')
    files[32].write_bytes(b"\xff\xfe")
    files[40].unlink()
    files[41].write_text('{"people": [{"pose_keypoints_2d": [], "hand_left_keypoints_2d": [1, 2, 3]}]}')
    (folder / "notes_keypoints.json").write_text("no number in its name")
    clip = read_openpose(folder)
    assert len(clip.joints) == 60
    assert np.isnan(clip.joints[10, 4]).all() and np.isfinite(clip.joints[10, 3]).all()
    gone = np.flatnonzero(np.isnan(clip.joints).all(axis=(1, 2)))
    assert gone.tolist() == [20, 30, 31, 32, 40, 41] and (clip.confidence[gone] == 0).all()


def test_two_films_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", people(picture(1, 30)))
    (folder / "film2_000000000003_keypoints.json").write_text('{"people": []}')
    with pytest.raises(D2MError, match="frames of two films, 'clip_' and 'film2_'; give each film its own folder"):
        read_openpose(folder)
    (folder / "film2_000000000003_keypoints.json").rename(folder / "clip_3_keypoints.json")
    with pytest.raises(D2MError, match="are both frame 3; keep one"):
        read_openpose(folder)


def test_body_25b_is_told_and_read(tmp_path: Path) -> None:
    clip, folder = picture(2, 30), tmp_path / "c"
    folder.mkdir()
    for k, p in enumerate(clip):
        points = np.concatenate([coco17(p), p[1:2], p[:1] - 20, np.repeat(p[[13, 10]], 3, axis=0)])
        numbers = np.concatenate([points, np.full((25, 1), 0.9)], -1).reshape(-1).tolist()
        (folder / f"f_{k:03d}_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": numbers}]}))
    with pytest.raises(D2MError, match="a body not in the order body25 but in body25b; set order=body25b"):
        read_openpose(folder)
    np.testing.assert_allclose(read_openpose(folder, order="body25b").joints, clip, atol=1e-3)


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "no such folder"),
        ({}, "contains no"),
        ({"a_0001_keypoints.json": "{"}, "none of its 1 frames"),
        ({"a_0001_keypoints.json": '{"people": []}', "a_0002_keypoints.json": '{"people": []}'}, "no dancer in 2"),
        ({"a_1_keypoints.json": '{"people": []}', "a_9999999_keypoints.json": "{}"}, "too far apart"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path: Path, content: dict[str, str] | None, told: str) -> None:
    folder = tmp_path / "c"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(D2MError, match=told) as e:
        read_openpose(folder)
    assert "\n" not in str(e.value)


# --- following ---------------------------------------------------------------------------------------------------


def error(got: np.ndarray, dancer: np.ndarray) -> float:
    """Largest distance in pixels where seen."""
    return float(np.nanmax(np.abs(got[..., :2] - dancer)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), gap=st.integers(0, 25), start=st.integers(20, 60), apart=st.floats(180, 500))
def test_the_dancer_is_followed_whatever_the_order(seed: int, gap: int, start: int, apart: float) -> None:
    rng = np.random.default_rng(seed)
    dancer = picture(4, 30, seed, torso_px=120)
    other = picture(4, 30, seed + 1, torso_px=80) + np.array([apart, 40])
    frames = [f[rng.permutation(2)] for f in people(dancer, other)]
    for k in range(start, start + gap):  # the dancer is not seen, the other is
        nearest = np.abs(frames[k][:, :, :2] - dancer[k]).mean(axis=(1, 2)).argmin()
        frames[k] = np.delete(frames[k], nearest, axis=0)
    got = follow(frames, 30)
    seen = np.isfinite(got[..., :2]).all(axis=(1, 2))
    assert error(got[seen], dancer[seen]) < 1e-2
    assert seen.sum() == len(dancer) - gap


def test_two_who_cross_are_not_exchanged() -> None:
    t = np.arange(120)[:, None, None] / 119
    one = picture(4, 30, 1, 110) + np.concatenate([-350 + 700 * t, 0 * t], -1)
    two = picture(4, 30, 2, 100) + np.concatenate([350 - 700 * t, 0 * t], -1)
    frames = [f[:: (-1) ** k] for k, f in enumerate(people(one, two))]
    got = follow(frames, 30)
    assert error(got, one) < 1e-2


def test_the_larger_and_longer_one_is_the_dancer() -> None:
    dancer, judge = picture(4, 30, 1, 120), picture(4, 30, 2, 70) - np.array([400, 0])
    frames = people(dancer, judge)
    frames[0] = frames[0][1:]  # not there yet in the first frame
    assert error(follow(frames, 30), dancer) < 1e-2
    brief = [f if k < 20 else f[:1] for k, f in enumerate(people(judge, dancer))]
    assert error(follow(brief, 30)[30:], judge[30:]) < 1e-2


def test_a_dancer_lost_for_seconds_is_found_again() -> None:
    dancer, other = picture(6, 30, 3, 120), picture(6, 30, 4, 90) + np.array([500, 0])
    frames = people(dancer, other)
    for k in range(60, 110):
        frames[k] = frames[k][1:]
    got = follow(frames, 30)
    assert np.isfinite(got[110:, :, 0]).all() and error(got[110:], dancer[110:]) < 1e-2
    assert np.isnan(got[60:110, :, 0]).all()


def test_nobody_is_nobody() -> None:
    got = follow([np.zeros((0, 14, 3), np.float32)] * 5, 30)
    assert np.isnan(got[..., :2]).all() and (got[..., 2] == 0).all()
