"""Which files are songs, and which songs a request refers to, with or without genres."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import csv_rows
from d2m.core.skeleton import FPS, SAMPLE_RATE, STYLE_FRAMES
from d2m.core.spreadsheets import plain_text
from d2m.core.walk import walk_files
from d2m.data.manifest import MANIFEST, read_manifest
from d2m.music.audio import AUDIO_SUFFIXES, load_song

#: Suffixes (lower case) of films, which count as songs if they have sound.
FILM_SUFFIXES: frozenset[str] = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".3g2", ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg",
    ".wmv", ".ogv",
))  # fmt: skip


class SongFile(NamedTuple):
    """A song to extract. name: unique; start_s, end_s: the part to use."""

    name: str
    genre: str
    path: Path
    start_s: float = 0.0
    end_s: float | None = None


def songs_among(files: Iterable[Path]) -> list[Path]:
    """The songs among ``files``, sorted; the others are named in one line on standard error.

    A song has one of :data:`d2m.music.audio.AUDIO_SUFFIXES`, or one of :data:`FILM_SUFFIXES` and sound. Names that
    start with a dot (macOS' ``._track.mp3``) and folders are ignored silently, and so are videos of dances made by d2m
    (NAME.mp4 next to NAME.npz and NAME.json).
    """
    songs: list[Path] = []
    others: list[str] = []
    for file in sorted(files):
        if file.name.startswith(".") or not file.is_file():
            continue
        kind = file.suffix.lower()
        drawn = kind == ".mp4" and all(file.with_suffix(s).is_file() for s in (".npz", ".json"))
        if kind in AUDIO_SUFFIXES or (kind in FILM_SUFFIXES and not drawn and _has_sound(file)):
            songs.append(file)
        else:
            others.append(file.name)
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(f"left out, not audio: {', '.join(others[:5])}{more}", file=sys.stderr)
    return songs


def _has_sound(file: Path) -> bool:
    from d2m.music.decode import has_sound

    return has_sound(file)


def find_songs(music: str | Path) -> list[Path]:
    """The songs that ``music`` names: a file, a folder's songs, or a glob's (see :func:`songs_among`); sorted.

    In a glob, ``**`` matches any depth of folders. Leading folders that exist are taken literally.

    Raises:
        D2MError: there are none.
    """
    path = Path(music)
    if path.is_dir():
        songs = songs_among(path.iterdir())
        if not songs:
            raise D2MError(f"music={music}: no songs in this folder; it should hold wav, flac, ogg, mp3 or m4a files")
        return songs
    if path.exists():
        return [path]
    there = next((p for p in path.parents if p.is_dir()), Path())
    pattern = os.path.join(glob.escape(str(there)), path.relative_to(there))
    # Links that lead back to a folder above give its files again.
    paths = [Path(p) for p in glob.glob(pattern, recursive=True)]
    matches = list({(os.path.realpath(p.parent), p.name): p for p in reversed(paths)}.values())
    if not matches:
        raise D2MError(f"music={music}: no such file, folder or glob; check the path")
    songs = songs_among(matches)
    if not songs:
        n, first = len(matches), matches[0].name
        raise D2MError(f"music={music}: none of the {n} files that match is audio ({first}); change the pattern")
    return songs


def find_music(music: str | Path) -> list[SongFile]:
    """Songs and their genres.

    Args:
        music: a folder with a folder of audio files per genre; a raw corpus (a folder with manifest.csv); or a CSV file
            with the columns audio and genre, paths relative to it.

    Raises:
        D2MError: none of these, no songs, or a duplicate name.
    """
    root = Path(music)
    if root.is_file():
        songs = _songs_of_table(root)
    elif (root / MANIFEST).is_file():
        listed = read_manifest(root)
        songs = [SongFile(r.name, r.genre, r.audio, r.audio_start_s, r.audio_end_s) for r in listed if r.audio]
    elif root.is_dir():
        folders = [f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")]
        files = songs_among(p for folder in folders for p in walk_files(folder))
        parts = [p.relative_to(root) for p in files]
        songs = [SongFile(part.as_posix(), plain_text(part.parts[0]), p) for part, p in zip(parts, files, strict=True)]
    else:
        raise D2MError(f"music={music}: no such folder or file; give a folder with one folder of songs per genre")
    if not songs:
        raise D2MError(
            f"music={music}: no songs found; put audio files into one folder per genre, named after the genre"
        )
    names = [s.name for s in songs]
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise D2MError(f"music={music}: the song '{twice[0]}' is listed twice; list each once")
    return songs


def _songs_of_table(path: Path) -> list[SongFile]:
    rows = csv_rows(path, ("audio", "genre"), f"music={path}")
    if any(not r.get("audio") or not r.get("genre") for r in rows):
        raise D2MError(f"music={path}: the first line must name the columns, and every row needs audio and genre")
    return [SongFile(r.get("name") or r["audio"], r["genre"], path.parent / r["audio"]) for r in rows]


def song_wave(song: SongFile) -> NDArray[np.float32]:
    """The selected part of a song, (n,) at 22,050 Hz.

    Raises:
        D2MError: unreadable, silent or too short.
    """
    wave = load_song(song.path)
    end = None if song.end_s is None else round(song.end_s * SAMPLE_RATE)
    part = wave[round(song.start_s * SAMPLE_RATE) : end]
    if len(part) < STYLE_FRAMES / FPS * SAMPLE_RATE:
        raise D2MError(f"{song.path}: less than 2 s are left after start={song.start_s:g}; correct the manifest")
    return part
