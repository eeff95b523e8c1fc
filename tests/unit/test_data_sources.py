"""The manifest, poses from npz, and the camera: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS
from d2m.data.manifest import read_manifest
from d2m.motion.camera import centre, floor_height, project
from d2m.motion.kinematics import hip_midpoint
from d2m.prepare.smooth import to_fps
from d2m.prepare.sources.npz import canonical_joint, read_npz_clip, select_joints


def write(root: Path, text: str) -> Path:
    (root / "manifest.csv").write_text(text, encoding="utf-8")
    return root


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def pose(t: int = 30, c: int = 3, j: int = 14) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(t, j, c)).astype(np.float32)


# --- manifest ------------------------------------------------------------------------------------------------


def test_a_manifest_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "\ufeffname, genre,audio,pose,group,start,end,licence,colour\n"
        "a,waltz,audio/a b.ogg,p/a.npz,dancer 1,1.5,20,CC BY,blue\n"
        "\n"
        'b,"salsa, fast",,p/b.npz,,,,,\n',
    )
    a, b = read_manifest(tmp_path)
    assert (a.audio, a.pose) == (tmp_path / "audio/a b.ogg", tmp_path / "p/a.npz")
    assert (a.group, a.start_s, a.end_s, a.licence) == ("dancer 1", 1.5, 20.0, "CC BY")
    assert (b.genre, b.audio, b.group, b.start_s, b.end_s) == ("salsa, fast", None, "b", 0.0, None)


def test_one_song_is_one_group(tmp_path: Path) -> None:
    write(tmp_path, "name,genre,audio,pose\na,x,s.ogg,1.npz\nb,x,./s.ogg,2.npz\nc,x,t.ogg,3.npz\n")
    groups = [r.group for r in read_manifest(tmp_path)]
    assert groups[0] == groups[1] != groups[2]


def test_line_breaks_do_not_reach_tables(tmp_path: Path) -> None:
    write(tmp_path, 'name,genre,audio,pose,group,licence\n"a\nb","slow\nwaltz",,p,,"CC\r\nBY",,\n')
    (only,) = read_manifest(tmp_path)
    assert (only.name, only.genre, only.group, only.licence) == ("a b", "slow waltz", "a b", "CC BY")


@pytest.mark.parametrize(
    "text, told",
    [
        ("name,genre,pose\na,x,p\n", "no column audio"),
        ("", "no column name"),
        ("name,genre,audio,pose\n", "no recording"),
        ("name,genre,audio,pose\na,x,,p\na,y,,q\n", "line 3: the name 'a' is used twice"),
        ("name,genre,audio,pose\na,,s,p\n", "line 2: genre is empty"),
        ("name,genre,audio,pose\na,x\n", "pose is empty"),
        ("name,genre,audio,pose,start\na,x,s,p,soon\n", "start is 'soon'"),
        ("name,genre,audio,pose,end\na,x,s,p,-1\n", "end is '-1'"),
        ("name,genre,audio,pose,end\na,x,s,p,nan\n", "end is 'nan'"),
        ("name,genre,audio,pose,start,end\na,x,s,p,5,5\n", "end 5.0 is not after start 5.0"),
        ("name,genre,audio,pose\na,x,,p\n\n\na,y,,q\n", "line 5: the name 'a' is used twice"),
        ("name,genre,audio,pose,licence\na,x,s,p,CC BY, Anna\n", "line 2: more values than columns"),
        ("name,genre,audio,pose,genre\na,x,s,p,y\n", "column genre appears twice"),
        ("name,genre,audio,pose\na,x,s\0,p\n", "line 2: contains a NUL"),
    ],
)
def test_a_bad_manifest_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(D2MError, match=told) as e:
        read_manifest(write(tmp_path, text))
    assert "manifest.csv" in str(e.value) and "\n" not in str(e.value)


def test_a_missing_or_binary_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(D2MError, match="no such file"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(D2MError, match="its first line must name name, genre, audio, pose"):
        read_manifest(tmp_path)


# --- npz -----------------------------------------------------------------------------------------------------


def test_poses_are_read_as_they_are(tmp_path: Path) -> None:
    joints = pose()
    names = [j.replace("right_", "r_").replace("left_", "l_") for j in JOINTS]
    names[0] = "nose_or_head"
    got = read_npz_clip(save(tmp_path / "a.npz", joints=joints, joint_names=names, fps=15, units="cm"))
    np.testing.assert_array_equal(got.joints, joints)
    assert got.joints.dtype == np.float32 and got.fps == 15 and got.seconds == 2.0 and (got.confidence == 1).all()


def test_joints_are_found_by_name(tmp_path: Path) -> None:
    joints, order = pose(j=16), np.random.default_rng(1).permutation(16)
    names = np.array([*JOINTS, "mid_hip", "left_ear"])
    got = read_npz_clip(save(tmp_path / "a.npz", joints=joints[:, order], joint_names=names[order], fps=15.0))
    np.testing.assert_array_equal(got.joints, joints[:, :14])


@pytest.mark.parametrize("name", ["r_wrist", "RWrist", "right_wrist", "Right Wrist", "RIGHT_WRIST", "right-wrist"])
def test_spellings_of_a_joint(name: str) -> None:
    assert canonical_joint(name) == "right_wrist"


def test_a_joint_twice_is_refused() -> None:
    with pytest.raises(D2MError, match="nose"):
        select_joints(pose(j=15), [*JOINTS, "nose"], "file")


@pytest.mark.parametrize("fps", [120.0, 60.0, 29.97, 10.0])
def test_other_frame_rates_keep_the_clock(tmp_path: Path, fps: float) -> None:
    t = np.arange(round(6 * fps)) / fps
    joints = (2 + np.sin(2 * np.pi * 0.5 * t)[:, None, None] * np.ones((1, 14, 2))).astype(np.float32)
    clip = read_npz_clip(save(tmp_path / "a.npz", joints=joints, fps=fps))
    assert clip.fps == fps and clip.seconds == pytest.approx(6.0, abs=0.5 / fps)
    got = to_fps(clip.joints, clip.fps)
    assert len(got) == 90
    expected = 2 + np.sin(2 * np.pi * 0.5 * np.arange(90) / FPS)
    np.testing.assert_allclose(got[1:-2, 0, 0], expected[1:-2], atol=0.04)


def test_a_fast_vibration_does_not_alias() -> None:
    t = np.arange(1200) / 120
    joints = np.sin(2 * np.pi * 16.0 * t)[:, None, None] * np.ones((1, 14, 2))  # would show as 1 Hz
    assert np.abs(to_fps(joints, 120.0)[5:-5]).max() < 0.25


@pytest.mark.parametrize(
    "arrays, told",
    [
        ({"fps": 15, "kp": pose()}, r"no key joints; .+ \(it has fps, kp\)"),
        ({"joints": pose()}, "no key fps; .+ set fps="),
        ({"joints": pose(j=13), "fps": 15}, "13 joints without joint_names"),
        ({"joints": pose(), "fps": 15, "joint_names": ["a"] * 14}, "correct nose"),
        ({"joints": pose(), "fps": 15, "joint_names": ["a"]}, "1 joint_names for 14 joints"),
        ({"joints": pose(c=4), "fps": 15}, "14, 2 or 3"),
        ({"joints": pose()[0], "fps": 15}, "14, 2 or 3"),
        ({"joints": np.full((5, 14, 2), "x"), "fps": 15}, "14, 2 or 3"),
        ({"joints": pose(), "fps": 0}, "fps is 0"),
        ({"joints": pose(), "fps": np.nan}, "fps is nan"),
        ({"joints": pose(), "fps": [15, 15]}, "fps is 2 numbers; write one, or set fps="),
        ({"joints": pose(1), "fps": 15}, "1 frames"),
        ({"joints": np.array([{}], dtype=object), "fps": 15}, "not readable"),
    ],
)
def test_bad_poses_are_refused_in_one_line(tmp_path: Path, arrays: dict, told: str) -> None:
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(D2MError, match=told) as e:
        read_npz_clip(path)
    assert "bad.npz" in str(e.value) and "\n" not in str(e.value)


def test_numbers_that_are_not_finite_are_unseen(tmp_path: Path) -> None:
    joints = np.where(np.arange(30)[:, None, None] < 4, np.nan, pose())
    got = read_npz_clip(save(tmp_path / "a.npz", joints=joints, fps=15))
    assert np.isnan(got.joints[:4]).all() and (got.confidence[:4] == 0).all()
    np.testing.assert_array_equal(got.joints[4:], pose()[4:])
    assert (got.confidence[4:] == 1).all()


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    with pytest.raises(D2MError, match="no such file"):
        read_npz_clip(tmp_path / "none.npz")
    whole = save(tmp_path / "whole.npz", joints=pose(), fps=15).read_bytes()
    np.save(tmp_path / "array.npy", pose())
    for name, content in [
        ("empty.npz", b""), ("text.npz", b"hello"), ("cut.npz", whole[: len(whole) // 2]),
        ("array.npz", (tmp_path / "array.npy").read_bytes()),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(D2MError, match="not readable"):
            read_npz_clip(tmp_path / name)


def test_real_poses_are_read(shared_folder: Path) -> None:
    files = sorted((shared_folder / "data").glob("*/npz/*.npz")) + sorted((shared_folder / "data/aist2d").glob("*.npz"))
    assert files
    for path in files:
        joints = read_npz_clip(path).joints
        assert joints.shape[1] == 14 and np.isfinite(joints).all()


# --- camera --------------------------------------------------------------------------------------------------


def standing(t: int = 300) -> np.ndarray:
    """A body that stands, facing +z, its right side at -x; cm, y up, feet near 0."""
    body = np.zeros((14, 3))
    body[:, 1] = [165, 145, 140, 115, 90, 140, 115, 90, 90, 50, 8, 90, 50, 8]
    body[:, 0] = [0, 0, -18, -25, -28, 18, 25, 28, -12, -12, -12, 12, 12, 12]
    body[0, 2] = 10.0  # the nose points to the viewer
    return np.repeat(body[None], t, axis=0)


def test_front_and_side_views() -> None:
    views = project(centre(standing()), [0, 90, 180])
    assert views.shape == (3, 300, 14, 2) and views.dtype == np.float32
    front, side, back = views[:, 0]
    names = {n: i for i, n in enumerate(JOINTS)}
    assert front[names["nose"], 1] < front[names["neck"], 1] < front[names["right_ankle"], 1]  # y down
    # Facing the viewer, the dancer's right hand is on the picture's left.
    assert front[names["right_wrist"], 0] == pytest.approx(-28, abs=1e-4)
    assert back[names["right_wrist"], 0] == pytest.approx(28, abs=1e-4)
    # From +x (90 degrees), what points to +z points to the picture's left, and no shoulder sticks out.
    assert side[names["nose"], 0] == pytest.approx(-10, abs=1e-4)
    assert side[names["right_shoulder"], 0] == pytest.approx(0, abs=1e-4)


def test_travel_and_drift_go_bounces_stay() -> None:
    t = np.arange(600) / FPS
    body = standing(600)
    bounce = 6 * np.sin(2 * np.pi * 2 * t)
    still = centre(body)
    moving = body + np.stack([30 * t, np.zeros(600), -80 * np.sin(t)], -1)[:, None]
    np.testing.assert_allclose(centre(moving), still, atol=1e-9)
    moving[:, :9, 1] += bounce[:, None]
    moving[:, 11, 1] += bounce
    hips = hip_midpoint(centre(moving + np.array([0, 1, 0]) * t[:, None, None]))[:, 1]  # the floor climbs 40 cm
    assert np.corrcoef(hips, bounce)[0, 1] > 0.97
    assert np.abs(hips - bounce).max() < 4.0
    np.testing.assert_allclose(hip_midpoint(centre(moving))[:, [0, 2]], 0, atol=1e-9)


def test_the_floor_is_where_the_lower_foot_rests() -> None:
    body = standing(600)
    body[:, 10, 1] += 25 * (np.sin(2 * np.pi * np.arange(600) / FPS) > 0)  # steps do not lift the floor
    np.testing.assert_allclose(floor_height(body), 8.0, atol=1e-6)
