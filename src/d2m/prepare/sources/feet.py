"""Root, ankles and toes in 3-D, for formats that have toes; our 14 joints end at the ankles.

The root is the midpoint of the hips: a rig's own root may be on the floor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import JOINTS
from d2m.motion.kinematics import hip_midpoint
from d2m.prepare.sources.axes import UNITS, cm_per_unit, guess_up, leg_length, turn_up
from d2m.prepare.sources.bvh import forward_kinematics, parse_bvh, read_text
from d2m.prepare.sources.npz import canonical_joint
from d2m.prepare.sources.orders import ORDERS, reorder
from d2m.prepare.sources.rigs import plain, resolve
from d2m.prepare.stated import Stated

Floats = NDArray[np.float64]

#: Names, after the side, of the joint at the front of the foot: a toe, or the end of the foot if a rig has no toes;
#: SMPL calls it foot.
_RIG_TOES = ("toebase", "toe", "toes", "toe0", "ball", "footend")
_NPZ_TOES = ("toe", "toe_base", "big_toe", "foot_index", "foot")
#: Order -> its left and right toe.
_ORDER_TOES = {"smpl22": (10, 11), "smpl24": (10, 11), "blazepose": (31, 32), "body25": (19, 22), "halpe26": (20, 21)}
_ANKLES = (JOINTS.index("left_ankle"), JOINTS.index("right_ankle"))


def read_feet(source: str, path: Path, stated: Stated) -> Floats | None:
    """The feet of a recording that its reader has accepted already, at the file's own rate.

    Returns:
        (t, 5, 3) metres, y up: root, left ankle, left toe, right ankle, right toe; None if the file has no 3-D toes.
            Gaps are not finite.

    Raises:
        D2MError: a unit in which the body is not human.
    """
    read = {"bvh": _of_bvh, "npz": _of_npz}.get(source, lambda *_: None)(path, stated)
    if read is None:
        return None
    body, toes, unit, up = read
    joints = np.concatenate([body, toes], axis=1) * cm_per_unit(unit, leg_length(body), str(path))
    joints = turn_up(joints, guess_up(joints[:, : len(JOINTS)]) if up == "auto" else up)
    left, right = _ANKLES
    feet = (hip_midpoint(joints), joints[:, left], joints[:, -2], joints[:, right], joints[:, -1])
    return np.stack(feet, axis=1) / UNITS["m"]


#: Our joints (t, 14, 3); left and right toe (t, 2, 3), both in the file's unit and axes; unit and up, or "auto".
_Found = tuple[Floats, Floats, str | float, str]


def _of_bvh(path: Path, stated: Stated) -> _Found | None:
    bvh = parse_bvh(read_text(path), str(path), stated.fps)
    numbers = {plain(name): i for i, name in reversed(list(enumerate(bvh.names)))}
    spelled = [[n for toe in _RIG_TOES for n in (side + toe, side[0] + toe, toe + side[0], toe + side)]
               for side in ("left", "right")]  # fmt: skip
    toes = [next((numbers[n] for n in names if n in numbers), None) for names in spelled]
    if None in toes:
        return None
    rig = resolve(bvh.names, stated.names, str(path))
    wanted = [*rig.joints, *(t for t in toes if t is not None)]
    places, _ = forward_kinematics(bvh, sorted(set(wanted)))
    return places[:, wanted[:-2]], places[:, wanted[-2:]], stated.unit or "auto", stated.up or "auto"


def _of_npz(path: Path, stated: Stated) -> _Found | None:
    with np.load(path, allow_pickle=False) as f:
        joints = np.asarray(f["joints" if "joints" in f.files else "poses"], np.float64)
        names = [canonical_joint(str(n)) for n in f["joint_names"]] if "joint_names" in f.files else None
        unit = str(f["units"]) if "units" in f.files else "cm"
    if joints.shape[-1] != 3:
        return None
    if names is None:
        order = stated.order
        if order not in _ORDER_TOES or joints.shape[1] != ORDERS[order][0]:
            return None
        sure = np.concatenate([joints, np.ones((*joints.shape[:2], 1))], axis=-1)
        body, toes = reorder(sure, order)[..., :3].astype(np.float64), joints[:, list(_ORDER_TOES[order])]
    else:
        places = [next((names.index(n) for t in _NPZ_TOES if (n := f"{side}_{t}") in names), None)
                  for side in ("left", "right")]  # fmt: skip
        if None in places:
            return None
        body, toes = joints[:, [names.index(j) for j in JOINTS]], joints[:, [p for p in places if p is not None]]
    return body, toes, stated.unit or (unit if unit in UNITS else "cm"), stated.up or "y"
