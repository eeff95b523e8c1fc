"""The study end to end: does z - mean(source) + mean(target) turn one genre's dances into another's?

    python -m experiments.zumba_to_ballet.run bundle=DIR out=DIR [music=DIR] [source=GENRE target=GENRE] [dances=4]
        [seconds=40] [controls=19] [videos=2] [video_seconds=20] [permutations=999] [seed=0]

Randomly chosen songs, both directions, all noise of an original and its edits shared. ``controls`` random directions
of equal length are the null. Writes one self-contained page OUT/index.html, OUT/report.json, OUT/figures, OUT/videos.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from experiments.command import arguments

if TYPE_CHECKING:
    from d2m.dance.table import LatentTable
    from d2m.edits.direction import Direction

OPTIONS = {"dances": 4, "seconds": 40.0, "controls": 19, "videos": 2, "video_seconds": 20.0, "permutations": 999}
OTHERS = ("boundary", "erasure", "transport")


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.reports.page import Section
    from d2m.reports.readings import Reading, directions_reading
    from experiments.material import COMMON, Heard, load, progress, publish

    a = arguments({**COMMON, **OPTIONS}, sys.argv[1:])
    if a["dances"] < 1 or a["seconds"] < 1 or min(a["controls"], a["videos"]) < 0 or a["video_seconds"] <= 0:
        raise D2MError("dances and seconds must be at least 1, controls and videos at least 0, video_seconds above 0")
    began = time.perf_counter()
    material = load(a)
    generator = material.generator
    ways = ((material.source, material.target), (material.target, material.source))
    chosen = {w: material.choose(w[0], a["dances"], a["seed"]) for w in ways}
    table, fitted_on = material.fit_table(s for songs in chosen.values() for s in songs)
    edits = {w: fit_edits(table, *w, controls=a["controls"], seed=a["seed"]) for w in ways}
    readings: dict[str, Reading] = {"means": means_reading(table, fitted_on)}
    if len(table) >= 2 * len(table.genres):
        readings["directions"] = directions_reading(table, *ways[0], a["permutations"], a["seed"])[0]
    sections = [r.section() for r in readings.values()]
    total = sum(len(edits[w]) * len(chosen[w]) + min(a["videos"], len(chosen[w])) for w in ways)
    with progress(total, "dances") as step:
        danced, songs, done = {}, {}, 0
        for way in ways:
            songs[way] = [Heard.of(generator, s, a["seconds"]) for s in chosen[way]]
            danced[way] = {name: [] for name in edits[way]}
            for name, (direction, strength) in edits[way].items():
                for k, song in enumerate(songs[way]):
                    dance = song.dance(generator, a["seed"] + k, edit=direction, strength=strength)
                    danced[way][name].append(dance.poses)
                    step(done := done + 1)
        for way in ways:
            unedited = [d["original"] for d in danced[ways[1 - ways.index(way)]]["mean_shift"]]
            both = way_readings(danced[way], {k: s for k, (_, s) in edits[way].items()}, unedited, *way)
            titles = [s.song.name for s in songs[way]]
            both[0].numbers["songs"] = titles
            films = []
            for song, poses in list(zip(songs[way], danced[way]["mean_shift"], strict=True))[: a["videos"]]:
                films.append(film(Path(a["out"]) / "videos", song, poses, way, a["video_seconds"]))
                step(done := done + 1)
            section = both[0].section()
            words = (
                f"{section.text} Songs, chosen at random with seed {a['seed']}: {', '.join(titles)}. The means are "
                f"those of {fitted_on}. A dance's noise, accepted draws and beats are the same in all three rows."
            )
            sections += [replace(section, text=words, videos=films), both[1].section()]
            readings |= {f"{way[0]}_to_{way[1]}": both[0], f"{way[0]}_to_{way[1]}_edits": both[1]}
    sections.append(Section("What this does not say", LIMITS))
    title = f"{material.source} to {material.target}: dances edited in the latent"
    publish("zumba_to_ballet", title, a, material, readings, sections, began, embed_bytes=64_000_000)
    for part, reading in readings.items():
        if part.endswith("_edits"):
            print(f"{part}: {reading.text}")


LIMITS = (
    "Kinetic energy is one side of a style; whether a dance now belongs to the target genre takes a classifier of "
    "motion that never saw the music. z_dan from music comes from a genre classifier, so that its means are apart by "
    "construction; only the dances say whether the decoder uses the difference. Dots are few: every mean here rests "
    "on the dances listed, one noise seed each."
)


def fit_edits(
    table: LatentTable, source: str, target: str, controls: int, seed: int
) -> dict[str, tuple[Direction, float]]:
    """Edit -> (direction, strength); strengths match the mean shift's length on complete draws of the source's songs.

    Transport is left out if a genre has a single song to fit on.
    """
    from d2m.edits.directions import direction_between
    from d2m.reports.readings import matched_strength

    z, genre = table.mu.astype("float64"), table.genre
    draws = table.draws[genre == source].reshape(-1, table.mu.shape[1])
    reference = direction_between("mean_shift", source, target).fit(z, genre)
    edits: dict[str, tuple[Direction, float]] = {"mean_shift": (reference, 1.0)}
    few = min((genre == source).sum(), (genre == target).sum()) < 2
    for name in OTHERS:
        if not (name == "transport" and few):
            other = direction_between(name, source, target).fit_on_songs(table)
            edits[name] = (other, matched_strength(other, reference, draws))
    for k in range(controls):
        control = direction_between("random", source, target, seed=1000 * (seed + 1) + k).fit(z, genre)
        edits[f"random {k + 1}"] = (control, 1.0)
    return edits


def way_readings(
    danced: dict[str, list[Any]], strengths: dict[str, float], unedited: list[Any], source: str, target: str
) -> tuple[Any, Any]:
    """The mean shift's dances read, and all edits side by side."""
    from d2m.reports.readings import comparison_reading, motion_reading

    named = {k: v for k, v in danced.items() if not k.startswith("random ")}
    controls = [v for k, v in danced.items() if k.startswith("random ")]
    return (
        motion_reading(danced["mean_shift"], source, target),
        comparison_reading(named, controls, unedited, strengths, source, target),
    )


def means_reading(table: LatentTable, fitted_on: str) -> Any:
    """Genre means: how far from the origin and from each other, and the songs about them."""
    import numpy as np

    from d2m.draw.plots import latent_scatter
    from d2m.reports.readings import Reading
    from d2m.stats.structure import pca

    means = table.genre_means()
    rows = [
        {"genre": g, "songs": int((table.genre == g).sum()), "norm": float(np.linalg.norm(m)),
         "spread of songs": float(np.linalg.norm(table.mu[table.genre == g] - m, axis=1).mean())}
        | {f"to {h}": float(np.linalg.norm(m - other)) for h, other in means.items()}
        for g, m in means.items()
    ]  # fmt: skip
    table = table.select(np.argsort(table.genre, kind="stable"))  # colours by name, as in all other figures
    points, shares = pca(table.mu)
    figure = latent_scatter(
        points, table.genre.tolist(), explained_variance=[float(shares[0]), float(shares[1] if len(shares) > 1 else 0)]
    )
    return Reading(
        "Genre means",
        f"Means over {fitted_on} of the noise-averaged z_dan. Taking the source's mean away gives the neutral dance, "
        "adding the target's the target dance.",
        {"genres": rows, "fitted_on": fitted_on},
        {"songs": (figure, f"{len(table)} songs. With their nulls: experiments/genre_structure.")},
        rows, "Lengths in z_dan; spread: mean distance of a song from its genre's mean",
    )  # fmt: skip


def film(folder: Path, song: Any, poses: dict[str, Any], way: tuple[str, str], seconds: float) -> tuple[Path, str]:
    """The contact video original | neutral | target with the song's sound, and its caption."""
    from d2m.core.skeleton import FPS, SAMPLE_RATE
    from d2m.draw.video import render_dance

    source, target = way
    lasts = min(seconds, len(song.wave) / SAMPLE_RATE, song.frames / FPS)
    path = folder / f"{song.title}_{source}_to_{target}.mp4"
    render_dance(
        path, [poses[k] for k in ("original", "neutral", "target")],
        [f"original ({source})", "neutral", f"target ({target})"], audio=song.wave, seconds=lasts, size=(400, 400),
        crf=26,
    )  # fmt: skip
    return path, f"{song.song.name}: {source} to {target}"


if __name__ == "__main__":
    run(main)
