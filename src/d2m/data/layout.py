"""The files of a prepared corpus: whole arrays, mapped into memory, addressed by index.

corpus.json            for people: a table by genre, and every recording, kept or left out and why; written last
index.json             for programs: genres, clock, units, joints, front end and its columns, beat tracker, numbers
                       of rows; its size does not depend on the corpus
recordings.arrow       one row per recording (Arrow IPC, mapped into memory)
normalizer.npz         statistics of the training split
recording_genre.npy    (n,) index into the genres; recording_split (n,) into SPLITS
units.npy              (N, 32, 28) float32 px; unit_recording, unit_view, unit_genre (N,); unit_span (N, 2) s;
                       unit_beats (N, 4) s, the kinematic beats on frames 3, 11, 19, 27
runs.npy               (R, 2) first unit and length of runs of contiguous units in one view
features.npy           (F, f) float32 at 15 fps, whole songs, not normalised; feature_bounds (n, 2)
poses.npy              (P, 28) float32 px at 15 fps, view after view; pose_bounds (n, 3): first, frames, views
beats.npy              (B,) s, of the music; beat_bounds (n, 2); onsets.npy and onset_bounds alike
sources.log            paths of the raw recordings on this machine, used only to locate the audio files

Opening a corpus reads only index.json and the headers of the arrays.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, POSE_DIM, UNIT_FRAMES
from d2m.music.front_ends import FRONT_ENDS

FORMAT = 2
REPORT, INDEX, TABLE, NORMALIZER = "corpus.json", "index.json", "recordings.arrow", "normalizer.npz"
SOURCES_LOG = "sources.log"

Layout = dict[str, tuple[tuple[int, ...], DTypeLike]]
#: The unit of poses.
UNITS = "px"
_LAYOUT: Layout = {
    "recording_genre": ((), np.int64),
    "recording_split": ((), np.int64),
    "units": ((UNIT_FRAMES, POSE_DIM), np.float32),
    "unit_recording": ((), np.int32),
    "unit_view": ((), np.int16),
    "unit_genre": ((), np.int16),
    "unit_span": ((2,), np.float64),
    "unit_beats": ((4,), np.float64),
    "runs": ((2,), np.int64),
    "features": ((0,), np.float32),  # as wide as the front end: see layout
    "feature_bounds": ((2,), np.int64),
    "poses": ((POSE_DIM,), np.float32),
    "pose_bounds": ((3,), np.int64),
    "beats": ((), np.float64),
    "beat_bounds": ((2,), np.int64),
    "onsets": ((), np.float64),
    "onset_bounds": ((2,), np.int64),
}


def layout(n_features: int) -> Layout:
    """name -> (shape of a row, dtype) of every array of a corpus with ``n_features`` features per frame."""
    return {**_LAYOUT, "features": ((n_features,), np.float32)}


def check_index(folder: Path, info: dict[str, Any]) -> int:
    """Check a corpus's frame rate, units, joints and feature columns against this version's.

    Returns:
        Number of features per frame.

    Raises:
        D2MError: they differ. Fields missing from an older index.json are assumed to match.
    """
    here = FRONT_ENDS.get(info["front_end"])
    expected = {"fps": FPS, "units": UNITS, "joints": list(JOINTS), **({"columns": list(here.columns)} if here else {})}
    for key, value in expected.items():
        if key in info and info[key] != value:
            said, required = info[key], value
            if isinstance(value, list):
                said, required = next(pair for pair in zip_longest(said, value) if pair[0] != pair[1])
            raise D2MError(f"{folder}: {key} is {said}, but this version reads {required}; prepare the corpus again")
    if "columns" in info:
        return len(info["columns"])
    if here is None:
        raise D2MError(
            f"{folder}: front end '{info['front_end']}' is unknown and its columns are not recorded; "
            "prepare the corpus again"
        )
    return here.width
