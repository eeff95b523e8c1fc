"""The material of a study: dances of each system to each song, as poses or videos, and the songs' audio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.core.files import csv_rows
from d2m.music.audio import AUDIO_SUFFIXES

#: Versions of an edited dance, as stored by ``d2m infer``; an unedited dance only has "target".
VERSIONS = ("original", "neutral", "target")


@dataclass(frozen=True)
class Clip:
    """One system's dance to one song.

    poses: npz file, of which ``version`` is shown; video: mp4 file; at least one is there. genre: the intended
    genre of the dance, if known; asked: the target genre of an edit.
    """

    system: str
    song: str
    genre: str | None
    asked: str | None = None
    poses: Path | None = None
    version: str = "target"
    video: Path | None = None
    several_dances: bool = False  # whether the video shows more than this dance
    music: str | None = None  # identifies the song file, to check that all systems use the same one

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.system}/{self.song}"


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file; ``columns`` must be there and filled.

    Raises:
        D2MError: unreadable, no rows, or a cell is missing.
    """
    rows = csv_rows(path, columns)
    if not rows:
        raise D2MError(f"{path}: no rows; the first line names the columns {', '.join(columns)}")
    for k, row in enumerate(rows, 2):
        for column in columns:
            if not row.get(column):
                raise D2MError(f"{path}: row {k} has no {column}; fill the columns {', '.join(columns)}")
    return rows


def read_manifest(path: Path) -> list[Clip]:
    """Videos from any source: a CSV file (system,song,genre,video[,asked]) with relative paths; genre may be empty.

    Raises:
        D2MError: unreadable, a missing file, or a system with two dances to one song.
    """
    clips = []
    for row in read_table(path, ("system", "song", "video")):
        video = path.parent / row["video"]
        if not video.is_file():
            raise D2MError(f"{path}: {row['video']}: no such video; paths are relative to the CSV file")
        asked = row.get("asked") or None
        clips.append(Clip(row["system"], row["song"], row.get("genre") or None, asked, video=video))
    return complete(clips)


def read_results(root: Path, systems: Iterable[str], genre_of: Mapping[str, str]) -> list[Clip]:
    """Results of ``d2m infer``: a folder per system, with NAME.npz, NAME.mp4 and NAME.json for every song.

    Args:
        root: the folder of the systems' folders.
        systems: "FOLDER" or "FOLDER:VERSION" (:data:`VERSIONS`), which is also the system's name; none: all folders.
        genre_of: song -> genre, for unedited dances.

    Raises:
        D2MError: no such folder or version, no dances, or systems that danced to different songs.
    """
    if not root.is_dir():
        raise D2MError(f"results={root}: no such folder; give one that holds a folder of dances per system")
    named = list(systems) or sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    clips: list[Clip] = []
    for system in named:
        folder, version = root / system, "target"
        if not folder.is_dir() and ":" in system:
            head, _, version = system.rpartition(":")
            folder = root / head
        if not folder.is_dir():
            raise D2MError(f"systems: {folder} is not a folder; give names of folders in {root}, or FOLDER:VERSION")
        if version not in VERSIONS:
            raise D2MError(f"systems: {system}: no version '{version}'; choose from {', '.join(VERSIONS)}")
        names = sorted({p.stem for p in folder.iterdir() if p.suffix in (".npz", ".mp4") and p.name[0] != "."})
        if not names:
            raise D2MError(f"{folder}: no dances; d2m infer out={folder} writes them")
        clips += [_clip(folder, system, version, song, genre_of) for song in names]
    return complete(clips)


def _clip(folder: Path, system: str, version: str, song: str, genre_of: Mapping[str, str]) -> Clip:
    facts: dict[str, Any] = {}
    told = folder / f"{song}.json"
    if told.is_file():
        try:
            facts = dict(json.loads(told.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as e:
            raise D2MError(f"{told}: not readable as the facts of a dance; run d2m infer again") from e
    edit = facts.get("edit") or {}
    genre = genre_of.get(song)
    if edit and version != "original":
        genre = edit.get("target") if version == "target" else None
    elif edit:
        genre = genre or edit.get("source")
    poses, video = (p if p.is_file() else None for p in (folder / f"{song}.npz", folder / f"{song}.mp4"))
    return Clip(
        system, song, genre, edit.get("target"), poses, version if edit else "target", video, bool(edit),
        facts.get("song_sha256"),
    )  # fmt: skip


def complete(clips: Sequence[Clip]) -> list[Clip]:
    """Clips sorted by system and song, if every system danced once to every song, and to the same music.

    Raises:
        D2MError: naming what is missing or duplicate.
    """
    table: dict[tuple[str, str], Clip] = {}
    for clip in clips:
        if (clip.system, clip.song) in table:
            raise D2MError(f"{clip.name}: two dances of one system to one song; keep one")
        table[clip.system, clip.song] = clip
    systems, songs = sorted({c.system for c in clips}), sorted({c.song for c in clips})
    for system in systems:
        for song in songs:
            if (system, song) not in table:
                raise D2MError(f"{system} has no dance to '{song}'; give every system's dances to the same songs")
    for song in songs:
        if len({c.music for c in clips if c.song == song and c.music}) > 1:
            raise D2MError(f"'{song}': the systems danced to different files of this name; use one file for all")
    return [table[system, song] for system in systems for song in songs]


def asked_genres(clips: Sequence[Clip]) -> dict[str, str]:
    """Song -> the genre in the question: the target of its edits, else the common genre of its dances.

    Raises:
        D2MError: a song with none or several.
    """
    asked = {}
    for song in dict.fromkeys(c.song for c in clips):
        own = [c for c in clips if c.song == song]
        genres = {c.asked for c in own if c.asked} or {c.genre for c in own if c.genre}
        if len(genres) != 1:
            said = f"of {' and '.join(sorted(genres))}" if genres else "of no known genre"
            raise D2MError(f"'{song}': dances {said}, so there is no single genre to ask about; give another question=")
        asked[song] = str(genres.pop())
    return asked


def find_sound(song: str, clips: Sequence[Clip], music: Path | None) -> Path:
    """The file with the sound for all videos of a song: ``music/SONG.*``, else a dance's video.

    Raises:
        D2MError: there is none.
    """
    from d2m.music.decode import has_sound

    if music is not None:
        files = sorted(p for p in music.glob("*") if p.stem == song and p.suffix.lower() in AUDIO_SUFFIXES)
        if files:
            return files[0]
        raise D2MError(f"music={music}: no sound file named {song}.*; name the songs as the dances are named")
    for clip in clips:
        if clip.song == song and clip.video is not None and has_sound(clip.video):
            return clip.video
    raise D2MError(f"'{song}': no video of it has sound; give music=FOLDER with its sound file, or sound=false")
