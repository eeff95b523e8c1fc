"""A body that dances, for tests: smooth, of constant limb lengths in 3-D, with limbs that swing at their own tempi."""

from __future__ import annotations

import numpy as np

REST = np.zeros((14, 3))
REST[:, 1] = [165, 145, 142, 115, 90, 142, 115, 90, 92, 50, 8, 92, 50, 8]
REST[:, 0] = [0, 0, -18, -22, -25, 18, 22, 25, -10, -11, -12, 10, 11, 12]
REST[0, 2] = 8.0
#: (joint, what it hangs from), inner ones first.
TREE = ((0, 1), (2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 6), (8, 1), (9, 8), (10, 9), (11, 1), (12, 11), (13, 12))


def dancer(seconds: float = 6.0, fps: float = 30.0, seed: int = 0, fastest_hz: float = 1.5) -> np.ndarray:
    """(t, 14, 3) cm, y up, right-handed: every limb swings about its rest by up to 50 degrees; the body sways."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * fps)) / fps
    out = np.zeros((len(t), 14, 3))
    out[:, 1] = REST[1] + np.stack(
        [20 * np.sin(2 * np.pi * 0.3 * t), 4 * np.sin(2 * np.pi * 1.1 * t), 15 * np.cos(2 * np.pi * 0.2 * t)], -1
    )
    for joint, near in TREE:
        bone = REST[joint] - REST[near]
        trunk = joint in (0, 2, 5, 8, 11)
        swing = np.deg2rad(6 if trunk else 50) * rng.uniform(0.5, 1, (2, 1))
        angle = swing * np.sin(2 * np.pi * rng.uniform(0.3, fastest_hz, (2, 1)) * t + rng.uniform(0, 6, (2, 1)))
        a, b = np.cos(angle), np.sin(angle)
        x = bone[0] * a[0] - bone[1] * b[0]
        y = bone[0] * b[0] + bone[1] * a[0]
        out[:, joint] = out[:, near] + np.stack([x, y * a[1] - bone[2] * b[1], y * b[1] + bone[2] * a[1]], -1)
    return out


def picture(seconds: float = 6.0, fps: float = 30.0, seed: int = 0, torso_px: float = 110.0) -> np.ndarray:
    """(t, 14, 2) pixels, y down: the dancer of :func:`dancer` seen from the front, in a picture of 1280 x 720."""
    body = dancer(seconds, fps, seed)
    scale = torso_px / 53.0
    return np.stack([640 + scale * body[..., 0], 620 - scale * body[..., 1]], axis=-1)


def coco17(joints: np.ndarray) -> np.ndarray:
    """(..., 14, c) -> (..., 17, c): our joints at COCO's places; eyes and ears at the nose."""
    out = np.repeat(joints[..., :1, :], 17, axis=-2)
    for ours, theirs in zip((2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13), (6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15)):
        out[..., theirs, :] = joints[..., ours, :]
    return out
