"""COCO-17 keypoints in pixels: AIST++ ``keypoints2d`` pickles, BRACE segments, arrays in .npy and .npz.

* ``.pkl`` (AIST++, ``aist_plusplus/loader.py``): a dict with ``keypoints2d`` (9 cameras, n, 17, 3), 60 fps.
  ``FILE.pkl::c03`` chooses a camera; the first is the default.
* ``.json`` (BRACE, github.com/dmoltisanti/brace): {``video/img-000123.png``: {"keypoints": 17 x [x, y, score]}};
  frames that are not there are unseen. Moltisanti et al., "BRACE", ECCV 2022.
* ``.npy``, ``.npz`` (t, 17, 2 or 3), or (cameras, t, 17, 2 or 3); an npz names it ``keypoints2d``, ``keypoints`` or
  ``joints`` and may hold ``fps`` and ``genre``.

A third number is the confidence; a point at exactly (0, 0) is unseen, as detectors write it.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.prepare.sources.aistpp import AIST_FPS, aist_genre
from d2m.prepare.sources.clip import PoseClip, from_coco17, make_clip
from d2m.prepare.sources.pickles import load_arrays

_ARRAY_KEYS = ("keypoints2d", "keypoints", "joints")
_DEFAULT_FPS = 30.0
_FRAME = re.compile(r"(\d+)\.\w+$")
_MAX_FRAMES = 1_000_000
_BAD = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile, RecursionError)


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
            raise D2MError(f"{file}: none of the keys {', '.join(_ARRAY_KEYS)}; name the keypoints so")
        fps = float(f["fps"]) if "fps" in f.files else _DEFAULT_FPS
        return f[key], fps, str(f["genre"]) if "genre" in f.files else None


def _brace(file: Path) -> NDArray[np.float32]:
    frames = json.loads(file.read_text(encoding="utf-8"))
    numbers = {int(_FRAME.search(name)[1]): name for name in frames}  # type: ignore[index]
    first, last = min(numbers), max(numbers)
    if last - first >= _MAX_FRAMES:
        raise ValueError("frame numbers far apart")
    out = np.full((last - first + 1, 17, 3), np.nan, np.float32)
    for number, name in numbers.items():
        out[number - first] = np.asarray(frames[name]["keypoints"], np.float32).reshape(17, 3)
    return out


def _load(path: str | Path) -> tuple[Path, str | None, NDArray[np.float32], float, str | None]:
    file, camera = split_camera(path)
    genre: str | None = None
    suffix, fps = file.suffix.lower(), _DEFAULT_FPS
    if not file.is_file():
        raise D2MError(f"{file}: no such file; mend the pose column of the manifest")
    if suffix == ".pkl":
        data, fps = load_arrays(file), AIST_FPS
        raw = next((data[k] for k in _ARRAY_KEYS if k in data), None) if isinstance(data, dict) else data
        if not isinstance(raw, np.ndarray):
            raise D2MError(f"{file}: no array keypoints2d; give a file of AIST++'s keypoints2d")
    elif suffix in (".npy", ".npz", ".json"):
        try:
            if suffix == ".json":
                raw = _brace(file)
            else:
                raw, fps, genre = _array_file(file)
        except _BAD as e:
            raise D2MError(f"{file}: not readable as COCO-17 keypoints ({type(e).__name__}); export it again") from e
    else:
        raise D2MError(f"{file}: keypoints come as .pkl, .npy, .npz or .json, not '{suffix}'; convert it")
    if raw.ndim not in (3, 4) or raw.shape[-2] != 17 or raw.shape[-1] not in (2, 3) or raw.dtype.kind not in "iuf":
        raise D2MError(f"{file}: keypoints are {raw.dtype} {raw.shape}; (frames, 17, 2 or 3) numbers are needed")
    views = np.asarray(raw, np.float32).reshape(-1, *raw.shape[-3:])
    return file, camera, views, fps, genre or aist_genre(file)


def camera_names(path: str | Path) -> list[str]:
    """The cameras that a file holds, ``c01`` onwards; ``FILE::c02`` reads the second.

    Raises:
        D2MError: as :func:`read_coco17`.
    """
    views = _load(path)[2]
    return [f"c{i + 1:02d}" for i in range(len(views))]


def read_coco17(path: str | Path, camera: str | int | None = None, fps: float | None = None) -> PoseClip:
    """Read one camera's keypoints.

    Args:
        path: the file, or ``FILE::c03``.
        camera: ``c03``, ``3`` (both the third), or None for what the path says, else the first.
        fps: overrides the file's; without either, 60 for .pkl, 30 for the rest.

    Raises:
        D2MError: missing, unreadable or malicious file, wrong shape, no such camera.
    """
    file, in_path, views, file_fps, genre = _load(path)
    wanted = str(camera if camera is not None else in_path or "c01")
    number = re.fullmatch(r"c?0*(\d+)", wanted)
    if not number or not 1 <= int(number[1]) <= len(views):
        raise D2MError(f"{file}: no camera '{wanted}'; there are c01 to c{len(views):02d}")
    points = views[int(number[1]) - 1]
    seen = np.isfinite(points[..., :2]).all(axis=-1) & (points[..., :2] != 0).any(axis=-1)
    sure = np.where(seen, points[..., 2] if points.shape[-1] == 3 else 1.0, 0.0)
    ours = from_coco17(np.concatenate([points[..., :2], sure[..., None]], axis=-1))
    return make_clip(ours[..., :2], file_fps if fps is None else fps, str(path), ours[..., 2], genre)
