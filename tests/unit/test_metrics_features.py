"""Kinetic and geometric features: poses that are known, and a second implementation, written as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bodies import STANDING

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.metrics.fact_features import GEOMETRIC_FEATURES, geometric_features, kinetic_features

RNG = np.random.default_rng(0)
WRIST = JOINTS.index("right_wrist")


def dancing(t: int = 50) -> np.ndarray:
    """Everything moves, a lot; smooth enough for 60 frames per second."""
    steps = np.cumsum(RNG.normal(size=(t, 14, 2)), axis=0)
    return STANDING + 2 * steps + np.array([300.0, 200.0])


def torso(poses: np.ndarray) -> float:
    hips = (poses[:, JOINTS.index("right_hip")] + poses[:, JOINTS.index("left_hip")]) / 2
    return float(np.median(np.linalg.norm(poses[:, JOINTS.index("neck")] - hips, axis=1)))


def kinetic_by_loops(poses: np.ndarray, fps: float) -> list[float]:
    """Mean over frames 1... of the squared windowed velocity, and over inner frames of the windowed acceleration."""
    p = poses / torso(poses)
    out = []
    for joint in range(14):
        horizontal, vertical, effort = [], [], []
        for i in range(1, len(p)):
            near = [k for k in range(i - 2, i + 3) if 1 <= k < len(p)]
            v = sum((p[k, joint] - p[k - 1, joint]) * fps for k in near) / len(near)
            horizontal.append(v[0] ** 2)
            vertical.append(v[1] ** 2)
        for i in range(1, len(p) - 1):
            near = [k for k in range(i - 2, i + 3) if 1 <= k < len(p) - 1]
            a = sum((p[k + 1, joint] - 2 * p[k, joint] + p[k - 1, joint]) * fps**2 for k in near) / len(near)
            effort.append(math.hypot(*a))
        out += [np.mean(horizontal), np.mean(vertical), np.mean(effort)]
    return out


def test_kinetic_features_against_loops() -> None:
    poses = dancing()
    np.testing.assert_allclose(kinetic_features(poses, 60), kinetic_by_loops(poses, 60), rtol=1e-9)


def test_kinetic_features_of_a_known_motion() -> None:
    poses = np.repeat(STANDING[None], 60, axis=0)
    poses[:, WRIST, 0] += 50 * np.arange(60) / 30  # a torso length in half a second, at 60 frames per second
    found = kinetic_features(poses, 60).reshape(14, 3)
    assert found[WRIST] == pytest.approx([4, 0, 0], abs=1e-9)
    assert not np.delete(found, WRIST, 0).any()


def geometric_by_loops(poses: np.ndarray, fps: float) -> dict[str, float]:
    """The list of relations, frame by frame, in coordinates with y up."""
    p = poses / torso(poses) * np.array([1, -1])
    arm, shoulders, hips = 0.56, 0.55, 0.44
    total = dict.fromkeys(GEOMETRIC_FEATURES, 0)
    for i in range(1, len(p)):
        now, before = ({n: frame[j] for j, n in enumerate(JOINTS)} for frame in (p[i], p[i - 1]))
        for frame in (now, before):
            frame["root"] = (frame["right_hip"] + frame["left_hip"]) / 2
        floor = min(xy[1] for name, xy in now.items() if name != "root")

        def v(name: str, now=now, before=before) -> np.ndarray:  # type: ignore[no-untyped-def]
            return (now[name] - before[name]) * fps

        def unit(a: str, b: str, now=now) -> np.ndarray:  # type: ignore[no-untyped-def]
            d = now[b] - now[a]
            return d / math.hypot(*d)

        def degrees(a: np.ndarray, b: np.ndarray) -> float:
            return math.degrees(math.acos(max(-1.0, min(1.0, float(a @ b)))))

        for s in ("right", "left"):
            wrist, ankle = now[f"{s}_wrist"], now[f"{s}_ankle"]
            up = unit("root", "neck")
            total[f"{s} hand above neck"] += (wrist - now["neck"]) @ up > 0.2 * arm
            total[f"{s} hand rising"] += (v(f"{s}_wrist") - v("neck")) @ up > 1.8 * arm
            total[f"{s} elbow bent"] += (
                degrees(unit(f"{s}_elbow", f"{s}_shoulder"), unit(f"{s}_elbow", f"{s}_wrist")) < 110
            )
            total[f"{s} hand leaving root"] += (v(f"{s}_wrist") - v("root")) @ unit("root", f"{s}_wrist") > 1.4 * arm
            total[f"{s} hand fast"] += math.hypot(*v(f"{s}_wrist")) > 2.5 * arm
            total[f"{s} hand low"] += wrist[1] - floor < 1.2 * arm
            total[f"{s} foot raised"] += ankle[1] - floor > 1.2 * arm
            total[f"{s} knee bent"] += degrees(unit(f"{s}_knee", f"{s}_hip"), unit(f"{s}_knee", f"{s}_ankle")) < 110
            total[f"{s} foot fast"] += math.hypot(*v(f"{s}_ankle")) > 2.5 * arm
            total[f"{s} upper arm abducted"] += degrees(-up, unit(f"{s}_shoulder", f"{s}_elbow")) > 25
            total[f"{s} thigh abducted"] += degrees(-up, unit(f"{s}_hip", f"{s}_knee")) > 50
        across = unit("left_shoulder", "right_shoulder")
        total["hands apart"] += (now["right_wrist"] - now["left_wrist"]) @ across > 2.5 * shoulders
        closing = (v("left_wrist") - v("right_wrist")) @ unit("left_wrist", "right_wrist")
        total["hands approaching"] += closing > 1.4 * arm
        total["feet apart"] += (now["right_ankle"] - now["left_ankle"]) @ unit("left_hip", "right_hip") > 2.1 * hips
        total["spine horizontal"] += 70 < degrees(unit("root", "neck"), np.array([0.0, 1.0])) < 110
        total["root fast"] += math.hypot(*v("root")) > 2.3 * arm
    return {k: n / (len(p) - 1) for k, n in total.items()}


def test_geometric_features_against_loops() -> None:
    poses = np.concatenate([dancing(), dancing() * [1.0, 0.6]])
    found = dict(zip(GEOMETRIC_FEATURES, geometric_features(poses, 60), strict=True))
    assert found == pytest.approx(geometric_by_loops(poses, 60))
    assert sum(0 < x < 1 for x in found.values()) > 15  # the poses tell most of them apart


def test_geometric_features_of_known_poses() -> None:
    standing = dict(zip(GEOMETRIC_FEATURES, geometric_features(np.repeat(STANDING[None], 9, 0)), strict=True))
    # Arms stretched out sideways: abducted, 110 px of hands apart at a torso of 50.
    assert {k for k, x in standing.items() if x == 1} == {
        "right upper arm abducted", "left upper arm abducted", "hands apart"
    }  # fmt: skip
    lying = STANDING[:, ::-1]
    assert geometric_features(np.repeat(lying[None], 9, 0))[GEOMETRIC_FEATURES.index("spine horizontal")] == 1


@pytest.mark.parametrize("features", [lambda p: kinetic_features(p, 60), lambda p: geometric_features(p, 60)])
def test_invariances_and_refusals(features) -> None:  # type: ignore[no-untyped-def]
    poses = dancing()
    np.testing.assert_allclose(features(3 * poses + 70), features(poses), atol=1e-9)
    for bad in (poses[:0], poses[:1], poses[:2], poses[:, :13], poses * np.nan):
        with pytest.raises(D2MError, match="three frames"):
            features(bad)
    with pytest.raises(D2MError, match="no torso"):
        features(np.zeros((9, 14, 2)))
