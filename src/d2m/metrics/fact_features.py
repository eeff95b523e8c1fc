"""Kinetic and geometric features of a whole dance, used by AIST++ and its successors for FID_k, FID_g and Dist.

Adapted from 24 joints of SMPL in metres to 14 joints in a picture, (t, 14, 2) px with y down: the horizontal plane is
x, up is -y, lengths are in torso lengths, angles and directions are those in the picture. The numbers are not
comparable with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, N_JOINTS
from d2m.motion.kinematics import hip_midpoint, torso_length

Array = NDArray[np.floating]
Floats = NDArray[np.float64]

#: Frames on either side over which velocities are averaged (at 60 fps: 1/30 s).
WINDOW = 2
#: Medians of the 3-D ballroom dancers, in torso lengths (neck to hip midpoint): the units of Müller's thresholds,
#: which cannot be measured in every frame because of foreshortening.
UPPER_ARM, SHOULDERS, HIPS = 0.56, 0.55, 0.44
_UP = np.array([0.0, -1.0])


def _in_torso_lengths(poses: Array) -> Floats:
    p = np.asarray(poses, np.float64)
    if p.ndim != 3 or p.shape[1:] != (N_JOINTS, 2) or len(p) < 3 or not np.isfinite(p).all():
        raise D2MError(f"features of poses {p.shape}; give finite (t, 14, 2) with three frames or more")
    scale = torso_length(p)
    if not scale > 0:
        raise D2MError("the poses have no torso (neck and hips coincide), so the features have no unit")
    return np.asarray(p / scale, np.float64)


def _windowed_mean(steps: Floats) -> Floats:
    """Running mean of (n, ...) over 2 WINDOW + 1 rows; at the ends, over those that exist."""
    total = np.concatenate([np.zeros((1, *steps.shape[1:])), np.cumsum(steps, axis=0)])
    at = np.arange(len(steps))
    low, high = np.maximum(at - WINDOW, 0), np.minimum(at + WINDOW + 1, len(steps))
    return np.asarray((total[high] - total[low]) / (high - low).reshape(-1, *[1] * (steps.ndim - 1)), np.float64)


def kinetic_features(poses: Array, fps: float) -> Floats:
    """(t, 14, 2) px -> (42,): of every joint the mean of v_x^2, the mean of v_y^2, and the mean of |a|.

    Onuma, Faloutsos and Hodgins, "FMDistance", Eurographics 2008: kinetic energy in the horizontal plane and along the
    vertical (torso lengths^2 / s^2, mass 1, without the factor 1/2), and energy expenditure (torso lengths / s^2).
    Velocities and accelerations are running means over five frames, as AIST++ has them; order: three numbers of joint
    0, of joint 1, ...

    Raises:
        D2MError: another shape, fewer than three frames, poses that are not finite or have no torso.
    """
    p = _in_torso_lengths(poses)
    v = np.diff(p, axis=0) * fps
    a = np.diff(v, axis=0) * fps
    energy = np.square(_windowed_mean(v)).mean(0)
    expenditure = np.linalg.norm(_windowed_mean(a), axis=-1).mean(0)
    return np.asarray(np.stack([energy[:, 0], energy[:, 1], expenditure], axis=1).ravel(), np.float64)


class _Body:
    """Relations between body parts per frame; the first frame has no velocity and is omitted."""

    def __init__(self, p: Floats, fps: float) -> None:
        self.fps = fps
        self.at = {name: p[:, i] for i, name in enumerate(JOINTS)}
        self.at["root"] = hip_midpoint(p)
        self.height = (p @ _UP)[1:]
        self.lowest = self.height.min(axis=1)

    def place(self, joint: str) -> Floats:
        return self.at[joint][1:]

    def direction(self, start: str, end: str) -> Floats:
        d = self.place(end) - self.place(start)
        return np.asarray(d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-9), np.float64)

    def velocity(self, joint: str) -> Floats:
        return np.asarray(np.diff(self.at[joint], axis=0) * self.fps, np.float64)

    def beyond(self, start: str, end: str, origin: str, joint: str) -> Floats:
        """How far a joint lies from the origin along the direction from start to end."""
        return np.asarray(((self.place(joint) - self.place(origin)) * self.direction(start, end)).sum(-1), np.float64)

    def moving(self, start: str, end: str, origin: str, joint: str) -> Floats:
        """The joint's velocity relative to the origin's, along the direction from start to end."""
        relative = self.velocity(joint) - self.velocity(origin)
        return np.asarray((relative * self.direction(start, end)).sum(-1), np.float64)

    def speed(self, joint: str) -> Floats:
        return np.asarray(np.linalg.norm(self.velocity(joint), axis=-1), np.float64)

    def angle(self, first: Floats, second: Floats) -> Floats:
        """Degrees between unit vectors."""
        return np.asarray(np.degrees(np.arccos((first * second).sum(-1).clip(-1, 1))), np.float64)

    def bend(self, upper: str, middle: str, lower: str) -> Floats:
        return self.angle(self.direction(middle, upper), self.direction(middle, lower))

    def from_down(self, start: str, end: str) -> Floats:
        """Degrees between a limb and the spine's direction downwards."""
        return self.angle(self.direction("neck", "root"), self.direction(start, end))


Relation = Callable[[_Body, str, str], NDArray[np.bool_]]
#: Of each side; called with the body, the side and the other side.
_SIDED: dict[str, Relation] = {
    "hand above neck": lambda b, s, o: b.beyond("root", "neck", "neck", f"{s}_wrist") > 0.2 * UPPER_ARM,
    "hand rising": lambda b, s, o: b.moving("root", "neck", "neck", f"{s}_wrist") > 1.8 * UPPER_ARM,
    "elbow bent": lambda b, s, o: b.bend(f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist") < 110,
    "hand leaving root": lambda b, s, o: b.moving("root", f"{s}_wrist", "root", f"{s}_wrist") > 1.4 * UPPER_ARM,
    "hand fast": lambda b, s, o: b.speed(f"{s}_wrist") > 2.5 * UPPER_ARM,
    "hand low": lambda b, s, o: b.place(f"{s}_wrist") @ _UP - b.lowest < 1.2 * UPPER_ARM,
    "foot raised": lambda b, s, o: b.place(f"{s}_ankle") @ _UP - b.lowest > 1.2 * UPPER_ARM,
    "knee bent": lambda b, s, o: b.bend(f"{s}_hip", f"{s}_knee", f"{s}_ankle") < 110,
    "foot fast": lambda b, s, o: b.speed(f"{s}_ankle") > 2.5 * UPPER_ARM,
    "upper arm abducted": lambda b, s, o: b.from_down(f"{s}_shoulder", f"{s}_elbow") > 25,
    "thigh abducted": lambda b, s, o: b.from_down(f"{s}_hip", f"{s}_knee") > 50,
}
_MIDDLE: dict[str, Relation] = {
    "hands apart":
        lambda b, s, o: b.beyond(f"{o}_shoulder", f"{s}_shoulder", f"{o}_wrist", f"{s}_wrist") > 2.5 * SHOULDERS,
    "hands approaching":
        lambda b, s, o: b.moving(f"{o}_wrist", f"{s}_wrist", f"{s}_wrist", f"{o}_wrist") > 1.4 * UPPER_ARM,
    "feet apart": lambda b, s, o: b.beyond(f"{o}_hip", f"{s}_hip", f"{o}_ankle", f"{s}_ankle") > 2.1 * HIPS,
    "spine horizontal": lambda b, s, o: np.abs(b.angle(b.direction("root", "neck"), _UP) - 90) < 20,
    "root fast": lambda b, s, o: b.speed("root") > 2.3 * UPPER_ARM,
}  # fmt: skip
GEOMETRIC_FEATURES: tuple[str, ...] = (
    *(f"{side} {name}" for name in _SIDED for side in ("right", "left")),
    *_MIDDLE,
)


def geometric_features(poses: Array, fps: float = 60.0) -> Floats:
    """(t, 14, 2) px -> (27,): share of the frames in which each of :data:`GEOMETRIC_FEATURES` holds, in [0, 1].

    Relational features of Müller, Röder and Clausen, SIGGRAPH 2005, with AIST++'s thresholds, which are in upper-arm
    lengths, shoulder and hip widths (and those per second). Deviations: planes are lines of the picture; features that
    need depth are omitted (hand moving forwards, foot behind the other leg, root behind the frontal plane: 5 of 32);
    chest and belly, for which there are no joints, are replaced by neck and hip midpoint; the floor is the lowest joint
    of the frame.

    Args:
        fps: for features that depend on velocities.

    Raises:
        D2MError: as :func:`kinetic_features`.
    """
    body = _Body(_in_torso_lengths(poses), fps)
    sided = [holds(body, s, o) for holds in _SIDED.values() for s, o in (("right", "left"), ("left", "right"))]
    middle = [holds(body, "right", "left") for holds in _MIDDLE.values()]
    return np.asarray([row.mean() for row in (*sided, *middle)], np.float64)
