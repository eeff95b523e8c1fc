"""A prepared corpus on disk; :mod:`d2m.data.layout` describes its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, HOP, N_JOINTS, SAMPLE_RATE, SEQUENCE_UNITS
from d2m.data.layout import FORMAT, INDEX, NORMALIZER, REPORT, SOURCES_LOG, TABLE, check_index, layout
from d2m.data.normalizer import Normalizer
from d2m.data.splits import SPLITS
from d2m.data.table import RecordingInfo, RecordingTable
from d2m.music.audio import load_song
from d2m.music.beats import BeatTracker, tempo


def starts_in_runs(runs: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Units that start ``length`` consecutive units of one run, in order: (R, 2) -> (n,)."""
    counts = np.maximum(runs[:, 1] - length + 1, 0)
    ends = np.cumsum(counts)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return np.asarray(np.repeat(runs[:, 0], counts) + within, np.int64)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A prepared corpus, opened read-only. Arrays stay on disk until indexed; see :mod:`d2m.data.layout`."""

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
            D2MError: no such corpus, unfinished preparation, another format, or a missing or truncated file.
        """
        folder = Path(folder)
        if not (folder / REPORT).is_file():
            unfinished = (folder / "parts").is_dir() or (folder / INDEX).is_file()
            why = "its preparation did not finish; run it again" if unfinished else "prepare it from the raw data"
            raise D2MError(f"{folder}: not a prepared corpus ({REPORT} is missing); {why}")
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """As :meth:`open`, without checking that preparation was finished."""
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
            for name, (shape, dtype) in layout(check_index(folder, info)).items():
                arrays[name] = array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                if array.shape[1:] != shape or array.dtype != np.dtype(dtype) or len(array) != info["rows"][name]:
                    raise ValueError(f"{name}.npy is {array.dtype} {array.shape}")
            return cls(folder, info, **arrays)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise D2MError(
                f"{folder}: incomplete or damaged corpus ({e}); delete the folder and prepare it again"
            ) from e

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling a memory map would copy its data, so workers open the files themselves.
        return Corpus.open, (self.folder,)

    @property
    def genres(self) -> tuple[str, ...]:
        return tuple(self.info["genres"])

    @property
    def front_end(self) -> str:
        return str(self.info["front_end"])

    @property
    def n_features(self) -> int:
        """Number of features per frame."""
        return int(self.features.shape[1])

    @property
    def beat_tracker(self) -> BeatTracker:
        """The tracker that detected the beats of the music."""
        return BeatTracker.of(self.info.get("beat_tracker", self.info["options"].get("beats")))

    @cached_property
    def digest(self) -> str:
        """Hex digest of the inputs and options of the corpus; independent of its location."""
        if inputs := self.info.get("inputs"):
            return str(inputs)
        small = b"".join((self.folder / name).read_bytes() for name in (INDEX, TABLE, NORMALIZER))
        return hashlib.sha256(small).hexdigest()

    @cached_property
    def recordings(self) -> Sequence[RecordingInfo]:
        """One entry per recording, read from disk on demand."""
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
        """Units of a split that start ``length`` consecutive units, all views."""
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
        """Tempo of the music in BPM: as stated by the raw corpus, else from its beats; NaN if neither is known."""
        said = self.recordings[recording].tempo
        return float(said) if np.isfinite(said) else tempo(self.song_beats(recording))

    def span_features(self, start: int, length: int = SEQUENCE_UNITS) -> NDArray[np.float32]:
        """Features of the music over the whole span of ``length`` consecutive units: (frames, f) at 15 fps.

        From the frame at the start of the first unit to the frame before the end of the last one, as far as there is
        music; :meth:`d2m.data.sampling.Items.read` draws the 2 s windows and, with ``span_features``, returns
        these features in the units' own time.
        """
        begin, end = self.unit_span[start, 0], self.unit_span[start + length - 1, 1]
        song = self.song_features(int(self.unit_recording[start]))
        return song[int(np.ceil(begin * FPS - 1e-6)) : int(np.floor(end * FPS + 1e-6))]

    def n_views(self, recording: int) -> int:
        """Number of camera views of the recording."""
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
        """(number of recordings, raw folder) in order; the folder is None if it is not known on this machine."""
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
        """The raw folder (of a mixed corpus, the first one); None if it is not known on this machine."""
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
        """The first ``frames`` (15 fps) of the song's audio, mono at 22,050 Hz; None if :meth:`audio_path` is None.

        Raises:
            D2MError: the file cannot be decoded.
        """
        path = self.audio_path(recording)
        if path is None:
            return None
        first = round(self.recordings[recording].start_s * SAMPLE_RATE)
        return load_song(path)[first : first + frames * HOP]
