"""A prepared corpus: whole arrays on disk, mapped into memory, addressed by index.

corpus.json            for people: a table per genre, every recording, kept or left out and why; there last
index.json             for this module: genres, clock, units, joints, front end and its columns, beat tracker, numbers
                       of rows; small however large the corpus
recordings.arrow       one row per recording (Arrow IPC, mapped into memory)
normalizer.npz         statistics of the training split
recording_genre.npy    (n,) index into the genres; recording_split (n,) into SPLITS
units.npy              (N, 32, 28) float32 px; unit_recording, unit_view, unit_genre (N,); unit_span (N, 2) s;
                       unit_beats (N, 4) s, the kinematic beats on frames 3, 11, 19, 27
runs.npy               (R, 2) first unit and length: units that follow each other without a gap, in one view
features.npy           (F, f) float32 at 15 fps, whole songs, not normalised; feature_bounds (n, 2)
poses.npy              (P, 28) float32 px at 15 fps, view after view; pose_bounds (n, 3): first, frames, views
beats.npy              (B,) s, of the music; beat_bounds (n, 2); onsets.npy and onset_bounds alike
sources.log            paths of the raw recordings on this machine: only used to find the songs' files again

Opening reads index.json and the arrays' headers, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, HOP, JOINTS, N_JOINTS, POSE_DIM, SAMPLE_RATE, SEQUENCE_UNITS, UNIT_FRAMES
from d2m.data.normalizer import Normalizer
from d2m.data.splits import SPLITS
from d2m.music.audio import load_song
from d2m.music.beats import BeatTracker, tempo
from d2m.music.front_ends import FRONT_ENDS

FORMAT = 2
REPORT, INDEX, TABLE, NORMALIZER = "corpus.json", "index.json", "recordings.arrow", "normalizer.npz"
SOURCES_LOG = "sources.log"

Layout = dict[str, tuple[tuple[int, ...], DTypeLike]]
#: What poses are in.
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
    """name -> (shape of a row, type) of every array of a corpus whose front end is ``n_features`` wide."""
    return {**_LAYOUT, "features": ((n_features,), np.float32)}


class RecordingInfo(NamedTuple):
    """A row of recordings.arrow.

    tempo: BPM, nan if unknown. audio: relative to the raw folder, or "". audio_sha256: of that file; "" without
    music, and in corpora that were prepared before it was recorded.
    """

    name: str
    genre: str
    group: str
    split: str
    seconds: float
    tempo: float
    start_s: float
    audio: str
    licence: str
    audio_sha256: str = ""


_FLOATS = ("seconds", "tempo", "start_s")


class RecordingTable(Sequence[RecordingInfo]):
    """The rows of recordings.arrow, read on demand."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            old = {n: pa.array([v] * len(table), pa.string()) for n, v in RecordingInfo._field_defaults.items()}
            there = set(table.column_names)
            self._columns = [old[n] if n in old and n not in there else table.column(n) for n in RecordingInfo._fields]
        except (OSError, pa.ArrowException, KeyError) as e:
            raise D2MError(f"{path}: not a readable table ({e}); delete the corpus and prepare it again") from e

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> RecordingInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordingInfo]: ...
    def __getitem__(self, index: int | slice) -> RecordingInfo | list[RecordingInfo]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[int(index)]
        return RecordingInfo(*(column[number].as_py() for column in self._columns))

    def __iter__(self) -> Iterator[RecordingInfo]:
        return map(RecordingInfo._make, zip(*(column.to_pylist() for column in self._columns)))


def write_table(path: Path, recordings: Iterable[RecordingInfo]) -> None:
    """Write recordings.arrow."""
    import pyarrow as pa

    columns = list(zip(*recordings)) or [()] * len(RecordingInfo._fields)
    types = {name: pa.float64() if name in _FLOATS else pa.string() for name in RecordingInfo._fields}
    table = pa.table(
        [pa.array(values, kind) for values, kind in zip(columns, types.values())], schema=pa.schema(list(types.items()))
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def starts_in_runs(runs: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Every unit that begins ``length`` consecutive units of one run, in order: (R, 2) -> (n,)."""
    counts = np.maximum(runs[:, 1] - length + 1, 0)
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.asarray(np.repeat(runs[:, 0], counts) + within, np.int64)


def _check_index(folder: Path, info: dict[str, Any]) -> int:
    """See that a corpus is on this version's clock, in its units, of its joints and its front end's columns.

    Returns:
        How many features a frame has.

    Raises:
        D2MError: it is not. What an older index.json does not say is taken to be right.
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


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus, opened read-only. Arrays stay on disk until indexed; see the module's table."""

    folder: Path
    info: dict[str, Any]
    recording_genre: NDArray[np.int64]
    recording_split: NDArray[np.int64]
    units: NDArray[np.float32]
    unit_recording: NDArray[np.int32]
    unit_view: NDArray[np.int16]
    unit_genre: NDArray[np.int16]
    unit_span: NDArray[np.float64]
    unit_beats: NDArray[np.float64]
    runs: NDArray[np.int64]
    features: NDArray[np.float32]
    feature_bounds: NDArray[np.int64]
    poses: NDArray[np.float32]
    pose_bounds: NDArray[np.int64]
    beats: NDArray[np.float64]
    beat_bounds: NDArray[np.int64]
    onsets: NDArray[np.float64]
    onset_bounds: NDArray[np.int64]

    @classmethod
    def open(cls, folder: str | Path) -> Corpus:
        """Open a folder that :func:`d2m.prepare.run.prepare` wrote.

        Raises:
            D2MError: no such corpus, one whose preparation was not finished, another format, a missing or cut file.
        """
        folder = Path(folder)
        if not (folder / REPORT).is_file():
            unfinished = (folder / "parts").is_dir() or (folder / INDEX).is_file()
            why = "its preparation did not finish; run it again" if unfinished else "prepare it from the raw data"
            raise D2MError(f"{folder}: not a prepared corpus ({REPORT} is missing); {why}")
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """:meth:`open` without the look whether preparing came to its end."""
        try:
            if not (folder / INDEX).is_file():
                raise D2MError(f"{folder}: written by an older version (no {INDEX}); prepare the corpus again")
            info = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if info["format"] != FORMAT:
                raise D2MError(
                    f"{folder}: corpus format {info['format']}, but this version reads {FORMAT}; "
                    "prepare the corpus again"
                )
            arrays: dict[str, Any] = {}
            for name, (shape, dtype) in layout(_check_index(folder, info)).items():
                arrays[name] = array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                if array.shape[1:] != shape or array.dtype != np.dtype(dtype) or len(array) != info["rows"][name]:
                    raise ValueError(f"{name}.npy is {array.dtype} {array.shape}")
            return cls(folder, info, **arrays)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise D2MError(
                f"{folder}: incomplete or damaged corpus ({e}); delete the folder and prepare it again"
            ) from e

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
    def n_features(self) -> int:
        """The front end's width."""
        return int(self.features.shape[1])

    @property
    def beat_tracker(self) -> BeatTracker:
        """The tracker that found the music's beats."""
        return BeatTracker.of(self.info.get("beat_tracker", self.info["options"].get("beats")))

    @cached_property
    def digest(self) -> str:
        """Hex digest of what the corpus was made from, contents and options; independent of its location."""
        if inputs := self.info.get("inputs"):
            return str(inputs)
        small = b"".join((self.folder / name).read_bytes() for name in (INDEX, TABLE, NORMALIZER))
        return hashlib.sha256(small).hexdigest()

    @cached_property
    def recordings(self) -> Sequence[RecordingInfo]:
        """One entry per recording, read from disk when asked for."""
        return RecordingTable(self.folder / TABLE)

    @cached_property
    def report(self) -> dict[str, Any]:
        """corpus.json, see :func:`d2m.prepare.report.corpus_report`."""
        report: dict[str, Any] = json.loads((self.folder / REPORT).read_text(encoding="utf-8"))
        return report

    @cached_property
    def normalizer(self) -> Normalizer:
        """Fitted on the training split."""
        return Normalizer.load(self.folder / NORMALIZER)

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
            raise D2MError(f"no split '{split}'; choose from {', '.join(SPLITS)}")
        chosen = self.recording_split == SPLITS.index(split)
        if genre is not None:
            if genre not in self.genres:
                raise D2MError(f"no genre '{genre}' in {self.folder}; choose from {', '.join(self.genres)}")
            chosen &= self.recording_genre == self.genres.index(genre)
        if with_music:
            chosen &= self.has_music
        return np.flatnonzero(chosen)

    def units_in(self, split: str) -> NDArray[np.int64]:
        """Numbers of the units of a split, all views."""
        wanted = np.zeros(len(self.recording_split), bool)
        wanted[self.recordings_in(split)] = True
        return np.flatnonzero(wanted[self.unit_recording])

    def sequence_starts(self, split: str, length: int = SEQUENCE_UNITS) -> NDArray[np.int64]:
        """Units of a split that begin ``length`` consecutive units, all views."""
        starts = starts_in_runs(np.asarray(self.runs), length)
        mine = self.recording_split[self.unit_recording[starts]] == SPLITS.index(split)
        return np.asarray(starts[mine], np.int64)

    def song_features(self, recording: int) -> NDArray[np.float32]:
        """(T, f), not normalised; empty if there is no music."""
        first, n = self.feature_bounds[recording]
        return self.features[first : first + n]

    def song_beats(self, recording: int) -> NDArray[np.float64]:
        """Beats of the music, seconds from the recording's start."""
        first, n = self.beat_bounds[recording]
        return np.asarray(self.beats[first : first + n])

    def song_tempo(self, recording: int) -> float:
        """Beats of the music a minute: as the raw corpus says, else as its beats do; NaN if neither is known."""
        said = self.recordings[recording].tempo
        return float(said) if np.isfinite(said) else tempo(self.song_beats(recording))

    def span_features(self, start: int, length: int = SEQUENCE_UNITS) -> NDArray[np.float32]:
        """Features of the music over the whole span of ``length`` consecutive units: (frames, f) at 15 fps.

        The frames from the one at the first unit's begin to the one before the last unit's end, as far as there is
        music; :meth:`d2m.data.sampling.Items.read` draws the 2 s windows and, with ``span_features``, gives
        these on the units' own clock.
        """
        begin, end = self.unit_span[start, 0], self.unit_span[start + length - 1, 1]
        song = self.song_features(int(self.unit_recording[start]))
        return song[int(np.ceil(begin * FPS - 1e-6)) : int(np.floor(end * FPS + 1e-6))]

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

    @cached_property
    def sources(self) -> list[tuple[int, Path | None]]:
        """How many recordings came from which raw folder, in order; None if this machine does not know it."""
        try:
            lines = json.loads((self.folder / SOURCES_LOG).read_text(encoding="utf-8"))
            known = [(int(n), Path(raw) if raw else None) for n, raw in lines]
        except (OSError, ValueError, TypeError):
            known = []
        left, out = len(self.recording_genre), []
        for n, raw in (*known, (left, None)):
            if n := min(n, left):
                out.append((n, raw))
                left -= n
        return out

    @property
    def raw_root(self) -> Path | None:
        """The raw folder (of a mixed corpus, the first one's); None if this machine does not know it."""
        return self.sources[0][1] if self.sources else None

    def _raw_of(self, recording: int) -> Path | None:
        for n, raw in self.sources:
            if recording < n:
                return raw
            recording -= n
        return None

    def audio_path(self, recording: int) -> Path | None:
        """The song's file in the raw corpus; None for a dance without music or if the file is not on this machine."""
        audio, raw = self.recordings[recording].audio, self._raw_of(recording)
        path = raw / audio if audio and raw is not None else None
        return path if path is not None and path.is_file() else None

    def song_wave(self, recording: int, frames: int) -> NDArray[np.float32] | None:
        """The first ``frames`` (15 fps) of the song's sound, mono at 22,050 Hz; None if :meth:`audio_path` is.

        Raises:
            D2MError: the file cannot be decoded.
        """
        path = self.audio_path(recording)
        if path is None:
            return None
        first = round(self.recordings[recording].start_s * SAMPLE_RATE)
        return load_song(path)[first : first + frames * HOP]
