"""A corpus of any size in the program's own format, made in seconds, to measure time and memory with.

Poses and features are noise, repeated; a corpus of more than :data:`FILLED` units is sparse on disk and reads as zeros.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import BEAT_FRAMES, FPS, JOINTS, POSE_DIM, UNIT_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.layout import FORMAT, INDEX, NORMALIZER, REPORT, TABLE, UNITS, layout
from d2m.data.normalizer import Normalizer
from d2m.data.splits import SPLITS
from d2m.data.table import RecordingInfo, write_table
from d2m.music.front_ends import FRONT_ENDS

UNITS_EACH = 12
FILLED = 20_000
_NOISE_ROWS = 4096


def make_corpus(
    folder: Path, n_units: int, genres: Sequence[str] = ("a", "b", "c"), front_end: str = "mfcc", seed: int = 0
) -> Corpus:
    """Recordings of :data:`UNITS_EACH` consecutive units with their music; every eighth is for validation.

    Args:
        n_units: rounded up to whole recordings, at least two a genre.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    n = max(2 * len(genres), -(-n_units // UNITS_EACH))
    frames, width = UNITS_EACH * UNIT_FRAMES, FRONT_ENDS[front_end].width
    genre = np.arange(n) % len(genres)
    split = np.where(np.arange(n) // len(genres) % 8 == 1, SPLITS.index("val"), SPLITS.index("train"))
    seconds = UNIT_FRAMES / FPS
    first = np.tile(np.arange(UNITS_EACH) * seconds, n)
    beats = np.arange(UNITS_EACH * len(BEAT_FRAMES)) * (seconds / len(BEAT_FRAMES)) + BEAT_FRAMES[0] / FPS
    each = {
        "recording_genre": genre, "recording_split": split, "unit_recording": np.repeat(np.arange(n), UNITS_EACH),
        "unit_view": np.zeros(n * UNITS_EACH), "unit_genre": np.repeat(genre, UNITS_EACH),
        "unit_span": np.stack([first, first + seconds], 1),
        "unit_beats": np.tile(beats.reshape(UNITS_EACH, -1), (n, 1)),
        "runs": _bounds(n, UNITS_EACH), "feature_bounds": _bounds(n, frames),
        "pose_bounds": np.column_stack([_bounds(n, frames), np.ones(n, np.int64)]),
        "beats": np.tile(beats, n), "beat_bounds": _bounds(n, len(beats)),
        "onsets": np.tile(beats, n), "onset_bounds": _bounds(n, len(beats)),
    }  # fmt: skip
    noise = {"units": n * UNITS_EACH, "features": n * frames, "poses": n * frames}
    for name, (shape, dtype) in layout(width).items():
        rows = noise.get(name) or len(each[name])
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (rows, *shape))
        if name not in noise:
            array[:] = each[name]
        elif n * UNITS_EACH <= FILLED:
            _fill(array, 1.0 if name == "features" else 50.0, rng)
        array.flush()
    names = (f"recording {i}" for i in range(n))
    write_table(
        folder / TABLE,
        (
            RecordingInfo(name, genres[genre[i]], name, SPLITS[split[i]], frames / FPS, 112.5, 0.0, "", "made")
            for i, name in enumerate(names)
        ),
    )
    Normalizer(np.zeros(POSE_DIM), np.full(POSE_DIM, 50.0), np.zeros(width), np.ones(width)).save(folder / NORMALIZER)
    info = {
        "format": FORMAT, "fps": FPS, "units": UNITS, "joints": list(JOINTS), "front_end": front_end,
        "columns": list(FRONT_ENDS[front_end].columns), "beat_tracker": {"name": "librosa", "weights": ""},
        "genres": list(genres), "recordings": n, "options": {"made": n_units, "seed": seed},
        "rows": {name: noise.get(name) or len(each[name]) for name in layout(width)},
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(info))
    (folder / REPORT).write_text("{}")
    return Corpus.open(folder)


def _bounds(n: int, length: int) -> NDArray[np.int64]:
    return np.stack([np.arange(n) * length, np.full(n, length)], 1)


def _fill(array: NDArray[np.float32], scale: float, rng: np.random.Generator) -> None:
    block = (scale * rng.normal(size=(min(_NOISE_ROWS, len(array)), *array.shape[1:]))).astype(np.float32)
    if array.ndim == 3:  # poses that move smoothly
        block = block[:, :1] + np.cumsum(0.1 * block, axis=1)
    for k in range(0, len(array), len(block)):
        array[k : k + len(block)] = block[: len(array) - k]
