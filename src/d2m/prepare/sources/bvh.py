"""Motion capture in BVH: any skeleton whose joints can be named, forward kinematics over all frames at once.

Format: Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001. A rotation is
applied in the order of its channels, the first outermost; positions of the root are absolute. Where a rig has
position channels on inner joints they replace the joint's offset (Vicon, MotionBuilder), unless all of them are zero.

BVH names neither unit nor up axis. The unit is the one of :data:`UNITS` that makes thigh and shin a human's (83 cm);
up is y, or z where the neck is above the hips along z. Both can be given instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LEFT_HIP, NECK, RIGHT_HIP
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.rigs import nose, resolve

#: Centimetres per unit: metres, decimetres, CMU's own (1 / 0.45 inch), inches, centimetres, millimetres.
UNITS = (100.0, 10.0, 2.54 / 0.45, 2.54, 1.0, 0.1)
_LEG_CM = 83.0  # of an adult: greater trochanter to ankle joint, about 0.48 of the height
_LEG_RANGE_CM = (50.0, 130.0)
_CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bvh:
    """A parsed file. Joints are in file order, parents first.

    names, parents (-1: a root), offsets (j, 3): the skeleton; End Sites are joints named ``PARENT_end``. channels: per
    joint, (name of the channel, column of motion). motion: (t, channels) degrees and the file's own unit of length.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Floats
    channels: tuple[tuple[tuple[str, int], ...], ...]
    motion: Floats
    fps: float


def parse_bvh(text: str, where: str) -> Bvh:
    """Parse a BVH file.

    Raises:
        D2MError: not BVH, broken hierarchy, unknown channel, wrong count of numbers, not finite, no frame.
    """
    head, mark, tail = text.partition("MOTION")
    if not mark or "HIERARCHY" not in head:
        raise D2MError(f"{where}: not a BVH file (HIERARCHY and MOTION); export it as BVH")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[tuple[str, int], ...]] = []
    stack: list[int] = []
    column = 0
    try:
        words = iter(head.split("HIERARCHY", 1)[1].replace("{", " { ").replace("}", " } ").split())
        for word in words:
            if word in ("ROOT", "JOINT", "End"):
                name: list[str] = []
                while (part := next(words)) != "{":
                    name.append(part)
                parents.append(stack[-1] if stack else -1)
                names.append(f"{names[stack[-1]]}_end" if word == "End" else " ".join(name))
                stack.append(len(names) - 1)
                offsets.append([0.0, 0.0, 0.0])
                channels.append(())
            elif word == "}":
                stack.pop()
            elif word == "OFFSET":
                offsets[stack[-1]] = [float(next(words)) for _ in range(3)]
            elif word == "CHANNELS":
                kinds = [next(words) for _ in range(int(next(words)))]
                unknown = [k for k in kinds if k not in _CHANNELS]
                if unknown:
                    raise D2MError(f"{where}: unknown channel '{unknown[0]}'; there are {', '.join(_CHANNELS)}")
                channels[stack[-1]] = tuple((k, column + i) for i, k in enumerate(kinds))
                column += len(kinds)
            else:
                raise ValueError(word)
        if stack or not names:
            raise ValueError("braces")
    except (ValueError, IndexError, StopIteration, RuntimeError) as e:
        raise D2MError(f"{where}: its HIERARCHY is broken ({str(e) or 'it ends early'}); export it again") from e
    try:
        fields = tail.replace("Frame Time:", " Frame_Time: ").split()
        n, step = int(fields[fields.index("Frames:") + 1]), float(fields[fields.index("Frame_Time:") + 1])
        motion = np.array(fields[fields.index("Frame_Time:") + 2 :], np.float64)
    except (ValueError, IndexError) as e:
        raise D2MError(f"{where}: its MOTION is broken ({str(e)[:60]}); export it again") from e
    if n < 1 or not column or len(motion) != n * column:
        raise D2MError(f"{where}: {len(motion)} numbers for {n} frames of {column} channels; the file is cut or broken")
    if not np.isfinite(motion).all() or not np.isfinite(offsets).all():
        raise D2MError(f"{where}: holds numbers that are not finite; export it again")
    if not 1e-3 <= step <= 1.0:
        raise D2MError(f"{where}: Frame Time is {step:g} s; 0.001 to 1 s is a motion's")
    return Bvh(
        tuple(names), tuple(parents), np.asarray(offsets, np.float64), tuple(channels),
        motion.reshape(n, column), 1.0 / step,
    )  # fmt: skip


def _rotations(degrees: Floats, axes: str) -> Floats:
    """(t, n) angles about n axes, the first outermost -> (t, 3, 3)."""
    out = np.broadcast_to(np.eye(3), (len(degrees), 3, 3))
    for angle, axis in zip(np.deg2rad(degrees).T, axes, strict=True):
        i, k = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
        turn = np.zeros((len(angle), 3, 3))
        turn[:] = np.eye(3)
        turn[:, i, i] = turn[:, k, k] = np.cos(angle)
        turn[:, i, k], turn[:, k, i] = -np.sin(angle), np.sin(angle)
        out = out @ turn
    return out


def forward_kinematics(bvh: Bvh, wanted: list[int] | None = None) -> tuple[Floats, Floats]:
    """Where joints are.

    Args:
        wanted: joints by number; all by default. Others are computed only where these hang from them.

    Returns:
        Positions (t, j, 3) in the file's unit and orientations (t, j, 3, 3), of all joints; NaN where not computed.
    """
    needed = set(range(len(bvh.names)) if wanted is None else wanted)
    for joint in range(len(bvh.names) - 1, -1, -1):
        if joint in needed and bvh.parents[joint] >= 0:
            needed.add(bvh.parents[joint])
    t = len(bvh.motion)
    places = np.full((t, len(bvh.names), 3), np.nan)
    turns = np.full((t, len(bvh.names), 3, 3), np.nan)
    for joint in sorted(needed):
        kinds = bvh.channels[joint]
        local = np.tile(bvh.offsets[joint], (t, 1))
        moves = [(k, c) for k, c in kinds if k.endswith("position")]
        root = bvh.parents[joint] < 0
        if moves and (root or bvh.motion[:, [c for _, c in moves]].any()):
            for kind, column in moves:
                local[:, "XYZ".index(kind[0])] = bvh.motion[:, column]
        spins = [(k[0], c) for k, c in kinds if k.endswith("rotation")]
        turn = _rotations(bvh.motion[:, [c for _, c in spins]], "".join(a for a, _ in spins))
        if root:
            places[:, joint], turns[:, joint] = local, turn
        else:
            parent = bvh.parents[joint]
            places[:, joint] = places[:, parent] + np.einsum("tik,tk->ti", turns[:, parent], local)
            turns[:, joint] = turns[:, parent] @ turn
    return places, turns


def _unit(joints: Floats, where: str) -> float:
    bones = [("hip", "knee"), ("knee", "ankle")]
    legs = [
        sum(
            float(np.median(np.linalg.norm(joints[:, index(side, a)] - joints[:, index(side, b)], axis=-1)))
            for a, b in bones
        )
        for side in ("left", "right")
    ]
    leg = float(np.mean(legs))
    unit = min(UNITS, key=lambda u: abs(np.log(max(leg, 1e-9) * u / _LEG_CM)))
    if not _LEG_RANGE_CM[0] <= leg * unit <= _LEG_RANGE_CM[1]:
        raise D2MError(f"{where}: legs of {leg:.3g} units are a human's in no usual unit; give cm per unit (unit_cm=)")
    return unit


def index(side: str, joint: str) -> int:
    """Number of ``left``/``right`` + joint in :data:`d2m.core.skeleton.JOINTS`."""
    return JOINTS.index(f"{side}_{joint}")


def read_bvh(
    path: str | Path,
    names: Mapping[str, str] | None = None,
    unit_cm: float | None = None,
    up: str = "auto",
) -> PoseClip:
    """Read a motion at its own rate.

    Args:
        names: our joint -> the rig's, for rigs unknown to :mod:`d2m.prepare.sources.rigs`; the rest is looked up.
        unit_cm: centimetres per unit of the file; by default inferred from the legs.
        up: "y", "z" or "auto".

    Raises:
        D2MError: missing or broken file, a joint that cannot be found, a body that is none.
    """
    path = Path(path)
    if up not in ("auto", "y", "z"):
        raise D2MError(f"{path}: up is '{up}'; give y, z or auto")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; mend the pose column of the manifest") from e
    except OSError as e:
        raise D2MError(f"{path}: cannot be read ({e.strerror}); name a BVH file") from e
    bvh = parse_bvh(text, str(path))
    rig = resolve(bvh.names, bvh.parents, names, str(path))
    if len(bvh.motion) < 2:
        raise D2MError(f"{path}: 1 frame; a motion needs at least 2")
    places, turns = forward_kinematics(bvh, sorted(set(rig.joints) | {rig.head, *rig.face}))
    joints = places[:, list(rig.joints)]
    scale = unit_cm if unit_cm is not None else _unit(joints, str(path))
    if not np.isfinite(scale) or scale <= 0:
        raise D2MError(f"{path}: unit_cm is {scale:g}; give the centimetres per unit, above 0")
    joints[:, 0] = nose(places, turns, rig)
    joints *= scale
    spine = (joints[:, NECK] - 0.5 * (joints[:, LEFT_HIP] + joints[:, RIGHT_HIP])).mean(axis=0)
    if up == "z" or (up == "auto" and abs(spine[2]) > abs(spine[1])):
        joints = joints[..., [0, 2, 1]] * np.array([1.0, 1.0, -1.0])
    return make_clip(joints, bvh.fps, str(path))
