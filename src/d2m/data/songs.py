"""Songs for study: files with a genre each, from folders, a raw corpus or a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE, STYLE_FRAMES
from d2m.data.manifest import MANIFEST, read_manifest
from d2m.music.audio import AUDIO_SUFFIXES, load_song


class SongFile(NamedTuple):
    """A song to extract. name: unique; start_s, end_s: the part to use."""

    name: str
    genre: str
    path: Path
    start_s: float = 0.0
    end_s: float | None = None


def find_music(music: str | Path) -> list[SongFile]:
    """Songs and their genres.

    Args:
        music: a folder with a folder of audio files per genre; a raw corpus (a folder with manifest.csv); or a CSV file
            with the columns audio and genre, paths relative to it.

    Raises:
        D2MError: none of these, no song, or a song that is named twice.
    """
    root = Path(music)
    if root.is_file():
        songs = _songs_of_table(root)
    elif (root / MANIFEST).is_file():
        listed = [r for r in read_manifest(root) if r.audio is not None]
        songs = [SongFile(r.name, r.genre, r.audio, r.start_s, r.end_s) for r in listed if r.audio is not None]
    elif root.is_dir():
        songs = [
            SongFile(f"{folder.name}/{p.name}", folder.name, p)
            for folder in sorted(root.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")
        ]
        songs = [s._replace(name=s.path.relative_to(root).as_posix()) for s in songs]
    else:
        raise D2MError(f"music={music}: no such folder or file; give a folder with one folder of songs per genre")
    if not songs:
        raise D2MError(f"music={music}: no song; put audio files into one folder per genre (its name is the genre)")
    names = [s.name for s in songs]
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise D2MError(f"music={music}: the song '{twice[0]}' is listed twice; list each once")
    return songs


def _songs_of_table(path: Path) -> list[SongFile]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as f:
            rows = [
                {(k or "").strip(): (v or "").strip() for k, v in r.items() if isinstance(v, str)}
                for r in csv.DictReader(f)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise D2MError(f"music={path}: not readable as CSV; write the columns audio and genre in UTF-8") from e
    if any(not r.get("audio") or not r.get("genre") for r in rows):
        raise D2MError(f"music={path}: every line needs audio and genre; its first line names the columns")
    return [SongFile(r.get("name") or r["audio"], r["genre"], path.parent / r["audio"]) for r in rows]


def song_wave(song: SongFile) -> NDArray[np.float32]:
    """The part of a song that is to be used, (n,) at 22,050 Hz.

    Raises:
        D2MError: unreadable, silent or too short.
    """
    wave = load_song(song.path)
    end = None if song.end_s is None else round(song.end_s * SAMPLE_RATE)
    part = wave[round(song.start_s * SAMPLE_RATE) : end]
    if len(part) < STYLE_FRAMES / FPS * SAMPLE_RATE:
        raise D2MError(f"{song.path}: its part from {song.start_s:g} s is shorter than 2 s; mend the manifest")
    return part
