"""A dance on a rig: a hierarchy from the hips, a rest pose, and each joint's position and orientation.

Positions are exact: every joint has its own offset from its parent in every frame, because the bones of a 2-D dancer
vary in projected length. Orientations are those of bones of constant length, for programs that ignore offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import JOINTS, LEFT_HIP, NECK, RIGHT_HIP

Floats = NDArray[np.float64]

#: Joint of the rig -> its parent, parents first. The names are Mixamo's, which most programs recognise.
PARENTS: dict[str, str | None] = {
    "Hips": None,
    "RightUpLeg": "Hips", "RightLeg": "RightUpLeg", "RightFoot": "RightLeg",
    "LeftUpLeg": "Hips", "LeftLeg": "LeftUpLeg", "LeftFoot": "LeftLeg",
    "Neck": "Hips", "Head": "Neck", "Nose": "Head",
    "RightArm": "Neck", "RightForeArm": "RightArm", "RightHand": "RightForeArm",
    "LeftArm": "Neck", "LeftForeArm": "LeftArm", "LeftHand": "LeftForeArm",
}  # fmt: skip
NAMES = tuple(PARENTS)
#: Our joint -> the rig's.
OURS = dict(zip(JOINTS, (
    "Nose", "Neck", "RightArm", "RightForeArm", "RightHand", "LeftArm", "LeftForeArm", "LeftHand",
    "RightUpLeg", "RightLeg", "RightFoot", "LeftUpLeg", "LeftLeg", "LeftFoot",
), strict=True))  # fmt: skip
#: Directions from the parent in the rest pose: a T, facing the camera (+z), so that the right side is at -x.
_REST = {
    "RightUpLeg": (-1, 0, 0), "RightLeg": (0, -1, 0), "RightFoot": (0, -1, 0),
    "LeftUpLeg": (1, 0, 0), "LeftLeg": (0, -1, 0), "LeftFoot": (0, -1, 0),
    "Neck": (0, 1, 0), "Head": (0, 1, 0), "Nose": (0, 1, 0),
    "RightArm": (-1, 0, 0), "RightForeArm": (-1, 0, 0), "RightHand": (-1, 0, 0),
    "LeftArm": (1, 0, 0), "LeftForeArm": (1, 0, 0), "LeftHand": (1, 0, 0),
}  # fmt: skip
_SMALL = 1e-6


@dataclass(frozen=True, eq=False)
class Posed:
    """A dance on the rig; joints in the order of :data:`NAMES`, cm, y up.

    rest (16, 3): offsets from the parent in the rest pose; hips at their median height. offsets (t, 16, 3): from the
    parent, in its frame; of the hips, their position. turns (t, 16, 3, 3): orientation in the parent's frame.
    """

    rest: Floats
    offsets: Floats
    turns: Floats


def pose_rig(joints: Floats) -> Posed:
    """A dance (t, 14, 3) cm, y up -> the rig that dances it; :func:`places` is its inverse."""
    at = _places_of(joints)
    world = {"Hips": _frames(at["LeftUpLeg"] - at["RightUpLeg"], at["Neck"] - at["Hips"])}
    world["Neck"] = _frames(at["LeftArm"] - at["RightArm"], at["Neck"] - at["Hips"])
    children = {parent: name for name, parent in PARENTS.items() if parent not in (None, "Hips", "Neck")}
    for name, parent in PARENTS.items():
        if parent is None or name in world:
            continue
        if name not in children:  # an end: it has no bone of its own
            world[name] = world[parent]
            continue
        bone = at[children[name]] - at[name]
        rest = np.asarray(_REST[children[name]], np.float64)
        world[name] = _swing(world[parent] @ rest, bone) @ world[parent]
    rest_offsets: list[Floats] = []
    offsets: list[Floats] = []
    turns: list[Floats] = []
    for name, parent in PARENTS.items():
        if parent is None:
            rest_offsets.append(np.array([0.0, np.median(at[name][:, 1]), 0.0]))
            offsets.append(at[name])
            turns.append(world[name])
            continue
        back = np.swapaxes(world[parent], -1, -2)
        bone = at[name] - at[parent]
        rest_offsets.append(np.asarray(_REST[name]) * float(np.quantile(np.linalg.norm(bone, axis=-1), 0.95)))
        offsets.append(np.einsum("tij,tj->ti", back, bone))
        turns.append(back @ world[name])
    return Posed(np.stack(rest_offsets), np.stack(offsets, 1), np.stack(turns, 1))


def places(posed: Posed) -> Floats:
    """Forward kinematics: positions of the joints of :data:`NAMES`, (t, 16, 3) cm."""
    at: dict[str, Floats] = {}
    world: dict[str, Floats] = {}
    for i, (name, parent) in enumerate(PARENTS.items()):
        if parent is None:
            at[name], world[name] = posed.offsets[:, i], posed.turns[:, i]
        else:
            at[name] = at[parent] + np.einsum("tij,tj->ti", world[parent], posed.offsets[:, i])
            world[name] = world[parent] @ posed.turns[:, i]
    return np.stack([at[n] for n in NAMES], 1)


def _places_of(joints: Floats) -> dict[str, Floats]:
    at = {rig: joints[:, JOINTS.index(ours)] for ours, rig in OURS.items()}
    at["Hips"] = 0.5 * (joints[:, RIGHT_HIP] + joints[:, LEFT_HIP])
    # The head's joint is not observed; it is placed half-way between nose and neck.
    at["Head"] = 0.5 * (joints[:, NECK] + at["Nose"])
    return at


def _unit(v: Floats, otherwise: Floats) -> Floats:
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.where(length > _SMALL, v / np.maximum(length, _SMALL), otherwise)


def _frames(to_left: Floats, up: Floats) -> Floats:
    """Orientations (t, 3, 3) of a trunk whose y axis is ``up`` and whose x axis is nearest to ``to_left``.

    In a side view, hips and shoulders coincide and have no direction; the last known one is used.
    """
    y = _unit(up, np.array([0.0, 1.0, 0.0]))
    x = to_left - (to_left * y).sum(-1, keepdims=True) * y
    known = np.linalg.norm(x, axis=-1) > _SMALL
    last = np.maximum.accumulate(np.where(known, np.arange(len(x)), -1))
    x = np.where(last[:, None] >= 0, x[np.maximum(last, 0)], np.array([1.0, 0.0, 0.0]))
    x = _unit(x - (x * y).sum(-1, keepdims=True) * y, np.cross(y, np.array([0.0, 0.0, 1.0])))
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _swing(start: Floats, end: Floats) -> Floats:
    """The smallest rotations (t, 3, 3) that turn directions (t, 3) into others (Rodrigues)."""
    a, b = _unit(start, np.array([0.0, 1.0, 0.0])), _unit(end, start)
    axis, cosine = np.cross(a, b), (a * b).sum(-1)[:, None, None]
    k = np.zeros((len(a), 3, 3))
    k[:, [2, 0, 1], [1, 2, 0]], k[:, [1, 2, 0], [2, 0, 1]] = axis, -axis
    turn = np.eye(3) + k + k @ k / np.maximum(1.0 + cosine, _SMALL)
    # For opposite directions it is not unique: half a turn about any perpendicular axis.
    across = _unit(np.cross(a, np.eye(3)[np.abs(a).argmin(-1)]), a)
    half = 2.0 * across[:, :, None] * across[:, None, :] - np.eye(3)
    return np.where(cosine < -1.0 + 1e-9, half, turn)
