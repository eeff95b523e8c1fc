"""Exchanged joint names are detected by limb lengths, and refused with the fix."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from dancing import coco17, dancer, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.prepare.plausible import read_pose
from d2m.prepare.sources.swapped import find_swapped
from d2m.prepare.stated import Stated

KNEE, ANKLE = JOINTS.index("right_knee"), JOINTS.index("right_ankle")
LEGS = [j for j in range(14) if JOINTS[j].endswith(("hip", "knee", "ankle"))]
HIPS = {JOINTS.index("right_hip"), JOINTS.index("left_hip")}


def exchanged(joints: np.ndarray, a: int, b: int) -> np.ndarray:
    out = joints.copy()
    out[:, [a, b]] = joints[:, [b, a]]
    return out


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pair=st.lists(st.integers(0, 13), min_size=2, max_size=2, unique=True), seed=st.integers(0, 9))
def test_two_joints_of_a_body_in_space(pair: list[int], seed: int) -> None:
    """The nose lies at any part of the head, and nothing tells one hip from the other."""
    true = dancer(6.0, seed=seed)
    assert find_swapped(true, 6.0) is None
    if set(pair) not in ({0, 1}, HIPS):
        found = find_swapped(exchanged(true, *pair), 6.0)
        assert found is not None and found[1] is None


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pair=st.lists(st.sampled_from(LEGS), min_size=2, max_size=2, unique=True), seed=st.integers(0, 9))
def test_two_joints_of_legs_in_a_picture(pair: list[int], seed: int) -> None:
    true = picture(6.0, seed=seed)
    assert find_swapped(true, 6.0) is None
    names = {JOINTS[j].split("_")[1] for j in pair}
    if len(names) == 2:  # a joint and its own other side may look alike from the front
        assert find_swapped(exchanged(true, *pair), 6.0) is not None


def test_a_part_of_a_recording_in_space() -> None:
    joints = dancer(18.0)
    joints[270:] = exchanged(joints[270:], KNEE, ANKLE)
    found = find_swapped(joints, 18.0)
    assert found is not None and found[0] == ((KNEE, ANKLE),) and found[1] == pytest.approx((9.0, 12.0), abs=0.1)


def test_the_line_names_what_mends_it(tmp_path: Path) -> None:
    wrong = exchanged(dancer(4.0), KNEE, ANKLE)
    np.savez(tmp_path / "a.npz", joints=wrong, fps=30.0, joint_names=np.array(JOINTS))
    with pytest.raises(D2MError, match=r"right_knee and right_ankle are exchanged: .*correct its joint_names$"):
        read_pose("npz", tmp_path / "a.npz", Stated())
    names = np.array(JOINTS)
    names[[KNEE, ANKLE]] = names[[ANKLE, KNEE]]
    np.savez(tmp_path / "a.npz", joints=wrong, fps=30.0, joint_names=names)
    np.testing.assert_allclose(read_pose("npz", tmp_path / "a.npz", Stated()).joints, dancer(4.0), atol=1e-3)
    np.savez(tmp_path / "b.npz", keypoints=coco17(exchanged(picture(4.0), KNEE, ANKLE)), fps=30.0)
    with pytest.raises(D2MError, match=r"are exchanged: .*an npz with joint_names$") as refused:
        read_pose("coco17", tmp_path / "b.npz", Stated())
    assert not re.search(r"\n", str(refused.value))


@pytest.mark.parametrize("joints", [np.zeros((40, 14, 3)), np.full((40, 14, 2), np.nan), dancer(0.2)])
def test_too_little_to_tell(joints: np.ndarray) -> None:
    assert find_swapped(joints, 2.0) is None
