"""COCO-17 keypoints in pixels: AIST++ ``keypoints2d`` pickles, detectors' JSON, arrays in .npy and .npz.

* ``.pkl`` (AIST++, ``aist_plusplus/loader.py``): a dict with ``keypoints2d`` (9 cameras, n, 17, 3), 60 fps.
  ``FILE.pkl::c03`` chooses a camera; the first is the default.
* ``.json``: see :mod:`d2m.prepare.sources.detections`; if there are several people, one is followed.
* ``.npy``, ``.npz`` (t, 17, 2 or 3), (cameras, t, 17, 2 or 3), or, if the first axis is the longer one,
  (t, people, 17, 2 or 3); an npz names it ``keypoints2d``, ``keypoints`` or ``joints`` and may hold ``fps``, ``genre``.

A third number is the confidence; a point at exactly (0, 0) or (-1, -1) is unseen, by detectors' convention. Other
orders of 17 and other counts of points: ``order``, see :mod:`d2m.prepare.sources.orders`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.prepare.sources.aistpp import AIST_FPS, aist_genre
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.detections import read_detections
from d2m.prepare.sources.follow import follow
from d2m.prepare.sources.orders import ORDERS, check_order, order_for, reorder
from d2m.prepare.sources.pickles import load_arrays
from d2m.prepare.sources.points import reshaping, unseen_points

_ARRAY_KEYS = ("keypoints2d", "keypoints", "joints")
_DEFAULT_FPS = 30.0
#: Largest confidence: those of a few detectors exceed 1; depths in any unit are larger, or negative.
_MAX_CONFIDENCE = 12.0
#: If all coordinates are below the first and third numbers exceed the second, they are metres, not pixels and
#: confidences.
_METRES, _SURE = 12.0, 1.05


def split_camera(path: str | Path) -> tuple[Path, str | None]:
    """``FILE::CAMERA`` -> the file and the camera; a file that has ``::`` in its own name stays whole."""
    file, mark, camera = str(path).rpartition("::")
    if not mark or Path(path).exists():
        return Path(path), None
    return Path(file), camera


def _array_file(file: Path) -> tuple[Any, float, str | None]:
    opened = np.load(file, allow_pickle=False)
    if isinstance(opened, np.ndarray):
        return opened, _DEFAULT_FPS, None
    with opened as f:
        key = next((k for k in _ARRAY_KEYS if k in f.files), None)
        if key is None:
            raise D2MError(f"{file}: none of the keys {', '.join(_ARRAY_KEYS)}; save the keypoints under one of them")
        if "fps" in f.files and f["fps"].size != 1:
            raise D2MError(f"{file}: fps is {f['fps'].size} numbers; write one, or set fps=")
        fps = float(f["fps"].real.item()) if "fps" in f.files else _DEFAULT_FPS
        return f[key], fps, str(f["genre"]) if "genre" in f.files else None


def _arrays(file: Path) -> tuple[NDArray[np.float32], float, str | None]:
    """(views, t, n, 2 or 3) or (t, n, 2 or 3) or (t, people, n, 2 or 3), fps and genre."""
    if file.suffix.lower() == ".pkl":
        data = load_arrays(file)
        raw = next((data[k] for k in _ARRAY_KEYS if k in data), None) if isinstance(data, dict) else data
        if not isinstance(raw, np.ndarray):
            raise D2MError(f"{file}: no array keypoints2d; give one of AIST++'s keypoints2d files")
        fps, genre = AIST_FPS, None
    else:
        try:
            raw, fps, genre = _array_file(file)
        except D2MError:
            raise
        except Exception as e:  # NumPy raises nearly anything about a broken header
            raise D2MError(
                f"{file}: not readable as keypoints ({type(e).__name__}); save one array of numbers, no objects"
            ) from e
    mend = reshaping(raw.shape, "keypoints", tuple({n for n, _ in ORDERS.values()})) if raw.ndim != 4 else ""
    if raw.ndim not in (3, 4) or raw.shape[-1] not in (2, 3) or raw.dtype.kind not in "iuf" or mend:
        raise D2MError(f"{file}: keypoints are {raw.dtype} {raw.shape}; (frames, 17, 2 or 3) numbers are needed{mend}")
    if not raw.size:
        raise D2MError(f"{file}: keypoints are {raw.shape}, nothing; export them again")
    return np.asarray(raw, np.float32), fps, genre


def _sure(points: NDArray[np.float32], whole: bool = True) -> NDArray[np.float32]:
    """(..., n, 2 or 3) -> (..., n, 3): with confidence, 0 if unseen. whole: these are all frames, not a single one."""
    xy = points[..., :2]
    seen = np.isfinite(xy).all(axis=-1) & (xy != 0).any(axis=-1) & (xy != -1).any(axis=-1)
    if whole:
        seen &= ~unseen_points(xy.reshape(-1, *xy.shape[-2:])).reshape(seen.shape)
    sure = np.where(seen, points[..., 2] if points.shape[-1] == 3 else 1.0, 0.0)
    return np.concatenate([points[..., :2], sure[..., None]], axis=-1).astype(np.float32)


def _check_confidences(points: NDArray[np.float32], file: Path) -> None:
    """Refuse third numbers that are depths instead of confidences."""
    points = points[np.isfinite(points).all(axis=-1) & (points[..., :2] != -1).any(axis=-1)]
    flat = points[..., :2]
    third = points[..., 2:]
    metres = bool(third.size and flat.size and third.min() > _SURE and np.abs(flat).max() < _METRES)
    if third.size and (metres or (third < 0).mean() > 0.01 or np.median(third) > _MAX_CONFIDENCE):
        raise D2MError(
            f"{file}: its third numbers are not confidences; save 3-D poses as an npz with the keys joints and fps, "
            "and set source=npz; percentages have to be divided by 100"
        )


def _view(views: NDArray[np.float32], camera: str, file: Path) -> NDArray[np.float32]:
    number = re.fullmatch(r"c?0*(\d+)", camera)
    if not number or not 1 <= int(number[1]) <= len(views):
        raise D2MError(f"{file}: no camera '{camera}'; choose from c01 to c{len(views):02d}")
    view: NDArray[np.float32] = views[int(number[1]) - 1]
    return view


def read_coco17(
    path: str | Path, camera: str | int | None = None, fps: float | None = None, order: str | None = None
) -> PoseClip:
    """Read one camera's keypoints or, among several people, one dancer's.

    Args:
        path: the file, or ``FILE::c03``.
        camera: ``c03``, ``3`` (both the third), or None for what the path says, else the first.
        fps: overrides the file's; without either, 60 for .pkl, 30 for the rest.
        order: of the points; by default that of their count.

    Raises:
        D2MError: a missing, unreadable or malicious file; a wrong shape; no such camera; points that do not form a body
            in their order.
    """
    file, in_path = split_camera(path)
    suffix, wanted = file.suffix.lower(), str(camera if camera is not None else in_path or "")
    if not file.is_file():
        raise D2MError(f"{file}: no such file; correct the pose column of the manifest")
    if suffix not in (".pkl", ".npy", ".npz", ".json"):
        raise D2MError(f"{file}: keypoints come as .pkl, .npy, .npz or .json, not '{suffix}'; convert it")
    people: list[NDArray[np.float32]] | None = None
    file_fps, genre, every = _DEFAULT_FPS, None, 1
    if suffix == ".json":
        detected, every = read_detections(file)
        people = [_sure(frame, whole=False) for frame in detected]
        file_fps /= every
    else:
        raw, file_fps, genre = _arrays(file)
        if raw.ndim == 4 and not wanted and suffix != ".pkl" and raw.shape[0] > raw.shape[1]:
            people = list(_sure(raw))
        else:
            points = _sure(_view(raw.reshape(-1, *raw.shape[-3:]), wanted or "c01", file))
        _check_confidences(raw, file)
    rate = file_fps if fps is None else fps / every
    bodies = np.concatenate(people) if people is not None else points
    order = order_for(bodies.shape[1], order, str(file))
    check_order(np.where(bodies[..., 2:] > 0, bodies[..., :2], np.nan), order, str(path), bodies[..., 2])
    if people is not None:
        if not np.isfinite(rate) or not 1 <= rate <= 1000:
            raise D2MError(f"{file}: fps is {rate:g}; give the frames per second, 1 to 1000")
        poses = follow([reorder(frame, order) for frame in people], rate)
        if not (poses[..., 2] > 0).any():
            raise D2MError(f"{file}: no dancer in {len(people)} frames; leave the recording out")
    else:
        poses = reorder(points, order)
    return make_clip(poses[..., :2], rate, str(path), poses[..., 2], genre or aist_genre(file))
