"""What the experiments work on: a bundle's held-out songs by default, or a folder of the user's music.

Every experiment takes ``bundle=DIR out=DIR [music=DIR] [corpus=DIR] [source=GENRE] [target=GENRE] [seed=0]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from d2m.bundle import read_bundle
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.core.progress import bar
from d2m.core.skeleton import FPS
from d2m.dance.dancer import HeardSong, hear
from d2m.dance.encoding import Extraction, space_of
from d2m.dance.extraction import extract_corpus_music, extract_music
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance
from d2m.dance.table import LatentTable
from d2m.dance.together import dance_to
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, find_music
from d2m.metrics.motion import mean_energy
from d2m.reports.held_out import HELD_OUT, energy_extremes
from d2m.reports.page import Section, write_page
from d2m.reports.readings import Reading

COMMON: dict[str, Any] = {"bundle": None, "out": None, "music": "", "corpus": "", "source": "", "target": "", "seed": 0}
#: Songs a genre that are danced to in order to rank the genres of a user's music by energy, and for how long.
_RANK_SONGS, _RANK_SECONDS = 3, 20.0


def find_corpus(bundle: str | Path, corpus: str = "") -> Corpus:
    """The prepared corpus that a bundle was trained on.

    ``corpus`` if given; else what the run that holds the bundle says; else the cache that provenance.json names.

    Raises:
        D2MError: none of these exists.
    """
    if corpus:
        return Corpus.open(corpus)
    folder, provenance = Path(bundle), read_bundle(bundle).provenance
    fingerprint = str(provenance.get("corpus", {}).get("fingerprint", ""))
    data = provenance.get("config", {}).get("data", {})
    places = []
    run = RunFolder(folder.resolve().parent)
    if run.facts().get("corpus"):
        places.append(run.corpus())
    if fingerprint and data.get("cache"):  # bundles of older versions name the folder itself
        names = (fingerprint, f"corpus-{fingerprint[:16]}", f"mix-{fingerprint[:16]}")
        places += [Path(data["cache"]) / name for name in names]
    for place in filter(Path.is_dir, places):
        candidate = Corpus.open(place)
        if fingerprint in ("", place.name, candidate.digest):
            return candidate
    raise D2MError(
        f"bundle={bundle}: its training corpus is not on this machine; give corpus=DIR (prepared) or music=DIR"
    )


@dataclass(frozen=True)
class Material:
    """The studied songs, and what directions are fitted on.

    studied: held-out songs of the corpus, or the user's. training: songs that the networks saw; None for the user's.
    files: the studied songs' audio files, if they are on disk.
    """

    generator: DanceGenerator
    corpus: Corpus | None
    studied: LatentTable
    training: LatentTable | None
    files: list[SongFile]
    source: str
    target: str

    def choose(self, genre: str, n: int, seed: int) -> list[SongFile]:
        """n of the studied songs of a genre at random, in the order of their names.

        Raises:
            D2MError: there is none whose sound can be read.
        """
        own = sorted((s for s in self.files if s.genre == genre), key=lambda s: s.name)
        if not own:
            raise D2MError(f"no audio file for any {genre} song; give music=DIR with a folder named {genre}")
        return [own[i] for i in sorted(np.random.default_rng(seed).permutation(len(own))[: max(1, n)])]

    def fit_table(self, heard: Iterable[SongFile]) -> tuple[LatentTable, str]:
        """Latents that directions may be fitted on, one row per song, and which they are, in words.

        The training songs; of a user's music all but those that are heard, where two songs of each genre are left.
        """
        if self.training is not None:
            return self.training.by_song(), "the training songs"
        songs = self.studied.by_song()
        rest = songs.select(~np.isin(songs.song, [s.name for s in heard]))
        enough = all((rest.genre == g).sum() >= 2 for g in songs.genres)
        return (rest, "the songs that are not danced to") if enough else (songs, "all songs, those heard among them")


def _user_songs(generator: DanceGenerator, a: Mapping[str, Any], how: Extraction) -> tuple[LatentTable, list[SongFile]]:
    songs = find_music(a["music"])
    with progress(len(songs), "songs") as step:
        table, bad = extract_music(
            generator, songs, how, Path(a["out"]) / "cache", progress=lambda done, _: step(done), batch=4
        )
    for line in bad:
        print(f"left out: {line}", file=sys.stderr)
    kept = set(table.song.tolist())
    return table, [s for s in songs if s.name in kept]


def _held_out_files(corpus: Corpus) -> list[SongFile]:
    files = []
    for split in HELD_OUT:
        for i in map(int, corpus.recordings_in(split, with_music=True)):
            info, path = corpus.recordings[i], corpus.audio_path(i)
            if path is not None and path.is_file():
                files.append(SongFile(info.name, info.genre, path, info.start_s, info.start_s + info.seconds))
    return files


def load(a: Mapping[str, Any], draws: int = 8) -> Material:
    """The bundle, its latents of the songs, and the two genres: most and least energetic unless given.

    Raises:
        D2MError: no bundle, corpus or music; fewer than two genres; an unknown genre.
    """
    check_out(Path(a["out"]))
    if a["music"] and a["corpus"]:
        raise D2MError("give music=DIR or corpus=DIR, not both")
    generator, how = DanceGenerator.load(a["bundle"]), Extraction(None, draws, 64, a["seed"])
    corpus = training = None
    if a["music"]:
        studied, files = _user_songs(generator, a, how)
    else:
        corpus = find_corpus(a["bundle"], a["corpus"])
        training = extract_corpus_music(generator, corpus, how, ("train",))
        studied, files = extract_corpus_music(generator, corpus, how, HELD_OUT), _held_out_files(corpus)
    genres = studied.genres
    for key in ("source", "target"):
        if a[key] and a[key] not in genres:
            raise D2MError(f"{key}={a[key]}: no song has this genre; choose from {', '.join(genres)}")
    if len(genres) < 2:
        raise D2MError(f"two genres are needed, but all songs are {genres[0]}")
    source, target = a["source"], a["target"]
    if not (source and target):
        high, low = energy_extremes(corpus) if corpus is not None else _loudest(generator, files, a["seed"])
        source = source or next(g for g in (high, low) if g != target)
        target = target or next(g for g in (low, high) if g != source)
    if source == target:
        raise D2MError(f"source={source} target={target}: give two different genres from {', '.join(genres)}")
    return Material(generator, corpus, studied, training, files, source, target)


def _loudest(generator: DanceGenerator, files: Sequence[SongFile], seed: int) -> tuple[str, str]:
    """The genres to whose songs the bundle dances with most and least kinetic energy (torso lengths²/s²)."""
    means: dict[str, float] = {}
    for genre in sorted({s.genre for s in files}):
        own = [s for s in files if s.genre == genre][:_RANK_SONGS]
        heard = [Heard.of(generator, s, _RANK_SECONDS) for s in own]
        means[genre] = float(np.mean([mean_energy(h.dance(generator, seed).poses["original"]) for h in heard]))
    return max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])


@dataclass(frozen=True)
class Heard:
    """A song ready to be danced to, heard in whole; a dance to it lasts ``frames``."""

    song: SongFile
    heard: HeardSong = field(repr=False)
    frames: int

    @classmethod
    def of(cls, generator: DanceGenerator, song: SongFile, seconds: float) -> Heard:
        """Read a song; the style is the whole song's, the dance lasts its first ``seconds``."""
        heard = hear(generator, song)
        return cls(song, heard, min(heard.frames, round(seconds * FPS)))

    @property
    def wave(self) -> Any:
        return self.heard.wave

    @property
    def title(self) -> str:
        return Path(self.song.name).stem

    def dance(self, generator: DanceGenerator, seed: int, **edit: Any) -> SongDance:
        """See :func:`d2m.dance.together.dance_to`; one seed, one noise, whatever the edit."""
        return dance_to(generator, self.heard.features, self.heard.beats, self.frames, seed=seed, **edit)


@contextmanager
def progress(total: int, what: str) -> Iterator[Any]:
    """A bar on a terminal; the value is a function of how many are done."""
    with bar(total, what) as update:
        yield lambda done: update(done=done)


def publish(
    name: str,
    title: str,
    a: Mapping[str, Any],
    material: Material,
    readings: Mapping[str, Reading],
    sections: Sequence[Section],
    began: float,
    embed_bytes: int = 0,
) -> None:
    """``OUT/figures``, ``OUT/report.json`` and ``OUT/index.html``, and where they are, printed.

    Args:
        readings: "part" -> its numbers go to report.json, its figures to ``figures/part``.
        sections: of the page, after the one that says what was run.
        began: time.perf_counter() at the start.
        embed_bytes: videos up to this size go into the page; 0 links them.
    """
    out = Path(a["out"])
    for part, reading in readings.items():
        reading.save_figures(out / "figures" / part)
    words = " ".join(f"{k}={v}" for k, v in a.items() if v != "" and k not in ("bundle", "out", "music", "corpus"))
    command = f"python -m experiments.{name}.run bundle=DIR out=DIR{' music=DIR' if a['music'] else ''} {words}"
    songs = material.studied.by_song()
    counts = {g: int((songs.genre == g).sum()) for g in songs.genres}
    facts = {
        "command": command, "space": space_of(material.generator), "songs": counts,
        "held_out": material.corpus is not None, "source": material.source, "target": material.target,
        "git": git_revision(), "versions": versions(), "seconds": time.perf_counter() - began,
    }  # fmt: skip
    numbers = {k: r.numbers for k, r in readings.items()}
    write_json(out / "report.json", {**numbers, "facts": facts})
    whose = "held-out songs of the bundle's corpus" if material.corpus is not None else "songs of the user's folder"
    listed = ", ".join(f"{g} ({n})" for g, n in counts.items())
    intro = Section("What was run", f"{len(songs)} {whose}: {listed}.", code=f"$ {command}")
    page = write_page(
        out / "index.html", title, [intro, *sections], embed_videos=embed_bytes > 0, embed_bytes=embed_bytes
    )
    print(f"page:   {page}\nreport: {out / 'report.json'}")
