"""One dancer's body: from angles and foot positions to 14 joints with constant limb lengths.

Axes: x, y (up), z in cm, right-handed, floor at y = 0. A dancer with yaw 0 faces +z, the left hand at +x.
Arms, torso and head follow from angles (forward kinematics); the legs close the chain from hip to planted
foot with the two-bone solution, so that feet neither slide nor sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The longest hip-to-ankle distance, as a share of the leg: knees never lock.
REACH = 0.985
#: Softness in cm of the limit that the legs set to the height of the hips.
SOFT_CM = 1.0


@dataclass(frozen=True)
class Body:
    """Limb lengths in cm."""

    height: float
    torso: float
    hip: float
    shoulder: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    head_up: float
    head_forward: float
    ankle: float  # height of the ankle over the floor

    @property
    def leg(self) -> float:
        return self.thigh + self.shin


def draw_body(rng: np.random.Generator) -> Body:
    """A body of 158 to 186 cm with limbs within some 4 % of average proportions."""
    height = float(rng.uniform(158, 186))
    shares = {
        "torso": 0.290, "hip": 0.056, "shoulder": 0.105, "upper_arm": 0.170, "forearm": 0.150,
        "thigh": 0.245, "shin": 0.240, "head_up": 0.095, "head_forward": 0.050, "ankle": 0.045,
    }  # fmt: skip
    lengths = {name: height * share * float(rng.uniform(0.96, 1.04)) for name, share in shares.items()}
    return Body(height=height, **lengths)


@dataclass
class Posture:
    """What a body does at each of t frames. Angles in radians, lengths in cm.

    `root` (t, 3): horizontal place of the hips' middle and the height it would like to have.
    `ankles` (t, 2, 3): right, left. `arms` (t, 2, 4): right, left x (elevation from hanging, azimuth from
    sideways to forward, elbow flexion, swivel of the forearm around the upper arm).
    """

    root: np.ndarray
    yaw: np.ndarray
    lean_forward: np.ndarray
    lean_left: np.ndarray
    twist: np.ndarray
    nod: np.ndarray
    look: np.ndarray
    arms: np.ndarray
    ankles: np.ndarray


def _rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotation matrices (t, 3, 3) around axis 0, 1 or 2."""
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((len(angle), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, i, i] = matrix[:, j, j] = cos
    matrix[:, i, j], matrix[:, j, i] = -sin, sin
    return matrix


def _arm_directions(arm: np.ndarray, out: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (t, 3) of upper arm and forearm in the chest's axes; `out` is +1 left, -1 right."""
    elevation, azimuth, flexion, swivel = arm.T
    zero = np.zeros_like(elevation)
    out_v = np.stack([np.cos(azimuth) * out, zero, np.sin(azimuth)], axis=1)
    down = np.array([0.0, -1.0, 0.0])
    upper = np.sin(elevation)[:, None] * out_v + np.cos(elevation)[:, None] * down
    rising = np.cos(elevation)[:, None] * out_v - np.sin(elevation)[:, None] * down
    forward = np.stack([-np.sin(azimuth) * out, zero, np.cos(azimuth)], axis=1)
    bend = np.cos(swivel)[:, None] * forward + np.sin(swivel)[:, None] * rising
    return upper, np.cos(flexion)[:, None] * upper + np.sin(flexion)[:, None] * bend


def _leg(hip: np.ndarray, ankle: np.ndarray, pole: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle (t, 3) of a leg that bends towards `pole`; an ankle out of reach is pulled in."""
    line = ankle - hip
    distance = np.linalg.norm(line, axis=1, keepdims=True)
    axis = line / distance
    distance = np.clip(distance, abs(body.thigh - body.shin) + 5.0, REACH * body.leg)
    side = pole - (pole * axis).sum(1, keepdims=True) * axis
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    along = (body.thigh**2 - body.shin**2 + distance**2) / (2 * distance)
    knee = hip + along * axis + np.sqrt(np.maximum(body.thigh**2 - along**2, 0)) * side
    return knee, hip + distance * axis


def joints(body: Body, posture: Posture) -> np.ndarray:
    """Joint positions (t, 14, 3) float64 in cm, in the order of `d2m.core.skeleton.JOINTS`.

    The hips are lowered, smoothly, wherever a leg would not reach its foot.
    """
    heading = _rotation(1, posture.yaw)
    torso = heading @ _rotation(2, -posture.lean_left) @ _rotation(0, posture.lean_forward)
    chest = torso @ _rotation(1, posture.twist)
    head = chest @ _rotation(1, posture.look) @ _rotation(0, posture.nod)

    root = posture.root.copy()
    hips_offset = np.stack([torso @ np.array([s * body.hip, 0, 0]) for s in (-1.0, 1.0)], axis=1)
    flat = posture.ankles - (root[:, None] + hips_offset)
    room = (REACH * body.leg) ** 2 - flat[..., 0] ** 2 - flat[..., 2] ** 2
    # Aim below the true limit by the soft minimum's own slack, so that the legs always reach.
    limit = posture.ankles[..., 1] + np.sqrt(np.maximum(room, 0)) - hips_offset[..., 1]
    heights = np.concatenate([root[:, 1:2], limit], axis=1)
    root[:, 1] = -SOFT_CM * np.logaddexp.reduce(-heights / SOFT_CM, axis=1)

    neck = root + torso @ np.array([0, body.torso, 0])
    nose = neck + head @ np.array([0, body.head_up, body.head_forward])
    out = np.empty((len(root), 14, 3))
    out[:, 0], out[:, 1] = nose, neck
    for side, sign in ((0, -1.0), (1, 1.0)):
        shoulder = neck + chest @ np.array([sign * body.shoulder, -0.015 * body.height, 0])
        upper, fore = _arm_directions(posture.arms[:, side], sign)
        elbow = shoulder + body.upper_arm * np.einsum("tij,tj->ti", chest, upper)
        wrist = elbow + body.forearm * np.einsum("tij,tj->ti", chest, fore)
        hip = root + hips_offset[:, side]
        pole = heading @ np.array([sign * 0.3, 0, 1.0])
        knee, ankle = _leg(hip, posture.ankles[:, side], pole, body)
        out[:, 2 + 3 * side : 5 + 3 * side] = np.stack([shoulder, elbow, wrist], axis=1)
        out[:, 8 + 3 * side : 11 + 3 * side] = np.stack([hip, knee, ankle], axis=1)
    return out
