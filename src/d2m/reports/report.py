"""``d2m study report``: all analyses of some songs, as figures, report.json and a page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import git_revision, versions
from d2m.dance.dancer import Dancer
from d2m.dance.encoding import space_of, wave_encoder
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.data.songs import SongFile, song_wave
from d2m.edits.direction import Direction
from d2m.reports.evaluate.run import bundle_names
from d2m.reports.extracted import how_of, latents_of, songs_to_hear
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


def furthest_genres(table: LatentTable) -> tuple[str, str]:
    """The two genres whose means lie furthest apart, in alphabetical order.

    Raises:
        D2MError: fewer than two genres.
    """
    means = table.genre_means()
    names = sorted(means)
    pairs = [(float(np.linalg.norm(means[x] - means[y])), x, y) for i, x in enumerate(names) for y in names[i + 1 :]]
    if not pairs:
        raise D2MError(f"two genres are needed; all songs are {', '.join(names)}")
    _, source, target = max(pairs)
    return source, target


def two_genres(table: LatentTable, source: str | None, target: str | None) -> tuple[str, str]:
    """Source and target: as given, else the two genres furthest apart; a missing one differs from the given one.

    Raises:
        D2MError: fewer than two genres, an unknown one, or the same genre twice.
    """
    known = table.genres
    for key, genre in (("source", source), ("target", target)):
        if genre is not None and genre not in known:
            raise D2MError(f"{key}={genre}: no song has this genre; choose from {', '.join(known)}")
    if source is not None and source == target:
        raise D2MError(f"source={source} target={target}: give two different genres from {', '.join(known)}")
    first, second = furthest_genres(table)
    source = source or (first if first != target else second)
    return source, target or (second if second != source else first)


def write_report(generator: DanceGenerator, a: dict[str, Any], out: Path) -> int:
    """``OUT/index.html``, ``OUT/report.json``, ``OUT/figures`` and the latents; returns the number of figures.

    Args:
        a: the command's arguments, checked.
        out: an existing folder.

    Raises:
        D2MError: no song can be read, fewer than two genres, or it cannot be written.
    """
    began = time.perf_counter()
    music, dance = latents_of(generator, a, out / "cache")
    music.save(out / "latents.npz")
    source, target = two_genres(music, a["source"], a["target"])
    m, seed = a["permutations"], a["seed"]
    readings: dict[str, Reading] = {"structure": structure_reading(music, m, seed)}
    readings["directions"], fitted = directions_reading(music.training_rows(), source, target, m, seed)
    if dance is not None:
        dance.save(out / "latents_dance.npz")
        readings["structure_dance"] = structure_reading(dance, m, seed, "dance")
        readings["joint"] = joint_reading(music, dance, source, target, m, seed)
    songs = songs_to_hear(a, music, source)
    readings |= dict(_heard(generator, songs, fitted["mean_shift"], source, target, a))
    for reading in readings.values():
        reading.save_figures(out / "figures")
    facts = {
        "bundle": bundle_names([Path(a["bundle"])])[0], "space": space_of(generator), "git": git_revision(),
        "versions": versions(), "extraction": music.meta, "seed": seed, "seconds": time.perf_counter() - began,
    }  # fmt: skip
    write_json(out / "report.json", {**{name: r.numbers for name, r in readings.items()}, "facts": facts})
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
    return sum(len(r.figures) for r in readings.values())


def _heard(
    generator: DanceGenerator, songs: list[SongFile], direction: Direction, source: str, target: str, a: dict[str, Any]
) -> Iterator[tuple[str, Reading]]:
    """Analyses that need the audio of the source genre's songs: edits of it, and dances to it."""
    chosen = _spread(songs, a["edits"])
    if chosen:
        encode = wave_encoder(generator, how_of(a))
        table: dict[str, list[dict[str, Any]]] = {}
        for song in chosen:
            for row in measure_music_edits(song_wave(song), encode, direction):
                table.setdefault(row["edit"], []).append(row)
        yield "music_edits", music_edits_reading(table, source, target)
    dances: dict[int, dict[str, NDArray[np.float32]]] = {}
    heard = _spread(songs, a["dances"])
    seeds = [a["seed"] + k for k in range(len(heard))]
    for k, dance in Dancer(generator).many(heard, seed=seeds, edit=direction):
        if isinstance(dance, D2MError):
            raise dance
        dances[k] = dance.versions.poses
    if dances:
        yield "motion", motion_reading([dances[k] for k in sorted(dances)], source, target)


def _spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most n of the items, evenly spaced."""
    if n <= 0 or not items:
        return []
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int))]
