"""Dances from files for protocol cards: poses processed as in a corpus, matched with their songs."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.core.skeleton import FPS
from d2m.core.walk import walk_files
from d2m.data.manifest import MANIFEST, Recording, read_manifest
from d2m.data.songs import find_songs, songs_among
from d2m.metrics.figure import DanceToSong
from d2m.motion.units import resample
from d2m.music.beats import BeatTracker, onset_strength, track
from d2m.music.front_ends import front_end
from d2m.prepare.clean import CleanClip
from d2m.prepare.discover import find_recordings
from d2m.prepare.process import Options, body_of, pictures, read_recording
from d2m.prepare.sources import SUFFIXES
from d2m.prepare.sources.aistpp import AIST_NAME
from d2m.prepare.sources.feet import read_feet
from d2m.prepare.sources.pickles import load_arrays


@dataclass(frozen=True, eq=False)
class ReadDance:
    """views: of a file's dance, from every yaw. name: of the file. clip: the cleaned clip. has_song: whether
    there is music."""

    name: str
    views: list[DanceToSong]
    clip: CleanClip
    has_song: bool

    def facts(self) -> dict[str, Any]:
        """For a report: the source, and the shares of joints that were filled and dropped."""
        first = self.views[0]
        return {
            "name": self.name, "song": first.song, "genre": first.genre, "has_song": self.has_song,
            "seconds": first.seconds, "filled": self.clip.filled, "dropped": self.clip.dropped,
        }  # fmt: skip


def find_source(folder: str | Path, key: str) -> str:
    """The source in :data:`d2m.prepare.sources.SOURCES` that reads a folder's poses, according to file names and to the
    keys of the first file of each kind.

    A JSON next to an npz with the same name is its description, written by ``d2m infer``. Films are ignored.

    Args:
        key: the option that messages name.

    Raises:
        D2MError: no such folder, no pose files, or files of several sources.
    """
    root = Path(folder)
    if not root.is_dir():
        raise D2MError(f"{key}={folder}: no such folder; give the folder of the dances")
    first: dict[str, Path] = {}
    for file in sorted(walk_files(root)):
        if kind := _kind(file):
            first.setdefault(kind, file)
    sources = {_source_of(kind, file): file for kind, file in first.items()}
    if not sources:
        names = [f.name for f in sorted(walk_files(root))]
        there = f" (there is {', '.join(names[:3])})" if names else ""
        raise D2MError(
            f"{key}={folder}: no pose file{there}; give npz, COCO-17 or OpenPose JSON, npy, AIST++ pkl or BVH files"
        )
    if len(sources) > 1:
        pairs = ", ".join(f"{file.name} ({source})" for source, file in sources.items())
        mend = ", or set source= to one of them" if key == "poses" else ""
        raise D2MError(f"{key}={folder}: dances of several formats, {pairs}; keep one format{mend}")
    return next(iter(sources))


def _kind(file: Path) -> str:
    """The kind of a pose file according to its name; "" for other files."""
    if file.name.lower().endswith(SUFFIXES["openpose"]):
        return "openpose"
    suffix = file.suffix.lower()
    described = suffix == ".json" and file.with_suffix(".npz").is_file()
    return suffix if suffix in (".bvh", ".npz", ".pkl", ".npy", ".json") and not described else ""


def _source_of(kind: str, file: Path) -> str:
    if kind == ".npz":
        try:
            with np.load(file, allow_pickle=False) as f:
                return "coco17" if {"keypoints", "keypoints2d"} & set(f.files) else "npz"
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
            raise D2MError(f"{file}: not readable as an npz; write it with numpy.savez, without object arrays") from e
    if kind == ".pkl":
        data = load_arrays(file)
        return "aistpp" if isinstance(data, dict) and any("keypoints3d" in str(k) for k in data) else "coco17"
    return {".bvh": "bvh", "openpose": "openpose"}.get(kind, "coco17")


class Songs:
    """The songs of ``music=``, by name.

    Raises:
        D2MError: there are none.
    """

    def __init__(self, music: str | Path) -> None:
        root = Path(music)
        if (root / MANIFEST).is_file():
            named = [(r.name, r.audio) for r in read_manifest(root) if r.audio is not None]
        else:
            files = songs_among(walk_files(root)) if root.is_dir() else find_songs(music)
            named = [(f.stem, f) for f in files]
        if not named:
            raise D2MError(f"music={music}: no songs; give the folder of the songs that were danced to")
        self.music = music
        self._by_name: dict[str, set[Path]] = defaultdict(set)
        for name, path in named:
            self._by_name[name].add(path)
            self._by_name[path.stem].add(path)

    def of(self, recording: Recording) -> Path | None:
        """A dance's song: of its name, its file's, or the one that an AIST name says; None if there is none.

        Raises:
            D2MError: several songs have that name.
        """
        for name in _names(recording):
            if paths := self._by_name.get(name):
                if len(paths) > 1:
                    raise D2MError(f"music={self.music}: {len(paths)} songs are named '{name}'; keep one")
                return next(iter(paths))
        return None


def _names(recording: Recording) -> list[str]:
    """Possible names of a dance's song, most likely first."""
    names = [recording.name, Path(recording.name).name, recording.pose.stem]
    if aist := AIST_NAME.match(recording.pose.name):
        names.append(aist["music"])
    return [*names, recording.audio.stem] if recording.audio is not None else names


def read_dances(
    folder: str | Path, options: Options, music: str | Path | None, genres: Mapping[str, tuple[str, str]], key: str,
    feet: bool = False,
) -> list[ReadDance]:  # fmt: skip
    """All dances of a folder, in the order of their names.

    Songs are matched by name with ``music``; without it, they are those next to the poses or in the folder's manifest.

    Args:
        options: how poses and songs are read; 3-D poses are projected from every yaw.
        genres: name of a known song -> (its name in the result, its genre). Other songs are named after their file, and
            dances without a song after themselves (AIST: by the id of their music); the genre is then that of the
            folder or the file, or "".
        key: the option that messages name.
        feet: also read feet, if the files have them; dances then keep the rate of their files.

    Raises:
        D2MError: no dances; a dance that cannot be read, or whose song is not in ``music``.
    """
    if not Path(folder).is_dir():
        raise D2MError(f"{key}={folder}: no such folder; give the folder of the dances")
    try:
        listing = find_recordings(folder, options.source)
    except D2MError as e:
        raise D2MError(f"{key}={e}") from e
    recordings = listing.recordings
    if not recordings:
        raise D2MError(f"{key}={folder}: no dances; give the folder of the dances")
    if music is not None:
        recordings = _with_songs(recordings, Songs(music), music)
    dances = []
    with bar(len(recordings), f"reading {key}") as step:
        for recording in recordings:
            dance = _read(recording, options, genres)
            dances.append(_with_feet(dance, recording, options) if feet else dance)
            step()
    return dances


def _with_songs(recordings: list[Recording], songs: Songs, music: str | Path) -> list[Recording]:
    paired = [(r, songs.of(r)) for r in recordings]
    if alone := [r.name for r, song in paired if song is None]:
        more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
        raise D2MError(
            f"music={music}: no song for the dance '{alone[0]}'{more}; name songs like their dances, or omit music="
        )
    return [replace(r, audio=song) for r, song in paired]


def _read(recording: Recording, options: Options, genres: Mapping[str, tuple[str, str]]) -> ReadDance:
    begins = recording.beginning(options.of(recording).stated.audio_offset or 0.0)
    clip, joints, wave = read_recording(recording, options)
    poses = pictures(body_of(joints), joints.shape[-1] == 2, options)
    aist = AIST_NAME.match(recording.pose.name)
    song = recording.audio.stem if recording.audio is not None else aist["music"] if aist else recording.name
    known = next((genres[n] for n in _names(recording) if n in genres), None)
    name, genre = known or (song, recording.genre or clip.genre or "")
    beats: NDArray[np.float64] = np.empty(0)
    features = None
    if wave is not None:
        tracker = BeatTracker(options.beats)
        beats = track(wave, tracker, options.checkpoint, onset_strength(wave))
        features = front_end(options.front_end).features(wave, recording.audio, begins.audio_start_s)
    views = [DanceToSong(name, genre, view, FPS, beats, features) for view in poses]
    return ReadDance(recording.name, views, clip, wave is not None)


def _with_feet(read: ReadDance, recording: Recording, options: Options) -> ReadDance:
    """At the rate of the file, since 15 frames per second are too few for sliding feet."""
    own = options.of(recording)
    feet = read_feet(own.source, recording.pose, own.stated)
    if feet is None:
        return read
    start_s = recording.beginning(own.stated.audio_offset or 0.0).start_s
    first, fps = round(start_s * read.clip.native_fps), read.clip.native_fps
    n = min(len(feet) - first, round(read.views[0].seconds * fps))
    at = np.arange(n) * (FPS / fps)
    view = read.views[0]  # feet do not depend on the camera
    features = None if view.music_features is None else resample(view.music_features, at)
    poses, feet = resample(view.poses, at), feet[first : first + n]
    return replace(read, views=[replace(view, poses=poses, feet=feet, fps=fps, music_features=features)])
