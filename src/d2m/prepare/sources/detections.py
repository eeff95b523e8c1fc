"""JSON written by COCO-17 detectors: BRACE, AlphaPose, COCO results, MMPose, Ultralytics.

* BRACE (github.com/dmoltisanti/brace): {``video/img-000123.png``: {"keypoints": 17 x [x, y, score]}}.
* AlphaPose (``alphapose-results.json``) and COCO results: a list of {"image_id": ``123.jpg`` or 123, "keypoints": x, y,
  score of all points, flat}, one entry per person.
* MMPose (``--pred-out-dir``): a list, or {"instance_info": a list}, of {"frame_id": 123, "instances": [{"keypoints":
  17 x [x, y], "keypoint_scores": 17 numbers}]}.
* COCO's annotations: {"annotations": the same list}. AlphaPose's other forms: {``123.jpg``: {"people" or "bodies": [{
  "pose_keypoints_2d" or "joints": flat}]}}.
* Plain lists of every frame (or {"frames" or "keypoints": the list}), of a person's or of people's points: [x, y],
  [x, y, score] or [x, y, depth, score]; of a person's landmarks as MediaPipe names them: {"x", "y", "z",
  "visibility"}. null is an unseen point.
* Ultralytics: of every frame a list of people, as its ``to_json`` writes one picture's: {"keypoints": {"x", "y",
  "visible"}}. Its list of a single picture, or all pictures' lists put end to end, does not say which frame a person is
  of, and is refused.

All give pixels, of people in any order; frames whose numbers are not there are frames in which nobody is seen.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.prepare.sources.frames import in_order, number_frames, stride

Person = NDArray[np.float32]

#: Keys under which a list of all frames may lie.
_LISTS = ("frames", "keypoints", "poses", "predictions")


def _flat(numbers: Any) -> Person:
    return np.asarray(numbers, np.float32).reshape(-1, 3)


def _mmpose(person: Any) -> Person:
    points = np.asarray(person["keypoints"], np.float32).reshape(-1, 2)
    scores = np.asarray(person.get("keypoint_scores", np.ones(len(points))), np.float32).reshape(-1, 1)
    return np.concatenate([points, scores], axis=-1)


def _ultralytics(person: Any) -> Person:
    points = person["keypoints"]
    seen = points.get("visible") or [1.0] * len(points["x"])
    return np.stack([np.asarray(v, np.float32) for v in (points["x"], points["y"], seen)], axis=-1)


def _of_image(image: Any) -> list[Person]:
    if "keypoints" in image:
        return [_flat(image["keypoints"])]
    people = image["people"] if "people" in image else image["bodies"]
    return [_flat(p["pose_keypoints_2d"] if "pose_keypoints_2d" in p else p["joints"]) for p in people]


def _landmark(point: Any) -> list[float] | None:
    """A MediaPipe landmark as [x, y, visibility]; None if it is unseen."""
    return None if point is None else [point["x"], point["y"], point.get("visibility", 1.0)]


def _plain(frame: list[Any]) -> list[Person]:
    """One person's points, or several people's; of four numbers the third is a depth."""
    if not frame:
        return []
    width = max((len(p) for p in frame if p is not None), default=2)
    points = np.asarray([[np.nan] * width if p is None else p for p in frame], np.float32)
    people = points[None] if points.ndim == 2 else points
    if people.ndim != 3 or people.shape[-1] not in (2, 3, 4):
        raise ValueError("no points")
    sure = people[..., -1:] if people.shape[-1] > 2 else np.ones_like(people[..., :1])
    return list(np.concatenate([people[..., :2], sure], axis=-1))


def _by_image(people: list[Any], where: str) -> dict[int, list[Person]]:
    names = {str(p["image_id"]) for p in people}
    # COCO's image_id is a number, AlphaPose's a file name.
    numbers = {name: n for n, name in number_frames(sorted(names), where, r"(?:\.\w+)?").items()}
    frames: dict[int, list[Person]] = defaultdict(list)
    for person in people:
        frames[numbers[str(person["image_id"])]].append(_flat(person["keypoints"]))
    return frames


def _frames(data: Any, where: str) -> dict[int, list[Person]]:
    if isinstance(data, dict) and "instance_info" in data:
        data = data["instance_info"]
    if isinstance(data, dict) and isinstance(data.get("annotations"), list):
        data = [a for a in data["annotations"] if a.get("keypoints")]
    if isinstance(data, dict) and "fps" in data:
        raise D2MError(f"{where}: rates are not read from JSON; write an npz with keypoints and fps")
    if isinstance(data, dict) and len(lists := [data[k] for k in _LISTS if isinstance(data.get(k), list)]) == 1:
        data = lists[0]
    if isinstance(data, dict):
        numbers = number_frames(data, where)
        if len(numbers) < len(data):
            raise ValueError("names without numbers")
        return {n: _of_image(data[name]) for n, name in numbers.items()}
    if not isinstance(data, list) or not data:
        raise ValueError("no list")
    if all(isinstance(frame, list) for frame in data):
        if any(isinstance(p, list) for frame in data for p in frame):
            return {n: _plain(frame) for n, frame in enumerate(data)}
        if any(isinstance(p, dict) and "x" in p for frame in data for p in frame):
            return {n: _plain([_landmark(p) for p in frame]) for n, frame in enumerate(data)}
        return {n: [_ultralytics(p) for p in frame if "keypoints" in p] for n, frame in enumerate(data)}
    if "image_id" in data[0]:
        return _by_image(data, where)
    if "instances" in data[0]:
        ids = [int(frame["frame_id"]) for frame in data]
        if len(set(ids)) < len(ids):
            raise D2MError(f"{where}: a frame_id occurs twice; give each film its own file")
        return {n: [_mmpose(p) for p in frame["instances"]] for n, frame in zip(ids, data, strict=True)}
    if "keypoints" in data[0]:
        raise D2MError(
            f"{where}: does not tell which frame its people belong to; "
            "write a list of people per frame, for Ultralytics "
            "json.dump([json.loads(r.to_json()) for r in results], file)"
        )
    raise ValueError("unknown")


def _load(file: Path) -> Any:
    """Load JSON in any of its encodings, or with one value per line."""
    raw = file.read_bytes()
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return [json.loads(line) for line in raw.splitlines() if line.strip()]


def read_detections(file: Path) -> tuple[list[NDArray[np.float32]], int]:
    """People in every frame, (n, points, 3): x, y, confidence; and the :func:`stride` of the frame numbers.

    Raises:
        D2MError: not JSON of one of these kinds, frames of two films, no people, or people with different numbers of
            points.
    """
    try:
        frames = _frames(_load(file), str(file))
        if max(frames) - min(frames) >= 1_000_000:
            raise ValueError("frame numbers far apart")
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as e:
        raise D2MError(
            f"{file}: not readable as detections ({type(e).__name__}); give JSON of BRACE, AlphaPose, MMPose, "
            "COCO results or Ultralytics, or an npz"
        ) from e
    counts = {len(p) for people in frames.values() for p in people}
    if len(counts) != 1:
        raise D2MError(
            f"{file}: people with {sorted(counts) or 'no'} points; give the output of one detector, 17 points each"
        )
    points = counts.pop()
    stacked: dict[int, NDArray[np.float32] | None] = {n: np.stack(p) for n, p in frames.items() if p}
    for end in (min(frames), max(frames)):
        stacked.setdefault(end, None)
    return list(in_order(stacked, points)), stride(stacked)
