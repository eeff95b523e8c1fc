"""The ``d2m study`` commands; :mod:`d2m.cli.study` checks their arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2m.bundle import read_bundle
from d2m.core.files import check_out
from d2m.core.machine import git_revision
from d2m.dance.encoding import space_of
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.edits.direction import save_direction
from d2m.edits.directions import make_direction
from d2m.edits.request import check_space, training_songs
from d2m.reports.extracted import latents_of, source_of
from d2m.reports.means import check_target, write_means
from d2m.reports.report import write_report


def extract(a: dict[str, Any]) -> str:
    """``OUT/latents.npz``, with a corpus also ``OUT/latents_dance.npz``."""
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    source_of(a, "music", "corpus")
    check_out(out)
    music, dance = latents_of(generator, a, out / "cache")
    music.save(out / "latents.npz")
    if dance is not None:
        dance.save(out / "latents_dance.npz")
    counts = ", ".join(f"{g} {len(set(music.song[music.genre == g]))}" for g in music.genres)
    return f"{len(music)} rows of {len(set(music.song.tolist()))} songs ({counts}) in {out / 'latents.npz'}"


def fit(a: dict[str, Any]) -> str:
    """A direction file in OUT, fitted on whole songs (with splits: the training songs, unless rows=all)."""
    kind = source_of(a, "latents", "music", "corpus")
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    options = {k: a[k] for k in ("method", "shrinkage", "axis", "kind")}
    if a["edit"] == "random":
        options["seed"] = a["seed"]
    direction = make_direction(a["edit"], a["source"], a["target"], **options)
    check_out(out)
    table = LatentTable.load(a["latents"]) if kind == "latents" else latents_of(generator, a, out / "cache")[0]
    check_space(table.meta.get("space", ""), table.mu.shape[1], generator, f"latents={a['latents']}")
    rows = a.get("rows", "train")
    songs = training_songs(table, rows)
    direction.fit_on_songs(songs)
    facts = {
        "songs": {g: int((songs.genre == g).sum()) for g in songs.genres},
        "rows": rows,
        "extraction": {k: v for k, v in table.meta.items() if k != "skipped"},
        "git": git_revision(),
    }
    save_direction(out, direction, space_of(generator), facts)
    return f"{direction.name} fitted on {len(songs)} songs in {out}; dance it with d2m infer edit.file={out}"


def means(a: dict[str, Any]) -> str:
    """Rewrite the bundle with new genre means and a new seal."""
    bundle, out = read_bundle(a["bundle"]), Path(a["out"])
    generator = DanceGenerator.load(a["bundle"], a["device"])
    check_target(bundle, out)  # before hours of extraction
    cache = out.resolve().parent / f".{out.resolve().name}.latents"
    table, _ = latents_of(generator, {**a, "corpus": None, "window": None}, cache)
    counts = write_means(bundle, out, table, a["keep"])
    return f"genre means of {', '.join(f'{g} ({n} songs)' for g, n in counts.items())} in {out}"


def report(a: dict[str, Any]) -> str:
    """All analyses of these songs, as figures, report.json and a page."""
    source_of(a, "music", "corpus")
    generator, out = DanceGenerator.load(a["bundle"], a["device"]), Path(a["out"])
    check_out(out)
    figures = write_report(generator, a, out)
    return f"{out / 'index.html'}, {out / 'report.json'} and {figures} figures"


COMMANDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "extract": extract, "fit": fit, "means": means, "report": report,
}  # fmt: skip
