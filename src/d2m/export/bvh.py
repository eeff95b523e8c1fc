"""BVH (Meredith and Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001).

Every joint has position channels as well as rotations (:mod:`d2m.export.rig`), as Vicon's and MotionBuilder's files
have; Blender reads both. Rotations are in the order Z, X, Y.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from d2m.core.files import atomic_path
from d2m.export.rig import NAMES, PARENTS, Floats, pose_rig

_CHANNELS = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
#: Length (cm) of end sites.
_END_CM = 5.0


def write_bvh(path: Path, joints: Floats, fps: float) -> None:
    """Write a dance (t, 14, 3) cm, y up."""
    posed = pose_rig(joints)
    lines = [
        "HIERARCHY",
        *_joint("Hips", posed.rest, 0),
        "MOTION",
        f"Frames: {len(joints)}",
        f"Frame Time: {1 / fps:.8f}",
    ]
    turns = Rotation.from_matrix(posed.turns.reshape(-1, 3, 3)).as_euler("ZXY", degrees=True)
    rows = np.concatenate([posed.offsets, turns.reshape(posed.offsets.shape)], -1).reshape(len(joints), -1)
    lines += [" ".join(f"{v:.5f}" for v in row) for row in rows]
    with atomic_path(path) as temp:
        temp.write_text("\n".join(lines) + "\n", encoding="ascii")


def _joint(name: str, rest: Floats, depth: int) -> list[str]:
    pad = "  " * depth
    offset = " ".join(f"{v:.5f}" for v in rest[NAMES.index(name)])
    children = [n for n, parent in PARENTS.items() if parent == name]
    below = [line for child in children for line in _joint(child, rest, depth + 1)]
    if not children:
        along = np.sign(rest[NAMES.index(name)]) * _END_CM
        below = [
            f"{pad}  End Site",
            f"{pad}  {{",
            f"{pad}    OFFSET {along[0]:g} {along[1]:g} {along[2]:g}",
            f"{pad}  }}",
        ]
    kind = "ROOT" if PARENTS[name] is None else "JOINT"
    return [f"{pad}{kind} {name}", f"{pad}{{", f"{pad}  OFFSET {offset}", f"{pad}  {_CHANNELS}", *below, f"{pad}}}"]
