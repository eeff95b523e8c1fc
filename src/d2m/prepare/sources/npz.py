"""Poses from npz: ``joints`` (t, j, 2 or 3) and ``fps``; optional ``joint_names, confidence, genre, units``.

Files of ``d2m infer`` have ``poses`` in place of ``joints``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, N_JOINTS
from d2m.prepare.sources.axes import UNITS, named_unit
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.orders import ORDERS, check_order, of_count, order_for, reorder
from d2m.prepare.sources.points import reshaping, unseen_points

_ALIASES = {"nose_or_head": "nose", "head": "nose"}


def canonical_joint(name: str) -> str:
    """A joint's name in this project's spelling: ``r_wrist``, ``RWrist``, ``Right Wrist`` -> ``right_wrist``."""
    spaced = re.sub(r"[-_]|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = "_".join({"r": "right", "l": "left"}.get(w, w) for w in spaced.lower().split())
    return _ALIASES.get(plain, plain)


def select_joints(joints: NDArray[np.floating], names: list[str], where: str) -> NDArray[np.floating]:
    """(t, j, c) with any joints in any order -> (t, 14, c) in the project's order.

    Raises:
        D2MError: a joint is missing or named twice.
    """
    if len(names) != joints.shape[1]:
        raise D2MError(f"{where}: {len(names)} joint_names for {joints.shape[1]} joints; they must match")
    known = [canonical_joint(n) for n in names]
    missing = [j for j in JOINTS if known.count(j) != 1]
    if missing:
        raise D2MError(f"{where}: joint_names must hold each of the 14 joints once; correct {', '.join(missing)}")
    return joints[:, [known.index(j) for j in JOINTS]]


def _real(array: NDArray[Any]) -> NDArray[Any]:
    """Raises: TypeError: complex numbers."""
    if array.dtype.kind == "c":
        raise TypeError("complex numbers")
    return array


def _load(
    path: Path, fps: float | None, order: str | None, unit: str | float | None
) -> tuple[NDArray[np.floating], float, NDArray[np.floating] | None, str | None, float]:
    """joints (t, 14, c), fps, confidence, genre and cm per unit of a file; everything except finiteness is checked."""
    try:
        with np.load(path, allow_pickle=False) as f:
            if isinstance(f, np.ndarray):
                raise ValueError("a single array")
            keys = set(f.files)
            key = "poses" if "poses" in keys and "joints" not in keys else "joints"
            missing = ({key, "fps"} if fps is None else {key}) - keys
            if missing:
                mend = (
                    f"it has {', '.join(sorted(keys))[:80] or 'none'}" if key in missing else "or set fps=, e.g. fps=30"
                )
                raise D2MError(
                    f"{path}: no key {', '.join(sorted(missing))}; an npz of poses needs joints and fps ({mend})"
                )
            joints = np.asarray(f[key])
            if fps is None:
                if (rate := _real(f["fps"])).size != 1:
                    raise D2MError(f"{path}: fps is {rate.size} numbers; write one, or set fps=")
                fps = float(rate.item())
            names = (
                [n.decode() if isinstance(n, bytes) else str(n) for n in f["joint_names"]]
                if "joint_names" in keys
                else None
            )
            length = named_unit(str(f["units"])) if "units" in keys else ""
            genre = str(f["genre"]) if "genre" in keys else None
            sure = np.asarray(_real(f["confidence"]), np.float32) if "confidence" in keys else None
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; correct the pose column of the manifest") from e
    except D2MError:
        raise
    except Exception as e:  # NumPy raises nearly anything about a broken header
        raise D2MError(
            f"{path}: not readable as an npz of poses; write it with numpy.savez, without object arrays"
        ) from e
    counts = tuple({len(names)} if names is not None else {n for n, _ in ORDERS.values()})
    mend = reshaping(joints.shape, key, counts)
    if joints.ndim != 3 or joints.shape[2] not in (2, 3) or joints.dtype.kind not in "iuf" or mend:
        raise D2MError(
            f"{path}: {key} are {joints.dtype} {joints.shape}; (frames, 14, 2 or 3) numbers are needed{mend}"
        )
    if not np.isfinite(fps) or not 1 <= fps <= 1000:
        raise D2MError(f"{path}: fps is {fps}; write the frames per second, 1 to 1000")
    if sure is not None and sure.shape != joints.shape[:2]:
        raise D2MError(f"{path}: confidence is {sure.shape} for joints {joints.shape}; one per joint is needed")
    if np.issubdtype(joints.dtype, np.integer):
        joints = joints.astype(np.float32)
    joints = np.where(unseen_points(joints)[..., None], np.nan, joints)
    if names is not None:
        joints = select_joints(joints, names, str(path))
        if sure is not None:
            sure = select_joints(sure[..., None], names, str(path))[..., 0]
    else:
        joints, sure = _unnamed(joints, sure, order, str(path))
    if len(joints) < 2:
        raise D2MError(f"{path}: {len(joints)} frames; a motion needs at least 2")
    scale = UNITS.get(length, 1.0) if joints.shape[2] == 3 and unit is None else 1.0
    return joints * scale if scale != 1.0 else joints, fps, sure, genre, scale


def _unnamed(
    joints: NDArray[np.floating], sure: NDArray[np.floating] | None, order: str | None, where: str
) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Joints (t, n, c) in a known order -> (t, 14, c); the confidence likewise."""
    if order is None and joints.shape[1] != N_JOINTS:
        known = " or ".join(f"order={name}" for name in of_count(joints.shape[1]))
        raise D2MError(
            f"{where}: {joints.shape[1]} joints without joint_names; name them, or " + (f"set {known}" if known else
            "give the 14 in order")
        )  # fmt: skip
    order = order_for(joints.shape[1], order, where)
    check_order(joints, order, where, sure)
    certain = np.ones(joints.shape[:2]) if sure is None else sure
    reordered = reorder(np.concatenate([joints, certain[..., None]], axis=-1), order)
    return (joints, sure) if order == "d2m" else (reordered[..., :-1], reordered[..., -1])


def read_npz_clip(
    path: str | Path, fps: float | None = None, order: str | None = None, unit: str | float | None = None
) -> PoseClip:
    """Read one motion; ``confidence`` (t, j) is optional, and points found by :func:`unseen_points` are unseen.

    Args:
        fps: overrides the file's.
        order: of joints that are not named, one of :data:`d2m.prepare.sources.orders.ORDERS`; by default our 14.
        unit: a unit that the caller will apply; by default 3-D joints are converted to cm from the file's ``units``.

    Raises:
        D2MError: a missing or unreadable file, a missing key, a wrong shape, an invalid fps.
    """
    joints, rate, sure, genre, scale = _load(Path(path), fps, order, unit)
    return replace(make_clip(joints, rate, str(path), sure, genre), cm_per_unit=scale)
