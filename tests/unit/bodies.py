"""Bodies whose numbers are known."""

from __future__ import annotations

import numpy as np

from d2m.core.skeleton import JOINTS
from d2m.prepare.sources.orders import ORDERS

# A person of 50 px torso, arms out, mirror-symmetric; y down.
STANDING = np.array(
    [[0, -65], [0, -50], [-15, -50], [-35, -50], [-55, -50], [15, -50], [35, -50], [55, -50],
     [-10, 0], [-10, 40], [-10, 80], [10, 0], [10, 40], [10, 80]], float,
)  # fmt: skip
WRIST = JOINTS.index("right_wrist")


def waving(t: int = 90, amplitude: float = 20.0, axis: int = 1) -> np.ndarray:
    poses = np.repeat(STANDING[None], t, axis=0)
    poses[:, WRIST, axis] += amplitude * np.sin(2 * np.pi * np.arange(t) / 15)
    return poses + np.array([300.0, 200.0])


def in_order(joints: np.ndarray, order: str) -> np.ndarray:
    """(t, 14, c) -> (t, n, c) in an order; points that we do not have lie at the nose."""
    count, places = ORDERS[order]
    out = np.repeat(joints[:, :1], count, axis=1)
    for joint, place in enumerate(places):
        if isinstance(place, int):
            out[:, place] = joints[:, joint]
    return out
