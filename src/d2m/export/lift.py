"""Depth for 2-D dances: none (``flat``), or estimated from the foreshortening of bones (``bones``).

Under an orthographic camera, a bone of length L that appears with length l extends sqrt(L^2 - l^2) into the picture or
out of it (Taylor, "Reconstruction of articulated objects from point correspondences in a single uncalibrated image",
CVIU 2000). The picture does not determine which. Here the signs of a limb's bones are the cheapest path through all
frames (Viterbi) under three costs, each in squared bone lengths: changes of depth from frame to frame; joints that bend
the wrong way, or hands and feet in unusual places; and, for the trunk, hands and knees that are not in front of chest
and hips. (The nose is not reliable: dancers in closed hold look over their shoulder.) Depth is smoothed afterwards; x
and y are not changed.

docs/export.md has its error against real 3-D dances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, LEFT_HIP, NECK, RIGHT_HIP
from d2m.motion.camera import TORSO_CM
from d2m.motion.camera import lift as scale_to_torso

Lift = Literal["flat", "bones"]
LIFTS: tuple[str, ...] = get_args(Lift)

Floats = NDArray[np.float64]

_NOSE = JOINTS.index("nose")
_R_SHOULDER, _L_SHOULDER = JOINTS.index("right_shoulder"), JOINTS.index("left_shoulder")
#: Minimum lengths as shares of the torso (neck to hips), from the segment lengths of Drillis and Contini (1966) as
#: given by Winter, "Biomechanics and Motor Control of Human Movement", 4th ed., figure 4.1, about a third shorter: for
#: bones that are never in the picture's plane.
_LEAST = {"shoulders": 0.60, "hips": 0.36, "nose": 0.25, "upper": 0.45, "fore": 0.35, "thigh": 0.60, "shin": 0.60}
#: A bone's length is this quantile of its projected lengths. Higher quantiles bend limbs that hang straight.
_QUANTILE = 0.7
#: Seconds over which depth is smoothed (standard deviation).
_SMOOTH_S = 0.08
#: Costs: changes of depth; unusual positions of limbs; chest against hips; hands and knees against chest and hips.
#: Chosen on twelve ballroom dances; between a quarter and four times as much the error hardly changes.
_CHANGE, _LIMIT, _TWIST, _FACING = 1.0, 2.0, 0.5, 4.0


def lift(poses: NDArray[np.floating], how: str, fps: float = FPS) -> Floats:
    """A dance (t, 14, 2) in pixels, y down -> (t, 14, 3) cm, x right, y up, z towards the camera.

    The torso is :data:`d2m.motion.camera.TORSO_CM` long; depth is relative to the middle of the hips.

    Args:
        how: "flat": z = 0, no claim about depth; "bones": see the module.

    Raises:
        D2MError: an unknown ``how``, a body without extent, or poses that are not finite.
    """
    if how not in LIFTS:
        raise D2MError(f"lift={how}: choose from {', '.join(LIFTS)}")
    if not np.isfinite(poses).all():
        raise D2MError("poses contain numbers that are not finite; fill the gaps first")
    joints = scale_to_torso(poses)
    if how == "bones":
        joints[..., 2] = _depths(joints[..., :2], fps)
    return joints


def _depths(xy: Floats, fps: float) -> Floats:
    """Orthographic joints (t, 14, 2) cm, y up -> depths (t, 14), towards the camera, of the hips' middle 0."""
    z = np.zeros(xy.shape[:2])
    chest, hips = _trunk(xy)
    z[:, _L_SHOULDER], z[:, _R_SHOULDER] = chest / 2, -chest / 2
    z[:, LEFT_HIP], z[:, RIGHT_HIP] = hips / 2, -hips / 2
    faces_chest, faces_hips = _facing(xy, chest, (_R_SHOULDER, _L_SHOULDER)), _facing(xy, hips, (RIGHT_HIP, LEFT_HIP))

    nose = _reach(xy, [(NECK, _NOSE)], _LEAST["nose"])
    aside = xy[:, _NOSE, 0] - xy[:, NECK, 0]
    z[:, _NOSE] = _cheapest([nose], lambda depth: _LIMIT * _behind(faces_chest, aside, depth[0]) / nose[1])
    for first, faces, names, bends_forward in (
        (_R_SHOULDER, faces_chest, ("upper", "fore"), False),
        (_L_SHOULDER, faces_chest, ("upper", "fore"), False),
        (RIGHT_HIP, faces_hips, ("thigh", "shin"), True),
        (LEFT_HIP, faces_hips, ("thigh", "shin"), True),
    ):
        limb = _limb(xy, first, faces, names, bends_forward)
        z[:, first + 1] = z[:, first] + limb[:, 0]
        z[:, first + 2] = z[:, first + 1] + limb[:, 1]
    return np.asarray(gaussian_filter1d(z, _SMOOTH_S * fps, axis=0, mode="nearest"), np.float64)


# -- bones -------------------------------------------------------------------------------------------------------


def _reach(xy: Floats, bones: Sequence[tuple[int, int]], least: float) -> tuple[Floats, float]:
    """Extent of bones of equal length (both sides) out of the picture plane: (t,) for the first one, and the length."""
    seen = [np.linalg.norm(xy[:, b] - xy[:, a], axis=-1) for a, b in bones]
    length = max(least * TORSO_CM, *(float(np.quantile(s, _QUANTILE)) for s in seen))
    return np.sqrt(np.maximum(length**2 - seen[0] ** 2, 0.0)), length


def _twins(first: int) -> list[tuple[int, int]]:
    """The bone that starts at a joint of a limb, and its counterpart on the other side."""
    other = first + 3 if JOINTS[first].startswith("right") else first - 3
    return [(first, first + 1), (other, other + 1)]


def _facing(xy: Floats, dz: Floats, pair: tuple[int, int]) -> Floats:
    """Forward unit vectors (t, 2), x and z, of a (right, left) pair of joints whose depths differ by ``dz``."""
    forward = np.stack([-dz, xy[:, pair[1], 0] - xy[:, pair[0], 0]], axis=-1)
    return np.asarray(forward / np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9), np.float64)


def _behind(faces: Floats, x: Floats, z: Floats) -> Floats:
    """Distance (t,) of a point behind the body, in cm; 0 in front."""
    return np.asarray(np.maximum(-(faces[:, 0] * x + faces[:, 1] * z), 0.0), np.float64)


# -- signs ---------------------------------------------------------------------------------------------------------


def _cheapest(reaches: Sequence[tuple[Floats, float]], cost: Callable[[Sequence[Floats]], Floats]) -> Floats:
    """Signs of one bone or of two connected bones, by Viterbi: depths (t,), or (t, 2).

    Args:
        reaches: (reach (t,), length) of every bone.
        cost: of the depths that a choice of signs gives, per frame (t,).
    """
    signs = list(product((1.0, -1.0), repeat=len(reaches)))
    depths = np.stack([[s * r for s, (r, _) in zip(choice, reaches, strict=True)] for choice in signs])  # (c, n, t)
    lengths = np.array([length for _, length in reaches])
    own = np.stack([cost(d) for d in depths], axis=-1)  # (t, c)
    # Where joints are, not which way bones go: the end of a chain moves with all of it.
    places = np.cumsum(depths, axis=1) / np.cumsum(lengths)[:, None]
    step = _CHANGE * ((places[:, None, :, 1:] - places[None, :, :, :-1]) ** 2).sum(2)  # (to, from, t - 1)
    path = _viterbi(own, np.moveaxis(step, -1, 0))
    chosen = depths[path, :, np.arange(len(path))]
    return np.asarray(chosen[:, 0] if len(reaches) == 1 else chosen, np.float64)


def _viterbi(own: Floats, step: Floats) -> NDArray[np.int64]:
    """The cheapest path (t,): own costs (t, c), costs of going from one state to another (t - 1, to, from)."""
    total, back = own[0], []
    for costs, here in zip(step, own[1:], strict=True):
        through = costs + total
        back.append(through.argmin(1))
        total = through.min(1) + here
    path = [int(total.argmin())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return np.array(path[::-1], np.int64)


def _trunk(xy: Floats) -> tuple[Floats, Floats]:
    """How much (t,) closer to the camera the left shoulder, and the left hip, is than the right one.

    Assumes hands in front of the chest, knees in front of the hips, and chest and hips facing about the same way.
    """
    pairs = ((_R_SHOULDER, _L_SHOULDER), (RIGHT_HIP, LEFT_HIP))
    chest, hips = (_reach(xy, [p], _LEAST[n]) for p, n in zip(pairs, ("shoulders", "hips"), strict=True))
    hands = sum(xy[:, j + 2, 0] - xy[:, j, 0] for j in pairs[0]) / (_LEAST["upper"] * TORSO_CM)
    knees = sum(xy[:, j + 1, 0] - 0.5 * (xy[:, j, 0] + xy[:, j + 2, 0]) for j in pairs[1]) / (
        _LEAST["thigh"] * TORSO_CM
    )

    def cost(depth: Sequence[Floats]) -> Floats:
        chest_ahead, hips_ahead = (_facing(xy, d, p) for d, p in zip(depth, pairs, strict=True))
        away = np.maximum(-hands * chest_ahead[:, 0], 0.0) + np.maximum(-knees * hips_ahead[:, 0], 0.0)
        twist = 1.0 - (chest_ahead * hips_ahead).sum(-1)
        return np.asarray(_TWIST * twist + _FACING * away, np.float64)

    both = _cheapest([chest, hips], cost)
    return both[:, 0], both[:, 1]


def _limb(xy: Floats, first: int, faces: Floats, names: tuple[str, str], bends_forward: bool) -> Floats:
    """Depths (t, 2) of a limb's two bones from where each begins.

    Assumes a knee in front of the line from hip to ankle, and a hand more likely in front of the body than behind it.
    """
    upper, lower = _reach(xy, _twins(first), _LEAST[names[0]]), _reach(xy, _twins(first + 1), _LEAST[names[1]])
    length = upper[1] + lower[1]
    middle_x, end_x = (xy[:, first + k, 0] - xy[:, first, 0] for k in (1, 2))

    def cost(depth: Sequence[Floats]) -> Floats:
        end_z = depth[0] + depth[1]
        if not bends_forward:
            return np.asarray(_LIMIT * (_behind(faces, end_x, end_z) / length) ** 2 * 4, np.float64)
        bent = _behind(faces, middle_x - 0.5 * end_x, depth[0] - 0.5 * end_z)
        return np.asarray(_LIMIT * ((4 * bent / length) ** 2 + (end_z / length) ** 2), np.float64)

    return _cheapest([upper, lower], cost)
