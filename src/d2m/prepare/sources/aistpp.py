"""AIST++ 3-D keypoints: ``keypoints3d/gBR_sBM_cAll_d04_mBR0_ch01.pkl``, COCO-17, 60 fps, cm, y up.

Layout after the dataset's own loader (github.com/google/aistplusplus_api, ``aist_plusplus/loader.py``): a dict with
``keypoints3d`` and ``keypoints3d_optim``, (n, 17, 3) each; the second is smoothed by the bundle adjustment and has
fewer holes. The world is right-handed (its cameras are proper rotations), its lengths are cm (camera translations
share them) and y points up (Tseng et al., "EDGE", CVPR 2023, rotate y to z before use). Li et al., "AI Choreographer",
ICCV 2021.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from d2m.core.errors import D2MError
from d2m.prepare.sources.clip import PoseClip, make_clip
from d2m.prepare.sources.orders import reorder
from d2m.prepare.sources.pickles import load_arrays

AIST_FPS = 60.0
#: Codes in file names: the AIST Dance DB's ten genres (Tsuchida et al., ISMIR 2019).
GENRES = {
    "BR": "break", "PO": "pop", "LO": "lock", "MH": "middle hip-hop", "LH": "la hip-hop", "HO": "house",
    "WA": "waack", "KR": "krump", "JS": "street jazz", "JB": "ballet jazz",
}  # fmt: skip
#: gGENRE_sSITUATION_cCAMERA_dDANCER_mMUSIC_chCHOREOGRAPHY, at the start of a file's name.
AIST_NAME = re.compile(r"^g(?P<genre>[A-Z]{2})_s[A-Z]{2}_c\w+?_(?P<dancer>d\d+)_(?P<music>m[A-Z]{2}\d)_ch\d+")
_KEYS = ("keypoints3d_optim", "keypoints3d")


def aist_genre(path: str | Path) -> str | None:
    """The genre encoded in an AIST file name, or None."""
    match = AIST_NAME.match(Path(path).name)
    return GENRES.get(match["genre"]) if match else None


def read_aistpp(path: str | Path, fps: float = AIST_FPS) -> PoseClip:
    """Read a motion of ``keypoints3d``, preferring the optimised array of its two.

    Raises:
        D2MError: a missing, unreadable or malicious file; no such keypoints.
    """
    data = load_arrays(path)
    keys = [k for k in _KEYS if k in data] if isinstance(data, dict) else []
    if not keys:
        raise D2MError(f"{path}: no key {' or '.join(_KEYS)}; give a file of AIST++'s keypoints3d")
    points = np.asarray(data[keys[0]])
    if points.ndim != 3 or points.shape[1:] != (17, 3):
        raise D2MError(f"{path}: {keys[0]} is {points.shape}; AIST++ has (frames, 17, 3)")
    with np.errstate(over="ignore"):  # overflow to infinity counts as unseen
        points = points.astype(np.float32)
    seen = np.isfinite(points).all(axis=-1) & (points != 0).any(axis=-1)
    poses = reorder(np.concatenate([points, seen[..., None]], axis=-1), "coco17")
    return make_clip(poses[..., :3], fps, str(path), poses[..., 3], aist_genre(path))
