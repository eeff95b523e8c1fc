"""A prepared corpus: whole arrays on disk, mapped into memory, addressed by index.

corpus.json            options, genres, a table per genre, what was left out and why
recordings.csv         one line per recording
normalizer.npz         statistics of the training split
units.npy              (N, 32, 28) float32 px; unit_recording, unit_view, unit_genre (N,); unit_span (N, 2) s
runs.npy               (R, 2) first unit and length: units that follow each other without a gap, in one view
features.npy           (F, 28) float32 at 15 fps, not normalised; feature_bounds (n, 2)
poses.npy              (P, 28) float32 px at 15 fps, view after view; pose_bounds (n, 3): first, frames, views
beats.npy              (B,) s, of the music; beat_bounds (n, 2)
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from d2m.data.normalizer import Normalizer
from d2m.data.splits import SPLITS
from d2m.errors import D2MError
from d2m.skeleton import FEATURE_DIM, N_JOINTS, POSE_DIM, SEQUENCE_UNITS, UNIT_FRAMES

FORMAT = 1
INDEX, TABLE, NORMALIZER = "corpus.json", "recordings.csv", "normalizer.npz"

#: name -> (shape of a row, type) of every array of a corpus.
LAYOUT: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
    "units": ((UNIT_FRAMES, POSE_DIM), np.float32),
    "unit_recording": ((), np.int32),
    "unit_view": ((), np.int16),
    "unit_genre": ((), np.int16),
    "unit_span": ((2,), np.float64),
    "runs": ((2,), np.int64),
    "features": ((FEATURE_DIM,), np.float32),
    "feature_bounds": ((2,), np.int64),
    "poses": ((POSE_DIM,), np.float32),
    "pose_bounds": ((3,), np.int64),
    "beats": ((), np.float64),
    "beat_bounds": ((2,), np.int64),
}


class RecordingInfo(NamedTuple):
    """A line of recordings.csv. tempo: BPM, nan where unknown. audio: relative to the raw root, or ""."""

    name: str
    genre: str
    group: str
    split: str
    seconds: float
    tempo: float
    start_s: float
    audio: str
    licence: str


def write_table(path: Path, recordings: list[RecordingInfo]) -> None:
    """Write recordings.csv."""
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(RecordingInfo._fields)
        writer.writerows(recordings)


def read_table(path: Path) -> list[RecordingInfo]:
    """Read what :func:`write_table` wrote."""
    with open(path, newline="", encoding="utf-8") as f:
        reader = csv.reader(f)
        if tuple(next(reader, ())) != RecordingInfo._fields:
            raise ValueError("unknown columns")
        return [
            RecordingInfo(r[0], r[1], r[2], r[3], float(r[4]), float(r[5]), float(r[6]), r[7], r[8]) for r in reader
        ]


def starts_in_runs(runs: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Every unit that begins ``length`` consecutive units of one run, in order: (R, 2) -> (n,)."""
    counts = np.maximum(runs[:, 1] - length + 1, 0)
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.asarray(np.repeat(runs[:, 0], counts) + within, np.int64)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus, opened read-only. Arrays stay on disk until indexed; see the module's table."""

    folder: Path
    info: dict[str, Any]
    recordings: list[RecordingInfo]
    units: NDArray[np.float32]
    unit_recording: NDArray[np.int32]
    unit_view: NDArray[np.int16]
    unit_genre: NDArray[np.int16]
    unit_span: NDArray[np.float64]
    runs: NDArray[np.int64]
    features: NDArray[np.float32]
    feature_bounds: NDArray[np.int64]
    poses: NDArray[np.float32]
    pose_bounds: NDArray[np.int64]
    beats: NDArray[np.float64]
    beat_bounds: NDArray[np.int64]

    @classmethod
    def open(cls, folder: str | Path) -> Corpus:
        """Open a folder that :func:`d2m.data.prepare.prepare` wrote.

        Raises:
            D2MError: no such corpus, another format, a missing or cut file.
        """
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise D2MError(f"{folder}: no prepared corpus here ({INDEX} is missing); prepare it from the raw data")
        try:
            info = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise D2MError(
                    f"{folder}: corpus format {info['format']}, this version reads {FORMAT}; prepare it again"
                )
            arrays: dict[str, Any] = {}
            for name, (shape, dtype) in LAYOUT.items():
                arrays[name] = array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                if array.shape[1:] != shape or array.dtype != np.dtype(dtype) or len(array) != info["rows"][name]:
                    raise ValueError(f"{name}.npy is {array.dtype} {array.shape}")
            return cls(folder, info, read_table(folder / TABLE), **arrays)
        except (OSError, ValueError, KeyError, TypeError, IndexError, csv.Error) as e:
            raise D2MError(f"{folder}: not a whole corpus ({e}); delete the folder and prepare it again") from e

    def __reduce__(self) -> tuple[Any, ...]:
        # A memory map pickles as its data: workers open the files instead.
        return Corpus.open, (self.folder,)

    @property
    def genres(self) -> tuple[str, ...]:
        return tuple(self.info["genres"])

    @property
    def front_end(self) -> str:
        return str(self.info["front_end"])

    @property
    def raw_root(self) -> Path:
        return Path(self.info["raw_root"])

    @cached_property
    def normalizer(self) -> Normalizer:
        """Fitted on the training split."""
        return Normalizer.load(self.folder / NORMALIZER)

    @cached_property
    def recording_genre(self) -> NDArray[np.int64]:
        """(n,) index into :attr:`genres`."""
        index = {g: i for i, g in enumerate(self.genres)}
        return np.array([index[r.genre] for r in self.recordings], np.int64)

    @cached_property
    def recording_split(self) -> NDArray[np.int64]:
        """(n,) index into :data:`d2m.data.splits.SPLITS`."""
        return np.array([SPLITS.index(r.split) for r in self.recordings], np.int64)

    @property
    def has_music(self) -> NDArray[np.bool_]:
        """(n,)."""
        return np.asarray(self.feature_bounds[:, 1] > 0)

    def recordings_in(self, split: str, genre: str | None = None, with_music: bool = False) -> NDArray[np.int64]:
        """Numbers of the recordings of a split.

        Raises:
            D2MError: an unknown split or genre.
        """
        if split not in SPLITS:
            raise D2MError(f"no split '{split}'; there are {', '.join(SPLITS)}")
        chosen = self.recording_split == SPLITS.index(split)
        if genre is not None:
            if genre not in self.genres:
                raise D2MError(f"no genre '{genre}' in {self.folder}; there are {', '.join(self.genres)}")
            chosen &= self.recording_genre == self.genres.index(genre)
        if with_music:
            chosen &= self.has_music
        return np.flatnonzero(chosen)

    def units_in(self, split: str) -> NDArray[np.int64]:
        """Numbers of the units of a split, all views."""
        wanted = np.zeros(len(self.recordings), bool)
        wanted[self.recordings_in(split)] = True
        return np.flatnonzero(wanted[self.unit_recording])

    def sequence_starts(self, split: str, length: int = SEQUENCE_UNITS) -> NDArray[np.int64]:
        """Units of a split that begin ``length`` consecutive units, all views."""
        starts = starts_in_runs(np.asarray(self.runs), length)
        mine = self.recording_split[self.unit_recording[starts]] == SPLITS.index(split)
        return np.asarray(starts[mine], np.int64)

    def song_features(self, recording: int) -> NDArray[np.float32]:
        """(T, 28), not normalised; empty where there is no music."""
        first, n = self.feature_bounds[recording]
        return self.features[first : first + n]

    def song_beats(self, recording: int) -> NDArray[np.float64]:
        """Beats of the music, seconds from the recording's start."""
        first, n = self.beat_bounds[recording]
        return np.asarray(self.beats[first : first + n])

    def n_views(self, recording: int) -> int:
        """How many cameras see the recording."""
        return int(self.pose_bounds[recording, 2])

    def song_poses(self, recording: int, view: int = 0) -> NDArray[np.float32]:
        """The dance itself, (t, 14, 2) px at 15 fps."""
        first, frames, views = (int(x) for x in self.pose_bounds[recording])
        if not 0 <= view < views:
            raise IndexError(f"recording {recording} has views 0 to {views - 1}, not {view}")
        first += view * frames
        return self.poses[first : first + frames].reshape(frames, N_JOINTS, 2)

    def audio_path(self, recording: int) -> Path | None:
        """The song's file in the raw corpus; None for a dance without music."""
        audio = self.recordings[recording].audio
        return self.raw_root / audio if audio else None
