"""Dancers of known shape, for the tests of pictures."""

from __future__ import annotations

import numpy as np

from d2m.core.skeleton import JOINTS

#: A star, facing us: no limb crosses another. Pixels, y down, the hips at the origin, the torso 50 long.
_STAR = {
    "nose": (0, -68), "neck": (0, -50),
    "right_shoulder": (-18, -50), "right_elbow": (-44, -62), "right_wrist": (-68, -80),
    "left_shoulder": (18, -50), "left_elbow": (44, -62), "left_wrist": (68, -80),
    "right_hip": (-9, 0), "right_knee": (-22, 40), "right_ankle": (-30, 82),
    "left_hip": (9, 0), "left_knee": (22, 40), "left_ankle": (30, 82),
}  # fmt: skip


def joint(name: str) -> int:
    return JOINTS.index(name)


def star(t: int = 1) -> np.ndarray:
    """(t, 14, 2): standing still."""
    return np.repeat(np.array([[_STAR[j] for j in JOINTS]], float), t, axis=0)


def swaying(t: int = 45, seed: int = 0) -> np.ndarray:
    """(t, 14, 2): the star, each joint on a small circle of its own."""
    rng = np.random.default_rng(seed)
    phase, rate, radius = rng.uniform(0, 6, 14), rng.uniform(0.1, 0.4, 14), rng.uniform(2, 12, 14)
    angle = np.arange(t)[:, None] * rate + phase
    return star(t) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
