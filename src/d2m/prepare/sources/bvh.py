"""Motion capture in BVH: any skeleton whose joints can be named, forward kinematics over all frames at once.

Format: Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001. A rotation is
applied in the order of its channels, the first outermost; positions of the root are absolute. Position channels of
inner joints replace the joint's offset (Vicon, MotionBuilder), unless all of them are zero.

BVH states neither unit nor up axis. The unit is guessed as the one of :data:`d2m.prepare.sources.axes.UNITS` that makes
thigh and shin a human's (83 cm); up is the direction in which the body stands. Both can be given instead.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.prepare.sources.axes import UPS, cm_per_unit, guess_up, leg_length, turn_up
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.rigs import nose, resolve

_CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")

_SECTIONS = re.compile(r"\bHIERARCHY\b|\bMOTION\b", re.IGNORECASE)
_FRAMES = re.compile(r"\s*Frames\s*:\s*(\S+)\s+Frame\s*Time\s*:[^\S\r\n]*(\S*)(.*)", re.IGNORECASE | re.DOTALL)

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


def read_text(path: Path) -> str:
    """The text of a BVH file in UTF-8 or UTF-16, without what DOS leaves at its end. Raises: OSError."""
    raw = path.read_bytes()
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if utf16 else "utf-8", errors="replace").strip("\0\x1a \r\n")


def parse_bvh(text: str, where: str, fps: float | None = None) -> Bvh:
    """Parse a BVH file; keywords in any case.

    Args:
        fps: overrides the file's.

    Raises:
        D2MError: not BVH, a broken hierarchy, an unknown channel, a wrong count of numbers, infinite or NaN, no frames.
    """
    parts = _SECTIONS.split(text)
    if len(parts) != 3:
        raise D2MError(f"{where}: not a BVH file (HIERARCHY and MOTION); export it as BVH")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[tuple[str, int], ...]] = []
    stack: list[int] = []
    column = 0
    try:
        words = iter(parts[1].replace("{", " { ").replace("}", " } ").split())
        for given in words:
            word = given.upper()
            if word in ("ROOT", "JOINT", "END"):
                name: list[str] = []
                while (part := next(words)) != "{":
                    name.append(part)
                parents.append(stack[-1] if stack else -1)
                names.append(f"{names[stack[-1]]}_end" if word == "END" else " ".join(name))
                stack.append(len(names) - 1)
                offsets.append([0.0, 0.0, 0.0])
                channels.append(())
            elif word == "}":
                stack.pop()
            elif word == "OFFSET":
                offsets[stack[-1]] = [float(next(words)) for _ in range(3)]
            elif word == "CHANNELS":
                kinds = [next(words).capitalize() for _ in range(int(next(words)))]
                unknown = [k for k in kinds if k not in _CHANNELS]
                if unknown:
                    raise D2MError(f"{where}: unknown channel '{unknown[0]}'; BVH has {', '.join(_CHANNELS)}")
                channels[stack[-1]] = tuple((k, column + i) for i, k in enumerate(kinds))
                column += len(kinds)
            else:
                raise ValueError(given)
        if stack or not names:
            raise ValueError("braces")
    except (ValueError, IndexError, StopIteration, RuntimeError) as e:
        raise D2MError(f"{where}: its HIERARCHY is broken ({str(e) or 'it ends early'}); export it again") from e
    try:
        frames, time, numbers = _FRAMES.fullmatch(parts[2]).groups()  # type: ignore[union-attr]
        n, step = int(frames), 1 / fps if fps else float(time)
        motion = np.array(numbers.split(), np.float64)
    except AttributeError:
        raise D2MError(f"{where}: its MOTION lacks the lines Frames: and Frame Time:; export it again") from None
    except ValueError as e:
        raise D2MError(f"{where}: its MOTION is broken ({str(e)[:60]}); export it again") from e
    if n < 1 or not column or len(motion) != n * column:
        whole = len(motion) // column if column and len(motion) % column == 0 else 0
        mend = f"; if it is complete, correct its line to Frames: {whole}" if whole else ""
        raise D2MError(
            f"{where}: {len(motion)} numbers for {n} frames of {column} channels; the file is cut short or "
            f"damaged{mend}"
        )
    if not np.isfinite(motion).all() or not np.isfinite(offsets).all():
        raise D2MError(f"{where}: contains numbers that are not finite; export it again")
    if not 1e-3 <= step <= 1.0:
        raise D2MError(f"{where}: Frame Time is {step:g} s; set the right rate, e.g. fps=30 (it must be 0.001 to 1 s)")
    turns = [
        c for i, kinds in enumerate(channels) for kind, c in kinds if parents[i] >= 0 and kind.endswith("rotation")
    ]
    if turns and 0 < np.abs(motion.reshape(n, column)[:, turns]).max() <= 2 * np.pi:
        raise D2MError(f"{where}: no joint turns by more than 6.28, so its rotations are radians; export degrees")
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
    """Positions of joints.

    Args:
        wanted: indices of joints; all by default. Others are computed only if they are ancestors of these.

    Returns:
        Positions (t, j, 3) in the file's unit and orientations (t, j, 3, 3), of all joints; NaN if not computed.
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


def read_bvh(
    path: str | Path,
    names: Mapping[str, str] | None = None,
    unit: str | float = "auto",
    up: str = "auto",
    fps: float | None = None,
) -> PoseClip:
    """Read a motion.

    Args:
        names: our joint -> the rig's, for rigs unknown to :mod:`d2m.prepare.sources.rigs`; other joints are looked up
            there.
        unit: one of :data:`d2m.prepare.sources.axes.UNITS`, or centimetres per unit; "auto" guesses by the legs.
        up: one of :data:`d2m.prepare.sources.axes.UPS`; "auto" guesses by the body.
        fps: overrides the file's.

    Raises:
        D2MError: a missing or broken file, a joint that cannot be found, or points that do not form a body.
    """
    path = Path(path)
    if up not in ("auto", *UPS):
        raise D2MError(f"{path}: up is '{up}'; give {', '.join(UPS)} or auto")
    try:
        text = read_text(path)
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; correct the pose column of the manifest") from e
    except OSError as e:
        raise D2MError(f"{path}: cannot be read ({e.strerror}); give a BVH file") from e
    bvh = parse_bvh(text, str(path), fps)
    rig = resolve(bvh.names, names, str(path))
    if len(bvh.motion) < 2:
        raise D2MError(f"{path}: 1 frame; a motion needs at least 2")
    places, turns = forward_kinematics(bvh, sorted(set(rig.joints) | {rig.head, *rig.face}))
    joints = places[:, list(rig.joints)]
    scale = cm_per_unit(unit, leg_length(joints), str(path))
    joints[:, 0] = nose(places, turns, rig)
    joints *= scale
    joints = turn_up(joints, guess_up(joints) if up == "auto" else up)
    return make_clip(joints, bvh.fps, str(path))
