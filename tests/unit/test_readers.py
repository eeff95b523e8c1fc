"""Readers of poses: however formats and files differ, they give the true pose, within 0.01 cm or px, or a refusal.

What may differ: units, up axes, orders of points and of people, rates, gaps, missing people. Hypothesis draws what is
done to a file; the same examples every time.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bodies import in_order
from dancing import coco17, dancer, picture
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from test_sources_bvh import body, rig_names, swing, write

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.prepare.plausible import read_pose
from d2m.prepare.sources.axes import UNITS, UPS
from d2m.prepare.sources.clip import PoseClip
from d2m.prepare.sources.rigs import RIGS
from d2m.prepare.stated import Stated

WITHIN = 0.01
RIG_NAMES = sorted(RIGS)
#: Joints that a format's own points give exactly; the neck is the middle of the shoulders in some.
EXACT = [j for j in range(14) if JOINTS[j] != "neck"]
bounded = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
unit, up = st.sampled_from(["m", "dm", "inch", "cm", "mm", "cmu"]), st.sampled_from(sorted(UPS))
rate, seed = st.sampled_from([12.0, 15.0, 24.0, 25.0, 29.97, 30.0, 60.0, 120.0]), st.integers(0, 9)
#: (first, length) of frames in which nobody is seen.
gaps = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=3)


def axes(joints: np.ndarray, up: str) -> np.ndarray:
    """y up -> as a file has them in which ``up`` is up."""
    order, signs = UPS[up]
    out = np.empty_like(joints)
    for ours, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        out[..., axis] = joints[..., ours] * sign
    return out


def right_or_unseen(clip: PoseClip, true: np.ndarray, seen_at_least: float) -> None:
    """Every joint that is there is right; so many are there."""
    there = clip.confidence > 0
    assert np.isfinite(clip.joints[there]).all() and np.isnan(clip.joints[~there]).all()
    away = np.abs(clip.joints - true).max(axis=-1)[:, EXACT]
    assert len(clip.joints) == len(true) and np.nanmax(away) < WITHIN
    assert there[:, EXACT].mean() >= seen_at_least - 1e-6


def shown(frames: int, holes: list[tuple[int, int]]) -> np.ndarray:
    """(frames,) where somebody is seen; always at both ends, which count as frames."""
    out = np.ones(frames, bool)
    for first, length in holes:
        out[first : first + length] = False
    out[[0, -1]] = True
    return out


# --- in space ----------------------------------------------------------------------------------------------------


@bounded
@given(unit=unit, up=up, fps=rate, holes=gaps, seed=seed, order=st.sampled_from(["names", "d2m", "smpl24", "h36m"]))
def test_npz(
    tmp_path: Path, unit: str, up: str, fps: float, holes: list[tuple[int, int]], seed: int, order: str
) -> None:
    true = dancer(60 / fps, fps, seed)
    there = shown(len(true), holes)
    file = np.where(there[:, None, None], axes(true, up) / UNITS[unit], np.nan)
    if order == "names":
        turn = np.random.default_rng(seed).permutation(14)
        np.savez(tmp_path / "a.npz", joints=file[:, turn], fps=fps, joint_names=np.array(JOINTS)[turn], units=unit)
    else:
        np.savez(tmp_path / "a.npz", joints=in_order(file, order), fps=fps)
    stated = {} if order in ("names", "d2m") else {"order": order}
    try:
        right_or_unseen(read_pose("npz", tmp_path / "a.npz", Stated(**stated)), true, there.mean())
    except D2MError:  # of what nothing is stated
        assert up != "y" or (unit != "cm" and order != "names")
    if order != "names":
        stated["unit"] = unit
    right_or_unseen(read_pose("npz", tmp_path / "a.npz", Stated(up=up, **stated)), true, there.mean())


@bounded
@given(shuffle=st.integers(0, 9999), flat=st.booleans(), seed=seed)
def test_points_in_no_known_order(tmp_path: Path, shuffle: int, flat: bool, seed: int) -> None:
    """At least half of them elsewhere; two that are exchanged, such as a knee and its ankle, can pass."""
    turn = np.random.default_rng(shuffle).permutation(14)
    assume((turn != np.arange(14)).sum() > 6)
    true = picture(3, seed=seed) if flat else dancer(3, seed=seed)
    np.savez(tmp_path / "a.npz", joints=true[:, turn], fps=30)
    with pytest.raises(D2MError, match=r"form no body|but in lsp14|on its (head|side)"):
        read_pose("npz", tmp_path / "a.npz", Stated())


@bounded
@given(unit=unit, fps=rate, seed=seed, z_up=st.booleans(), rig=st.sampled_from(RIG_NAMES))
def test_bvh(tmp_path: Path, unit: str, fps: float, seed: int, z_up: bool, rig: str) -> None:
    """A BVH says neither unit nor axis: both are found out, and the same motion in cm is the same body."""
    scale = 1 / UNITS[unit]
    read = []
    for size in (1.0, scale):
        tree = body(rig_names(rig), size)
        motion = swing(tree, 1.0, fps, size, seed)
        if z_up and len(read) == 1:
            motion = turned(motion)
        (tmp_path / "a.bvh").write_text(write(tree, motion, fps))
        read.append(read_pose("bvh", tmp_path / "a.bvh", Stated()))
    np.testing.assert_allclose(read[1].joints, read[0].joints, atol=0.05)  # text of six digits
    assert read[0].fps == pytest.approx(fps, rel=1e-4)
    assert np.isfinite(read[0].joints).all()


def turned(motion: np.ndarray) -> np.ndarray:
    """A motion whose root is turned so that z is up."""
    spin = Rotation.from_euler("X", 90, degrees=True) * Rotation.from_euler("ZXY", motion[:, 3:6], degrees=True)
    out = motion.copy()
    out[:, :3] = motion[:, [0, 2, 1]] * [1, -1, 1]
    out[:, 3:6] = spin.as_euler("ZXY", degrees=True)
    return out


@bounded
@given(holes=gaps, seed=seed, smoothed=st.booleans())
def test_aistpp(tmp_path: Path, holes: list[tuple[int, int]], seed: int, smoothed: bool) -> None:
    true = dancer(1.0, 60.0, seed)
    there = shown(60, holes)
    file = np.where(there[:, None, None], coco17(true), np.nan)
    arrays = {"keypoints3d": file} | ({"keypoints3d_optim": file} if smoothed else {})
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays))
    clip = read_pose("aistpp", tmp_path / "a.pkl", Stated())
    assert clip.fps == 60
    right_or_unseen(clip, true, there.mean())


# --- in pictures -------------------------------------------------------------------------------------------------


def flat_points(person: np.ndarray) -> list[float]:
    return np.ravel(person).round(4).tolist()


def alphapose(frames: list[list[np.ndarray]]) -> object:
    return [{"image_id": f"{k}.jpg", "keypoints": flat_points(p)} for k, people in enumerate(frames) for p in people]


def coco_results(frames: list[list[np.ndarray]]) -> object:
    return [{"image_id": k, "keypoints": flat_points(p)} for k, people in enumerate(frames) for p in people]


def mmpose(frames: list[list[np.ndarray]]) -> object:
    def person(p: np.ndarray) -> dict[str, object]:
        return {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()}

    return {"instance_info": [{"frame_id": k, "instances": [person(p) for p in q]} for k, q in enumerate(frames)]}


def ultralytics(frames: list[list[np.ndarray]]) -> object:
    def person(p: np.ndarray) -> dict[str, object]:
        return {"name": "person", "keypoints": dict(zip(("x", "y", "visible"), p.T.tolist(), strict=True))}

    return [[person(p) for p in people] for people in frames]


def annotations(frames: list[list[np.ndarray]]) -> object:
    return {"images": [], "annotations": [*coco_results(frames), {"image_id": 3, "keypoints": []}]}  # type: ignore[misc]


def lists(frames: list[list[np.ndarray]]) -> object:
    return [[p.tolist() for p in people] for people in frames]


def alphapose_open(frames: list[list[np.ndarray]]) -> object:
    return {
        f"{k}.jpg": {"version": "0.3", "people": [{"pose_keypoints_2d": flat_points(p)} for p in people]}
        for k, people in enumerate(frames)
    }


def write_openpose(folder: Path, frames: list[list[np.ndarray]]) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for k, people in enumerate(frames):
        text = json.dumps({"people": [{"pose_keypoints_2d": flat_points(p)} for p in people]})
        (folder / f"film_{k:012d}_keypoints.json").write_text(text)


WRITERS: dict[str, Callable[[list[list[np.ndarray]]], object]] = {
    "alphapose": alphapose, "coco results": coco_results, "mmpose": mmpose, "ultralytics": ultralytics,
    "annotations": annotations, "lists": lists, "alphapose open": alphapose_open,
}  # fmt: skip


@bounded
@given(
    kind=st.sampled_from([*WRITERS, "openpose"]), holes=gaps, seed=seed, shuffle=st.integers(0, 99),
    others=st.integers(0, 2), wide=st.sampled_from([640, 1280, 3840]),
)  # fmt: skip
def test_detections(
    tmp_path: Path, kind: str, holes: list[tuple[int, int]], seed: int, shuffle: int, others: int, wide: int
) -> None:
    """One dancer, seen with gaps, and smaller people elsewhere in the picture, listed in any order."""
    true = picture(4.0, seed=seed)[:45] * (wide / 1280)
    there = shown(len(true), holes)
    rng = np.random.default_rng(shuffle)
    order = "body25" if kind == "openpose" else "coco17"
    frames: list[list[np.ndarray]] = []
    for k in range(len(true)):
        people = [true[k]] if there[k] else []
        # Far away, and much smaller: nobody takes them for the dancer.
        people += [0.3 * true[(k + 9 * n) % len(true)] + [wide * (0.7 + 0.2 * n), 40] for n in range(others)]
        frames.append([people[i] for i in rng.permutation(len(people))])
    sure = np.ones((14, 1))
    spelled = [[in_order(np.concatenate([p, sure], -1)[None], order)[0] for p in people] for people in frames]
    if kind == "openpose":
        path = tmp_path / "film"
        write_openpose(path, spelled)
    else:
        path = tmp_path / "a.json"
        path.write_text(json.dumps(WRITERS[kind](spelled)))
    clip = read_pose("openpose" if kind == "openpose" else "coco17", path, Stated())
    assert clip.fps == 30
    right_or_unseen(clip, true, 0.6 * there.mean())


@bounded
@given(shape=st.sampled_from(["t", "views", "people"]), fps=rate, holes=gaps, seed=seed, scored=st.booleans())
def test_arrays_of_keypoints(
    tmp_path: Path, shape: str, fps: float, holes: list[tuple[int, int]], seed: int, scored: bool
) -> None:
    true = picture(70 / fps, fps, seed)
    there = shown(len(true), holes)
    file = np.where(there[:, None, None], coco17(true), 0.0)  # (0, 0) is unseen
    if scored:
        file = np.concatenate([file, np.ones((*file.shape[:2], 1))], -1)
    if shape == "views":
        file = np.stack([file, file + 5])
    if shape == "people":
        file = np.stack([np.zeros_like(file), file], axis=1)
    np.savez(tmp_path / "a.npz", keypoints=file, fps=fps)
    right_or_unseen(read_pose("coco17", tmp_path / "a.npz", Stated()), true, 0.6 * there.mean())


@bounded
@given(kind=st.sampled_from(["h36m", "on its side", "x and y", "upside down", "shares", "percent"]), seed=seed)
def test_pictures_that_are_not_as_they_should_be(tmp_path: Path, kind: str, seed: int) -> None:
    true = picture(3.0, seed=seed)
    x, y = np.moveaxis(true, -1, 0)
    file, mend = {
        "h36m": (in_order(true, "h36m"), Stated(order="h36m")),
        "on its side": (in_order(np.stack([-y, x], -1), "coco17"), Stated(up="x")),
        "x and y": (in_order(true[..., ::-1], "coco17"), Stated(up="-x", mirror=True, swap_sides=True)),
        "upside down": (in_order(true * [1, -1], "coco17"), Stated(up="y")),
        "shares": (in_order(true / [1280, 720], "coco17"), Stated(picture=(1280, 720))),
        "percent": (in_order(100 * true / [1280, 720], "coco17"), Stated(picture=(12.8, 7.2))),
    }[kind]
    np.savez(tmp_path / "a.npz", keypoints=file, fps=30)
    right_or_unseen(read_pose("coco17", tmp_path / "a.npz", mend), true, 1.0)
    with pytest.raises(D2MError, match=r"set (order=h36m|up=|picture=)"):
        read_pose("coco17", tmp_path / "a.npz", Stated())


@bounded
@given(said=st.sampled_from(["m", "Meters", "metre", "CM", "centimeters", "feet", "inches", "mm", "ft"]), seed=seed)
def test_a_unit_that_the_file_spells_out(tmp_path: Path, said: str, seed: int) -> None:
    true = dancer(2.0, seed=seed)
    scale = {"m": 100, "c": 1, "f": 30.48, "i": 2.54}[said[0].lower()] if said != "mm" else 0.1
    names = np.array([j.encode() for j in JOINTS])  # as Python 2 wrote them
    np.savez(tmp_path / "a.npz", joints=true / scale, fps=np.array([30.0]), joint_names=names, units=said)
    right_or_unseen(read_pose("npz", tmp_path / "a.npz", Stated()), true, 1.0)


def test_depths_are_no_confidences(tmp_path: Path) -> None:
    for depth in (dancer(2.0), dancer(2.0) / 100, dancer(2.0) + np.array([0, 0, 400])):
        np.save(tmp_path / "a.npy", coco17(depth))
        with pytest.raises(D2MError, match=r"third numbers are not confidences; .*source=npz"):
            read_pose("coco17", tmp_path / "a.npy", Stated())
    np.savez(tmp_path / "b.npz", joints=coco17(dancer(2.0)), fps=30.0)  # as it advises
    clip = read_pose("npz", tmp_path / "b.npz", Stated(order="coco17"))
    right_or_unseen(clip, dancer(2.0), 1.0)
