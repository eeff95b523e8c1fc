"""OpenPose's JSON, one file per frame in a folder: ``NAME_000000000123_keypoints.json``; BODY_25, BODY_25B or COCO-18.

Each holds ``people``, a list of ``pose_keypoints_2d`` (``pose_keypoints`` before version 1.1): x, y, confidence of all
points in pixels; three zeros are an unseen point (OpenPose documentation, "Output"). The format states neither the
order of the points, which is inferred from their count and the body (:mod:`d2m.prepare.sources.orders`), nor a frame
rate, which is read from ``fps.txt`` in the folder, a single number.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.follow import follow
from d2m.prepare.sources.frames import in_order, number_frames, stride
from d2m.prepare.sources.orders import check_order, of_count, order_for, reorder

SUFFIX = "_keypoints.json"
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
#: One number, the frames per second.
RATE_FILE = "fps.txt"
_DEFAULT_FPS = 30.0


def read_people(path: Path) -> NDArray[np.float32] | None:
    """One frame: (people, points, 3); (0, 0, 3) if there are no people; None if the file is broken."""
    try:
        people = json.loads(path.read_bytes())["people"]
        numbers = [next(person[k] for k in _KEYS if k in person) for person in people]
        bodies = [np.asarray(n, np.float32).reshape(-1, 3) for n in numbers if n]  # empty: a hand, a face
        out = np.stack(bodies) if bodies else np.zeros((0, 0, 3), np.float32)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    out[~np.isfinite(out).all(axis=-1)] = 0.0
    return out


def _fps(folder: Path) -> float:
    path = folder / RATE_FILE
    if not path.is_file():
        return _DEFAULT_FPS
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise D2MError(f"{path}: contains no number; write the frames per second in it") from e


def read_openpose(path: str | Path, fps: float | None = None, order: str | None = None) -> PoseClip:
    """Read a folder of frames and follow one dancer through it (:mod:`d2m.prepare.sources.follow`).

    Broken files, and missing numbers between the first and the last, count as frames without people. If only every
    second, third, ... number exists, the clip's frame rate is that fraction of the film's.

    Args:
        path: the folder.
        fps: of the film; by default that in ``fps.txt``, or 30.
        order: of the points; by default BODY_25 or COCO-18, by their count.

    Raises:
        D2MError: no such folder, no frames in it, frames of two films, none readable, an invalid frame rate, or points
            that do not form a body in their order.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise D2MError(f"{folder}: no such folder; the openpose source reads folders of *{SUFFIX} files")
    try:
        names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as e:
        raise D2MError(f"{folder}: cannot be listed ({e.strerror}); check its permissions") from e
    numbered = number_frames(names, str(folder), re.escape(SUFFIX))
    if not numbered:
        raise D2MError(f"{folder}: contains no *{SUFFIX}; write them with OpenPose's --write_json")
    rate = _fps(folder) if fps is None else fps
    if not np.isfinite(rate) or not 1 <= rate <= 1000:
        raise D2MError(f"{folder}: fps is {rate:g}; give the frames per second, 1 to 1000")
    read = {number: read_people(folder / name) for number, name in numbered.items()}
    rate /= stride(read)
    if all(people is None for people in read.values()):
        raise D2MError(
            f"{folder}: none of its {len(read)} frames is readable OpenPose JSON; write them with --write_json"
        )
    counts = Counter(people.shape[1] for people in read.values() if people is not None and len(people))
    if not counts:
        raise D2MError(f"{folder}: no dancer in {len(read)} frames; leave the recording out")
    points = max(counts, key=lambda n: (bool(of_count(n)), counts[n]))
    order = order_for(points, order, str(folder))
    bodies = np.concatenate([p for p in read.values() if p is not None and len(p) and p.shape[1] == points])
    check_order(np.where(bodies[..., 2:] > 0, bodies[..., :2], np.nan), order, str(folder), bodies[..., 2])
    frames = in_order(
        {n: reorder(p, order) if p is not None and len(p) and p.shape[1] == points else None for n, p in read.items()},
        14,
    )
    poses = follow(frames, rate)
    if not (poses[..., 2] > 0).any():
        raise D2MError(f"{folder}: no dancer in {len(frames)} frames; leave the recording out")
    return make_clip(poses[..., :2], rate, str(folder), poses[..., 2])
