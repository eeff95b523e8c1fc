"""The songs selected by a study's arguments, and their latents."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.dance.encoding import Extraction
from d2m.dance.extraction import extract_corpus_music, extract_dance, extract_music
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, find_music


def source_of(a: dict[str, Any], *keys: str) -> str:
    """The one of these keys that is given.

    Raises:
        D2MError: none or several are given.
    """
    given = [k for k in keys if a[k] is not None]
    if len(given) != 1:
        raise D2MError(f"give one of {', '.join(f'{k}=...' for k in keys)}; d2m study --help shows all")
    return given[0]


def how_of(a: dict[str, Any]) -> Extraction:
    """The extraction options in the arguments."""
    return Extraction(a["window"], a["draws"], a["noise"], a["seed"])


def latents_of(generator: DanceGenerator, a: dict[str, Any], cache: Path) -> tuple[LatentTable, LatentTable | None]:
    """Latents of music=, or of both sides of corpus=; songs that cannot be read are named on standard error."""
    if source_of(a, "music", "corpus") == "music":
        songs, began, heard = find_music(a["music"]), time.perf_counter(), 0.0
        with bar(len(songs), "songs") as update:

            def progress(done: int, seconds: float) -> None:
                nonlocal heard
                heard = seconds
                update(done=done)

            table, bad = extract_music(generator, songs, how_of(a), cache, progress)
        took = max(time.perf_counter() - began, 1e-9)
        print(
            f"songs: {heard:.0f} s of music in {took:.1f} s ({heard / took:.0f} song seconds per second)",
            file=sys.stderr,
        )
        for line in bad:
            print(f"left out: {line}", file=sys.stderr)
        return table, None
    corpus = Corpus.open(a["corpus"])
    return extract_corpus_music(generator, corpus, how_of(a)), extract_dance(generator, corpus, how_of(a))


def songs_to_hear(a: dict[str, Any], table: LatentTable, genre: str) -> list[SongFile]:
    """Files of a genre: of the music folder, or of the corpus, held-out ones first."""
    if a["music"] is not None:
        kept = set(table.song.tolist())
        return [s for s in find_music(a["music"]) if s.genre == genre and s.name in kept]
    corpus = Corpus.open(a["corpus"])
    songs = []
    for split in ("test", "val", "train"):
        for i in corpus.recordings_in(split, genre, with_music=True):
            path, info = corpus.audio_path(int(i)), corpus.recordings[int(i)]
            if path is not None and path.is_file():
                songs.append(SongFile(info.name, genre, path, info.start_s, info.start_s + info.seconds))
    return songs
