"""What the commands of the latent laboratory do; their arguments are checked in :mod:`d2m.cli.study`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from d2m.bundle import FILES, MOTION_STYLE, read_bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.dance.extraction import (
    Extraction,
    Progress,
    extract_corpus_music,
    extract_dance,
    extract_music,
    space_of,
    wave_encoder,
)
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import dance_to
from d2m.dance.table import LatentTable
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, find_music, song_wave
from d2m.edits.direction import Direction, save_direction
from d2m.edits.directions import fit_on_songs, make_direction
from d2m.edits.request import check_space
from d2m.music.audio import n_frames
from d2m.music.beats import track
from d2m.music.front_ends import features
from d2m.reports.music_edits import measure_music_edits
from d2m.reports.page import Section, write_page
from d2m.reports.readings import (
    Reading,
    directions_reading,
    joint_reading,
    motion_reading,
    music_edits_reading,
    structure_reading,
)  # fmt: skip


def _source_of(a: dict[str, Any], *keys: str) -> str:
    given = [k for k in keys if a[k] is not None]
    if len(given) != 1:
        raise D2MError(f"give one of {', '.join(f'{k}=...' for k in keys)}; d2m study --help shows all")
    return given[0]


def _how(a: dict[str, Any]) -> Extraction:
    return Extraction(a["window"], a["draws"], a["noise"], a["seed"])


@contextmanager
def _progress(total: int, what: str) -> Iterator[Progress]:
    """A bar on a terminal; at the end one line with song seconds per second."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    began, last = time.perf_counter(), [0.0]
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def update(done: int, seconds: float) -> None:
            last[0] = seconds
            bar.update(task, completed=done)

        yield update
    took = max(time.perf_counter() - began, 1e-9)
    console.print(f"{what}: {last[0]:.0f} s of music in {took:.1f} s ({last[0] / took:.0f} song seconds per second)")


def _extract(generator: DanceGenerator, a: dict[str, Any], cache: Path) -> tuple[LatentTable, LatentTable | None]:
    """Latents of music=, or of both sides of corpus=."""
    if _source_of(a, "music", "corpus") == "music":
        songs = find_music(a["music"])
        with _progress(len(songs), "songs") as progress:
            table, bad = extract_music(generator, songs, _how(a), cache, progress)
        for line in bad:
            print(f"left out: {line}", file=sys.stderr)
        return table, None
    corpus = Corpus.open(a["corpus"])
    return extract_corpus_music(generator, corpus, _how(a)), extract_dance(generator, corpus, _how(a))


def extract(a: dict[str, Any]) -> str:
    """``OUT/latents.npz``, with a corpus also ``OUT/latents_dance.npz``."""
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    _source_of(a, "music", "corpus")
    check_out(out)
    music, dance = _extract(generator, a, out / "cache")
    music.save(out / "latents.npz")
    if dance is not None:
        dance.save(out / "latents_dance.npz")
    counts = ", ".join(f"{g} {len(set(music.song[music.genre == g]))}" for g in music.genres)
    return f"{len(music)} rows of {len(set(music.song.tolist()))} songs ({counts}) in {out / 'latents.npz'}"


def _training_part(table: LatentTable) -> LatentTable:
    """What directions may be fitted on: the training split, or everything where there are no splits."""
    train = table.split == "train"
    return table.select(train) if train.any() else table


def fit(a: dict[str, Any]) -> str:
    """A direction file in OUT, fitted on whole songs (of a corpus: its training split)."""
    kind = _source_of(a, "latents", "music", "corpus")
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    options = {k: a[k] for k in ("method", "shrinkage", "axis", "kind") if a[k] is not None}
    if a["edit"] == "random":
        options["seed"] = a["seed"]
    direction = make_direction(a["edit"], a["source"], a["target"], **options)
    check_out(out)
    table = LatentTable.load(a["latents"]) if kind == "latents" else _extract(generator, a, out / "cache")[0]
    check_space(table.meta.get("space", ""), table.mu.shape[1], generator, f"latents={a['latents']}")
    songs = _training_part(table).by_song()
    fit_on_songs(direction, songs)
    facts = {
        "songs": {g: int((songs.genre == g).sum()) for g in songs.genres},
        "extraction": {k: v for k, v in table.meta.items() if k != "skipped"},
        "git": git_revision(),
    }
    save_direction(out, direction, space_of(generator), facts)
    return f"{direction.name} fitted on {len(songs)} songs in {out}; dance it with infer.py edit.file={out}"


def means(a: dict[str, Any]) -> str:
    """The bundle with new genre means, rewritten whole with a new seal."""
    bundle, out = read_bundle(a["bundle"]), Path(a["out"])
    generator = DanceGenerator.load(a["bundle"], a["device"])
    foreign = out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "provenance.json").is_file())
    if foreign:
        raise D2MError(f"out={out}: exists and is no bundle; choose another folder")
    beside = sorted(p for p in out.iterdir() if p.name not in {*FILES, MOTION_STYLE}) if out.is_dir() else []
    if beside and out.resolve() != bundle.folder.resolve():
        raise D2MError(
            f"out={out}: holds {beside[0].name} besides a bundle and would be replaced; choose another folder"
        )
    cache = out.resolve().parent / f".{out.resolve().name}.latents"
    table, _ = _extract(generator, {**a, "corpus": None, "window": None}, cache)
    found = table.genre_means()
    songs = table.by_song()
    counts = {g: int((songs.genre == g).sum()) for g in songs.genres}
    history = {
        "genres": counts, "front_end": generator.front_end, "noise_draws": a["noise"], "seed": a["seed"],
        "kept": sorted(set(bundle.genre_means) - set(found)) if a["keep"] else [],
    }  # fmt: skip
    provenance = {k: v for k, v in bundle.provenance.items() if k not in ("seal", "files")}
    provenance["genre_means"] = [*provenance.get("genre_means", []), history]
    listed = ", ".join(f"{g} ({n} songs)" for g, n in counts.items())

    def carry(folder: Path) -> None:
        """What lies in the bundle and is not of it stays, such as an import's checkpoints to go on training from."""
        for path in beside:
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, folder / path.name, symlinks=True)
            else:
                shutil.copy2(path, folder / path.name, follow_symlinks=False)

    write_bundle(
        out,
        config={k: v for k, v in bundle.config.items() if k != "format"},
        state=bundle.state,
        normalizer=bundle.normalizer,
        genres=bundle.genres,
        genre_means={**(bundle.genre_means if a["keep"] else {}), **found},
        provenance=provenance,
        motion_style=bundle.motion_style,
        card=(bundle.folder / "CARD.md").read_text().rstrip()
        + f"\n\nGenre means of the user's own songs (d2m study means): {listed}.\n",
        extra=carry,
    )
    return f"genre means of {listed} in {out}"


def furthest_genres(table: LatentTable) -> tuple[str, str]:
    """The two genres whose means lie furthest apart, in alphabetical order.

    Raises:
        D2MError: fewer than two genres.
    """
    found = table.genre_means()
    names = sorted(found)
    pairs = [(float(np.linalg.norm(found[x] - found[y])), x, y) for i, x in enumerate(names) for y in names[i + 1 :]]
    if not pairs:
        raise D2MError(f"two genres are needed; there is {', '.join(names)}")
    _, source, target = max(pairs)
    return source, target


def two_genres(table: LatentTable, source: str | None, target: str | None) -> tuple[str, str]:
    """Source and target: as given, else the genres furthest apart; where one is given the other differs from it.

    Raises:
        D2MError: fewer than two genres, an unknown one, or one genre twice.
    """
    known = table.genres
    for key, genre in (("source", source), ("target", target)):
        if genre is not None and genre not in known:
            raise D2MError(f"{key}={genre}: no such genre among these songs; there are {', '.join(known)}")
    if source is not None and source == target:
        raise D2MError(f"source={source} target={target}: give two different genres; there are {', '.join(known)}")
    first, second = furthest_genres(table)
    source = source or (first if first != target else second)
    return source, target or (second if second != source else first)


def _spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most n of the items, evenly spaced."""
    return (
        [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int))]
        if n > 0 and len(items)
        else []
    )


def _songs_to_hear(a: dict[str, Any], table: LatentTable, source: str) -> list[SongFile]:
    """Files of the source genre: of the music folder, or held-out ones of the corpus (training ones where none is)."""
    if a["music"] is not None:
        kept = set(table.song.tolist())
        return [s for s in find_music(a["music"]) if s.genre == source and s.name in kept]
    corpus = Corpus.open(a["corpus"])
    order = ("test", "val", "train")
    found = []
    for split in order:
        for i in corpus.recordings_in(split, source, with_music=True):
            path, info = corpus.audio_path(int(i)), corpus.recordings[int(i)]
            if path is not None and path.is_file():
                found.append(SongFile(info.name, source, path, info.start_s, info.start_s + info.seconds))
    return found


def report(a: dict[str, Any]) -> str:
    """Everything that can be said of these songs, as figures, report.json and a page."""
    _source_of(a, "music", "corpus")
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    check_out(out)
    began = time.perf_counter()
    music, dance = _extract(generator, a, out / "cache")
    music.save(out / "latents.npz")
    source, target = two_genres(music, a["source"], a["target"])
    m, seed = a["permutations"], a["seed"]
    readings: dict[str, Reading] = {"structure": structure_reading(music, m, seed)}
    readings["directions"], fitted = directions_reading(_training_part(music), source, target, m, seed)
    if dance is not None:
        dance.save(out / "latents_dance.npz")
        readings["structure_dance"] = structure_reading(dance, m, seed, "dance")
        readings["joint"] = joint_reading(music, dance, source, target, m, seed)
    songs = _songs_to_hear(a, music, source)
    for name, reading in _heard(generator, songs, fitted["mean_shift"], source, target, a):
        readings[name] = reading
    for reading in readings.values():
        reading.save_figures(out / "figures")
    numbers: dict[str, Any] = {name: r.numbers for name, r in readings.items()}
    facts = {
        "bundle": Path(a["bundle"]).name, "space": space_of(generator), "git": git_revision(), "versions": versions(),
        "extraction": music.meta, "seed": seed, "seconds": time.perf_counter() - began,
    }  # fmt: skip
    write_json(out / "report.json", {**numbers, "facts": facts})
    shown = ("bundle", "music", "corpus", "source", "target", "seed", "permutations", "edits", "dances")
    command = " ".join(f"{k}={a[k]}" for k in shown if a[k] is not None)
    n = len(set(music.song.tolist()))
    intro = Section(
        "What this is",
        f"z_dan of {n} songs ({', '.join(music.genres)}) by the bundle {facts['bundle']}, and edits from {source} to "
        f"{target}. mu is averaged over {a['noise']} draws of the noise; everything is seeded ({seed}).",
        code=f"d2m study report {command} out=...",
    )
    write_page(out / "index.html", "The dance latent", [intro, *(r.section() for r in readings.values())])
    return f"{out / 'index.html'}, {out / 'report.json'} and {sum(len(r.figures) for r in readings.values())} figures"


def _heard(
    generator: DanceGenerator, songs: list[SongFile], direction: Direction, source: str, target: str, a: dict[str, Any]
) -> Iterator[tuple[str, Reading]]:
    """What needs the sound of the source genre's songs: edits of it, and dances to it."""
    chosen = _spread(songs, a["edits"])
    if chosen:
        encode = wave_encoder(generator, _how(a))
        table: dict[str, list[dict[str, Any]]] = {}
        for song in chosen:
            for row in measure_music_edits(song_wave(song), encode, direction):
                table.setdefault(row["edit"], []).append(row)
        yield "music_edits", music_edits_reading(table, source, target)
    dances = []
    for k, song in enumerate(_spread(songs, a["dances"])):
        wave = song_wave(song)
        x = features(wave, generator.front_end, song.path, song.start_s)
        beats = track(wave, generator.beat_tracker)
        dance = dance_to(generator, x, beats, n_frames(len(wave)), seed=a["seed"] + k, edit=direction)
        dances.append(dance.poses)
    if dances:
        yield "motion", motion_reading(dances, source, target)


COMMANDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "extract": extract, "fit": fit, "means": means, "report": report,
}  # fmt: skip
