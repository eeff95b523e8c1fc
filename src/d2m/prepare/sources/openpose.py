"""OpenPose's JSON, a file a frame in one folder: ``NAME_000000000123_keypoints.json``; BODY_25 or COCO-18.

Each holds ``people``, a list of ``pose_keypoints_2d`` (``pose_keypoints`` before version 1.1): x, y, confidence of 25
or 18 points in pixels; three zeros are an unseen point (OpenPose documentation, "Output"). In both orders the first
eight points are ours; BODY_25 puts the hips' middle before the hips. The format knows no frame rate: ``fps.txt`` in
the folder, one number, tells it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import N_JOINTS
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.follow import follow

SUFFIX = "_keypoints.json"
_ORDERS = {18: tuple(range(14)), 25: (*range(8), *range(9, 15))}
_NUMBER = re.compile(r"(\d+)" + re.escape(SUFFIX) + "$")
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
_MAX_FRAMES = 1_000_000


def read_people(path: Path) -> NDArray[np.float32] | None:
    """One frame: (people, 14, 3), (0, 14, 3) where there is nobody, None where the file is broken."""
    try:
        people = json.loads(path.read_text(encoding="utf-8"))["people"]
        out = np.zeros((len(people), N_JOINTS, 3), np.float32)
        for i, person in enumerate(people):
            numbers = next(person[k] for k in _KEYS if k in person)
            if not numbers:  # a hand or a face without a body
                continue
            points = np.asarray(numbers, np.float32).reshape(-1, 3)
            out[i] = points[list(_ORDERS[len(points)])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    out[~np.isfinite(out).all(axis=-1)] = 0.0
    return out


def _fps(folder: Path, default: float) -> float:
    path = folder / "fps.txt"
    if not path.is_file():
        return default
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise D2MError(f"{path}: holds no number; write the frames per second in it") from e


def read_openpose(path: str | Path, fps: float = 30.0) -> PoseClip:
    """Read a folder of frames and follow one dancer through it (:mod:`d2m.prepare.sources.follow`).

    Broken files, and numbers missing between the first and the last, are frames in which nobody is seen.

    Args:
        path: the folder.
        fps: of the film, where the folder holds no ``fps.txt``.

    Raises:
        D2MError: no folder, no frames in it, none that can be read, a bad frame rate.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise D2MError(f"{folder}: no such folder; the openpose source reads folders of *{SUFFIX} files")
    try:
        names = sorted(p.name for p in folder.iterdir())
    except OSError as e:
        raise D2MError(f"{folder}: cannot be listed ({e.strerror}); make it readable") from e
    numbered = {int(m[1]): name for name in names if (m := _NUMBER.search(name))}
    if not numbered:
        raise D2MError(f"{folder}: holds no *{SUFFIX}; write them with OpenPose's --write_json")
    first, last = min(numbered), max(numbered)
    if last - first >= _MAX_FRAMES:
        raise D2MError(f"{folder}: frames {first} to {last}; the numbers are too far apart to be one film")
    rate = _fps(folder, fps)
    if not np.isfinite(rate) or not 1 <= rate <= 1000:
        raise D2MError(f"{folder}: fps is {rate:g}; give the frames per second, 1 to 1000")
    read = {number: read_people(folder / name) for number, name in numbered.items()}
    if all(people is None for people in read.values()):
        raise D2MError(f"{folder}: none of its {len(read)} frames can be read; they are no OpenPose JSON (25 or 18)")
    nobody = np.zeros((0, N_JOINTS, 3), np.float32)
    frames = [people if (people := read.get(n)) is not None else nobody for n in range(first, last + 1)]
    poses = follow(frames, rate)
    if not (poses[..., 2] > 0).any():
        raise D2MError(f"{folder}: no dancer in {len(frames)} frames; film somebody, or leave the recording out")
    return make_clip(poses[..., :2], rate, str(folder), poses[..., 2])
