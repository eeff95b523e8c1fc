"""Joint names of motion-capture rigs, and a computed nose, which most of them lack.

Rigs: Mixamo, MotionBuilder, CMU's "MotionBuilder-friendly" and Motorica (arm, forearm, hand); CMU's "Daz-friendly"
(shldr, forearm, hand); Perfume and SMPL (shoulder, elbow, wrist); CMU's ASF names (humerus, radius, wrist); Xsens;
3ds Max biped; Unity, VRM and Bandai Namco (lower arm, lower leg); Unreal; Blender's Rigify; Rokoko; OptiTrack;
MakeHuman; Daz Genesis; Character Creator. The side precedes
or follows the part (``UpperArm_L``, ``thigh.R``). A rig matches if all of its joints exist. Names are compared without
namespace, separators and case: ``mixamorig:LeftUpLeg`` is ``leftupleg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LEFT_HIP, NECK, RIGHT_HIP

Floats = NDArray[np.float64]

_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
#: Rig -> its names, after the side, of shoulder, elbow, wrist, hip, knee and ankle.
RIGS: dict[str, tuple[str, ...]] = {
    "mixamo": ("arm", "forearm", "hand", "upleg", "leg", "foot"),
    "cmu_daz": ("shldr", "forearm", "hand", "thigh", "shin", "foot"),
    "perfume": ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    "cmu_asf": ("humerus", "radius", "wrist", "femur", "tibia", "foot"),
    "xsens": ("upperarm", "forearm", "hand", "upperleg", "lowerleg", "foot"),
    "lowarm": ("uparm", "lowarm", "hand", "upleg", "lowleg", "foot"),
    "biped": ("upperarm", "forearm", "hand", "thigh", "calf", "foot"),
    "unity": ("upperarm", "lowerarm", "hand", "upperleg", "lowerleg", "foot"),
    "unreal": ("upperarm", "lowerarm", "hand", "thigh", "calf", "foot"),
    "rigify": ("upperarm", "forearm", "hand", "thigh", "shin", "foot"),
    "rokoko": ("arm", "forearm", "hand", "thigh", "shin", "foot"),
    "optitrack": ("uarm", "farm", "hand", "thigh", "shin", "foot"),
    "makehuman": ("upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot"),
    "genesis": ("shldrbend", "forearmbend", "hand", "thighbend", "shin", "foot"),
}
_SIDES = {"right": ("right", "r"), "left": ("left", "l")}
_NECKS = ("neck", "neck1", "lowerneck", "neck01", "spine004", "necklower", "necktwist01")
_HEADS = ("head", "head1", "head01", "spine006")
#: Offset from the head's joint (base of the skull) to the nose, both up and forward: 8 cm for a leg of 83 cm, like the
#: eyes of CMU's rig.
_NOSE_OF_LEG = 8.0 / 83.0


@dataclass(frozen=True)
class Rig:
    """Joint indices of our 14 (``joints[0]`` is the nose if the rig has one, else the head), of the head, and of the
    eyes."""

    joints: tuple[int, ...]
    head: int
    face: tuple[int, ...] = ()
    has_nose: bool = False


def plain(name: str) -> str:
    """``mixamorig:Left Up_Leg`` -> ``leftupleg``; ``Bip01 R Thigh`` -> ``rthigh``."""
    bare = re.sub(r"[^a-z0-9]", "", re.split(r"[:|]", name)[-1].lower())
    return re.sub(r"^(mixamorig\d*|bip0*\d+|character\d+|jbipc?|ccbase|def|org)(?=.)", "", bare).removesuffix("jnt")


def resolve(names: Sequence[str], given: Mapping[str, str] | None, where: str) -> Rig:
    """Find our joints in a rig.

    Args:
        names: of all the rig's joints.
        given: our joint -> the rig's name; takes precedence over the tables.

    Raises:
        D2MError: a joint cannot be found, or ``given`` has an unknown joint of ours or of the rig.
    """
    numbers: dict[str, int] = {}
    for i, name in enumerate(names):
        numbers.setdefault(plain(name), i)
    chosen: dict[str, int] = {}
    for joint, rig_joint in (given or {}).items():
        if joint not in JOINTS:
            raise D2MError(f"{where}: '{joint}' is not one of our joints; choose from {', '.join(JOINTS)}")
        if rig_joint in names:  # as spelled: names in other alphabets have no plain form
            chosen[joint] = names.index(rig_joint)
            continue
        if not plain(rig_joint) or plain(rig_joint) not in numbers:
            raise D2MError(f"{where}: the rig has no joint '{rig_joint}'; it has {', '.join(names[:20])}")
        chosen[joint] = numbers[plain(rig_joint)]
    best: dict[str, int] = {}
    for parts in RIGS.values():
        matched = {
            f"{side}_{part}": numbers[name]
            for side, shorts in _SIDES.items()
            for part, rigs in zip(_PARTS, parts, strict=True)
            for name in (*(rigs + s for s in shorts[::-1]), *(s + rigs for s in shorts[::-1]))
            if name in numbers
        }
        if len({**matched, **chosen}) > len({**best, **chosen}):
            best = matched
    for joint, options in (("neck", _NECKS), ("nose", _HEADS)):
        first = next((numbers[n] for n in options if n in numbers), None)
        if first is not None:
            best[joint] = first
    if "nose" in numbers:
        chosen.setdefault("nose", numbers["nose"])  # d2m's own exports have one
    best |= chosen
    missing = [j for j in JOINTS if j not in best]
    if missing:
        raise D2MError(
            f"{where}: no {', '.join(missing)} in this rig; name them, names={{{missing[0]}:JOINT,...}}; "
            f"it has {', '.join(n for n in names if not n.endswith('_end'))}"
        )
    face = tuple(numbers[e] for e in ("lefteye", "righteye") if e in numbers)
    joints = tuple(best[j] for j in JOINTS)
    return Rig(joints, best["nose"], face if len(face) == 2 else (), has_nose="nose" in chosen)


def _unit(v: Floats) -> Floats:
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12), np.float64)


def nose(places: Floats, turns: Floats, rig: Rig) -> Floats:
    """The nose: a joint of the rig or of the user's names, the midpoint of the eyes, or a point 8 cm up and forward of
    the head.

    A head joint alone gives no directions. Up is its mean direction from the neck, forward that of the chest (left x
    up); both are averaged over the motion in the head's own frame, so that they rotate with the head and need no rest
    pose.

    Args:
        places, turns: (t, j, 3) and (t, j, 3, 3) of the rig.

    Returns:
        (t, 3), in the rig's unit.
    """
    if rig.has_nose:
        return np.asarray(places[:, rig.head], np.float64)
    if rig.face:
        return np.asarray(places[:, list(rig.face)].mean(axis=1), np.float64)
    body, head, turn = places[:, list(rig.joints)], places[:, rig.head], turns[:, rig.head]
    right, left = JOINTS.index("right_shoulder"), JOINTS.index("left_shoulder")
    spine = body[:, NECK] - 0.5 * (body[:, LEFT_HIP] + body[:, RIGHT_HIP])
    forward = _unit(np.cross(body[:, left] - body[:, right], spine))
    local_up = _unit(np.einsum("tki,tk->ti", turn, _unit(head - body[:, NECK])).mean(axis=0))
    local_forward = np.einsum("tki,tk->ti", turn, forward).mean(axis=0)
    local_forward = _unit(local_forward - (local_forward @ local_up) * local_up)
    leg = sum(
        np.median(np.linalg.norm(body[:, a] - body[:, a + 1], axis=-1))
        for a in (RIGHT_HIP, RIGHT_HIP + 1, LEFT_HIP, LEFT_HIP + 1)
    ) / 2.0  # fmt: skip
    return np.asarray(head + _NOSE_OF_LEG * leg * (turn @ (local_up + local_forward)), np.float64)
