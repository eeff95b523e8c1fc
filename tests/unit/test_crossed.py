"""Exchanged names are detected by how joints lie and move; real dances never look like that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dancing import dancer, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.motion.camera import centre, project
from d2m.prepare.plausible import read_pose
from d2m.prepare.sources.crossed import find_crossed, find_slow_wrist
from d2m.prepare.stated import Stated

#: What is said -> the parts of the body that exchange their sides.
CROSSED = {
    "right and left arms, or right and left legs,": ("hip", "knee", "ankle"),
    "right_shoulder and left_shoulder": ("shoulder",),
    "right and left elbows and wrists": ("elbow", "wrist"),
    "right_elbow and left_elbow": ("elbow",),
    "right_wrist and left_wrist": ("wrist",),
    "right_hip and left_hip": ("hip",),
    "right and left knees and ankles": ("knee", "ankle"),
    "right_knee and left_knee": ("knee",),
    "right_ankle and left_ankle": ("ankle",),
}

YAWS = (0, 40, 140, 180, 220, 320)


def crossed(joints: np.ndarray, *parts: str) -> np.ndarray:
    out = joints.copy()
    for part in parts:
        pair = [JOINTS.index(f"{side}_{part}") for side in ("right", "left")]
        out[:, pair] = joints[:, pair[::-1]]
    return out


def renamed(joints: np.ndarray, *sides: str) -> np.ndarray:
    """The names of elbows and wrists exchanged."""
    out = joints.copy()
    for side in sides:
        pair = [JOINTS.index(f"{side}_{part}") for part in ("elbow", "wrist")]
        out[:, pair] = joints[:, pair[::-1]]
    return out


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    told=st.sampled_from(sorted(CROSSED)),
    seed=st.integers(0, 9),
    flat=st.booleans(),
    yaw=st.sampled_from([0, 40, 140, 180, 220, 320]),
)
def test_limbs_with_exchanged_sides(told: str, seed: int, flat: bool, yaw: int) -> None:
    body = dancer(12.0, seed=seed)
    true = project(centre(body), [float(yaw)])[0] if flat else body
    assert find_crossed(true, 12.0) is None
    assert find_crossed(crossed(true, *CROSSED[told]), 12.0) == told


def test_arms_alone_look_like_legs_alone_and_both_like_neither() -> None:
    true = picture(12.0)
    arms, legs = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
    assert find_crossed(crossed(true, *arms), 12.0) == find_crossed(crossed(true, *legs), 12.0) is not None
    assert find_crossed(crossed(true, *arms, *legs), 12.0) is None


def test_legs_that_cross_for_a_while_are_legs() -> None:
    assert find_crossed(crossed(picture(6.0), "ankle"), 6.0) is None
    assert find_crossed(np.full((90, 14, 2), np.nan), 12.0) is None


@pytest.mark.parametrize("sides", [("right",), ("left",), ("right", "left")])
def test_a_wrist_moves_farther_than_its_elbow(sides: tuple[str, ...]) -> None:
    true, swing = picture(12.0), np.sin(np.arange(360) / 9)[:, None] * [30.0, 12.0] + [[0.0, 60.0]]
    for side in ("right", "left"):  # arms that swing as a whole
        for part, far in (("elbow", 1), ("wrist", 2)):
            shoulder = true[:, JOINTS.index(f"{side}_shoulder")]
            true[:, JOINTS.index(f"{side}_{part}")] = shoulder + far * swing
    assert find_slow_wrist(true, 30.0) is None
    assert find_slow_wrist(renamed(true, *sides), 30.0) == ", ".join(f"{s}_elbow and {s}_wrist" for s in sides)
    assert find_slow_wrist(renamed(true, *sides)[:240], 30.0) is None  # too short to tell


def test_the_line_names_the_joints_and_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", joints=crossed(picture(12.0), "wrist"), fps=30)
    with pytest.raises(D2MError, match=r"right_wrist and left_wrist are exchanged; correct its joint_names$"):
        read_pose("npz", tmp_path / "a.npz", Stated())
    names = [{"left_wrist": "right_wrist", "right_wrist": "left_wrist"}.get(j, j) for j in JOINTS]
    np.savez(tmp_path / "a.npz", joints=crossed(picture(12.0), "wrist"), fps=30, joint_names=np.array(names))
    np.testing.assert_allclose(read_pose("npz", tmp_path / "a.npz", Stated()).joints, picture(12.0), rtol=1e-6)


def test_real_dances_have_their_limbs_in_place(shared_folder: Path) -> None:
    files = [*sorted((shared_folder / "data/ballroom/pose3d").glob("*.npz"))[::9],
             *sorted((shared_folder / "data/aist2d").glob("*.npz"))]  # fmt: skip
    for file in files:
        with np.load(file) as f:
            joints, fps = f["joints"].astype(float)[:600], float(f["fps"])
        views = [joints] if joints.shape[-1] == 2 else [joints, *project(centre(joints), [0.0, 60.0, 90.0])]
        for view in views:
            assert find_crossed(view, len(view) / fps) is find_slow_wrist(view, fps) is None
            assert find_crossed(crossed(view, "shoulder", "elbow", "wrist"), len(view) / fps) is not None
            assert find_slow_wrist(renamed(view, "right"), fps) == "right_elbow and right_wrist"
