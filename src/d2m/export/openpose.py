"""OpenPose's output: a JSON of 18 keypoints per frame, and a video of the skeleton in its colours.

Pose-to-video models are conditioned on these (ControlNet's openpose models and their successors). Points
are in the order of COCO-18, x, y and a confidence each; eyes and ears, which d2m does not have, are 0, 0, 0 as
OpenPose writes unseen points (OpenPose documentation, "Output").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from colorsys import hsv_to_rgb
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from d2m.core.files import appear_together
from d2m.core.skeleton import JOINTS, N_JOINTS
from d2m.draw.render import Frame
from d2m.draw.video import write_video
from d2m.draw.view import fit

_COCO_18 = 18
#: Limbs in the order in which OpenPose colours them, and the hues (degrees) of limbs and of points: around the circle
#: in steps of 20.
_LIMBS = (
    ("neck", "right_shoulder"), ("neck", "left_shoulder"), ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"), ("neck", "left_hip"),
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("neck", "nose"),
)  # fmt: skip
_HUE_STEP = 20
#: Half the width of a limb and the radius of a point, at 512 pixels.
_THICK = 4 / 512
#: Limbs are darker than points.
_LIMB_SHARE = 0.6


def on_canvas(poses: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Poses (t, 14, 2) as pixels of a square picture that holds the whole dance."""
    return fit([poses], (size, size), 0, 0).place(poses, 0)


def write_keypoints(folder: Path, poses: NDArray[np.float64], fps: float) -> None:
    """Write ``FOLDER/NAME_000000000000_keypoints.json`` and so on, and ``fps.txt``, which the format lacks.

    Args:
        folder: named as the dance; an older one is replaced.
        poses: (t, 14, 2) pixels of the canvas.
    """
    with appear_together(folder.parent) as part:
        own = part / folder.name
        own.mkdir()
        (own / "fps.txt").write_text(f"{fps:g}\n", encoding="ascii")
        unseen = [0.0, 0.0, 0.0] * (_COCO_18 - N_JOINTS)
        for frame, pose in enumerate(poses):
            seen = np.concatenate([pose, np.ones((N_JOINTS, 1))], -1).round(3).reshape(-1).tolist()
            people = [{"person_id": [-1], "pose_keypoints_2d": seen + unseen}]
            path = own / f"{folder.name}_{frame:012d}_keypoints.json"
            path.write_text(json.dumps({"version": 1.3, "people": people}), encoding="ascii")


def colour(step: int) -> tuple[int, int, int]:
    """RGB of a limb or point: saturated, hues 20 degrees apart."""
    r, g, b = (round(255 * v) for v in hsv_to_rgb(step * _HUE_STEP / 360, 1.0, 1.0))
    return r, g, b


def draw(pose: NDArray[np.float64], size: int) -> Frame:
    """One pose (14, 2) in pixels of the canvas, on black."""
    frame: Frame = np.zeros((size, size, 3), np.uint8)
    thick = max(1, round(_THICK * size))
    for i, (a, b) in enumerate(_LIMBS):
        start, end = pose[JOINTS.index(a)], pose[JOINTS.index(b)]
        middle, along = 0.5 * (start + end), end - start
        axes = (max(int(np.linalg.norm(along) / 2), 1), thick)
        outline = cv2.ellipse2Poly(
            (round(middle[0]), round(middle[1])), axes, round(np.degrees(np.arctan2(along[1], along[0]))), 0, 360, 1
        )
        shade = tuple(int(_LIMB_SHARE * c) for c in colour(i))
        cv2.fillConvexPoly(frame, np.array(outline), shade, lineType=cv2.LINE_AA)
    for i, point in enumerate(pose):
        cv2.circle(frame, (round(point[0]), round(point[1])), thick, colour(i), -1, cv2.LINE_AA)
    return frame


def write_skeleton_video(path: Path, poses: NDArray[np.float64], fps: float, size: int) -> None:
    """Write the skeleton video of a dance (t, 14, 2) in pixels of the canvas."""

    def frames() -> Iterator[Frame]:
        for pose in poses:
            yield draw(pose, size)

    write_video(path, frames(), fps)
