"""Arrays as people save them: markers of unseen points, and errors that say how to reorder the axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bodies import in_order
from dancing import coco17, dancer, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.prepare.plausible import read_pose
from d2m.prepare.sources.points import unseen_points
from d2m.prepare.stated import Stated

bounded = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@bounded
@given(
    mark=st.sampled_from([0.0, -1.0, 9999.0, -999.0, np.nan, np.inf, 0.5]), flat=st.booleans(),
    share=st.floats(0.02, 0.25), seed=st.integers(0, 9), named=st.booleans(),
)  # fmt: skip
def test_unseen_points_however_marked(
    tmp_path: Path, mark: float, flat: bool, share: float, seed: int, named: bool
) -> None:
    true = picture(4.0, seed=seed) if flat else dancer(4.0, seed=seed)
    unseen = np.random.default_rng(seed).random(true.shape[:2]) < share
    file = np.where(unseen[..., None], mark, true)
    if named or not flat:
        np.savez(tmp_path / "a.npz", joints=file, fps=30.0, joint_names=np.array(JOINTS))
        clip = read_pose("npz", tmp_path / "a.npz", Stated())
    else:
        np.savez(tmp_path / "a.npz", keypoints=coco17(file), fps=30.0)
        clip = read_pose("coco17", tmp_path / "a.npz", Stated())
    joints = [j for j in range(14) if JOINTS[j] != "neck"]
    np.testing.assert_array_equal((clip.confidence == 0)[:, joints], unseen[:, joints])
    assert np.nanmax(np.abs(clip.joints - true)[:, joints]) < 0.01


def test_an_origin_and_joints_at_rest_are_seen() -> None:
    centred = dancer(3.0) - dancer(3.0)[:, 1:2]
    assert not unseen_points(centred).any()  # the neck is 0 throughout
    assert not unseen_points(np.repeat(dancer(0.1)[:1], 90, axis=0)).any()
    assert not unseen_points(np.rint(picture(3.0))).any()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.transpose(0, 2, 1), lambda x: x.transpose(1, 0, 2), lambda x: x.transpose(2, 1, 0),
        lambda x: x.reshape(len(x), -1), lambda x: x[None], lambda x: x[:, None],
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["npz", "coco17"])
def test_what_the_line_advises_gives_the_poses(tmp_path: Path, change: object, source: str) -> None:
    key, true = ("joints", dancer(3.0)) if source == "npz" else ("keypoints", coco17(picture(3.0)))
    file = change(true)  # type: ignore[operator]
    np.savez(tmp_path / "a.npz", fps=30.0, **{key: file})
    if source == "coco17" and file.ndim == 4:  # cameras, or people
        assert len(read_pose(source, tmp_path / "a.npz", Stated()).joints) == len(true)
        return
    with pytest.raises(D2MError, match=rf"; save {key}\.") as refused:
        read_pose(source, tmp_path / "a.npz", Stated())
    mended = eval(str(refused.value).rsplit("save ", 1)[1], {key: file})
    np.testing.assert_array_equal(mended, true)


def test_pictures_called_space_are_refused(tmp_path: Path) -> None:
    for third in (0.0, 0.9):
        joints = np.concatenate([picture(3.0), np.full((90, 14, 1), third)], axis=-1)
        np.savez(tmp_path / "a.npz", joints=joints, fps=30.0, joint_names=np.array(JOINTS))
        with pytest.raises(D2MError, match=r"a body without depth, .*joints \(frames, 14, 2\)"):
            read_pose("npz", tmp_path / "a.npz", Stated())


def test_a_wrong_unit_in_the_file_is_told_with_one_that_works(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", joints=dancer(3.0), fps=30.0, joint_names=np.array(JOINTS), units="m")
    with pytest.raises(D2MError, match=r"set unit=cm, or unit=auto"):
        read_pose("npz", tmp_path / "a.npz", Stated())
    np.testing.assert_allclose(read_pose("npz", tmp_path / "a.npz", Stated(unit="cm")).joints, dancer(3.0), atol=1e-3)


def test_one_length_or_two_sides(tmp_path: Path) -> None:
    """Coordinates divided by the width alone: what is advised first is refused with what then works."""
    true = picture(4.0)
    np.savez(tmp_path / "a.npz", keypoints=in_order(true, "coco17") / 1280 * 2 - [1, 0.5625], fps=30.0)
    with pytest.raises(D2MError, match=r"set picture=\[WIDTH,HEIGHT\].*one length, e\.g\. picture="):
        read_pose("coco17", tmp_path / "a.npz", Stated())
    with pytest.raises(D2MError, match=r"not a human's; .*set picture=\[1280,1280\]"):
        read_pose("coco17", tmp_path / "a.npz", Stated(picture=(1280, 200)))
    clip = read_pose("coco17", tmp_path / "a.npz", Stated(picture=(1280, 1280)))
    away = np.diff(clip.joints, axis=0)[:, 2:] - 2 * np.diff(true, axis=0)[:, 2:]
    assert np.abs(away).max() < 0.01
