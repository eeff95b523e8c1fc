"""Does editing the music move z_dan where editing the latent moves it? Tempo, remix, pitch and loudness.

    python -m experiments.music_edits.run bundle=DIR out=DIR [music=DIR] [source=GENRE target=GENRE] [songs=4]
        [seconds=40] [seed=0]

Randomly chosen songs of both genres; the unit is the latent edit's own step, from one genre's mean to the other's.
Writes OUT/index.html, OUT/report.json and OUT/figures.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from experiments.command import arguments


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.core.skeleton import SAMPLE_RATE
    from d2m.dance.encoding import Extraction, wave_encoder
    from d2m.data.songs import song_wave
    from d2m.edits.mean_shift import MeanShift
    from d2m.music.transforms import MUSIC_EDITS
    from d2m.reports.music_edits import measure_music_edits
    from d2m.reports.readings import Reading, music_edits_reading
    from experiments.material import COMMON, load, progress, publish

    a = arguments({**COMMON, "songs": 4, "seconds": 40.0}, sys.argv[1:])
    if a["songs"] < 1 or a["seconds"] < 4:
        raise D2MError(f"songs={a['songs']} seconds={a['seconds']:g}: give at least 1 song of at least 4 s")
    began = time.perf_counter()
    material = load(a, 2)
    ways = ((material.source, material.target), (material.target, material.source))
    chosen = {way: material.choose(way[0], a["songs"], a["seed"]) for way in ways}
    table, fitted_on = material.fit_table(s for songs in chosen.values() for s in songs)
    encode = wave_encoder(material.generator, Extraction(None, 1, 64, a["seed"]))
    # What no edit at all moves: the song's own halves.
    edits = {"first half": lambda w: w[: len(w) // 2], "second half": lambda w: w[len(w) // 2 :], **MUSIC_EDITS}
    readings: dict[str, Reading] = {}
    with progress(sum(map(len, chosen.values())), "songs") as step:
        done = 0
        for (source, target), songs in chosen.items():
            direction = MeanShift(source, target).from_means(table.genre_means())
            rows: dict[str, list[dict[str, Any]]] = {}
            for song in songs:
                wave = song_wave(song)[: round(a["seconds"] * SAMPLE_RATE)]
                for row in measure_music_edits(wave, encode, direction, edits):
                    rows.setdefault(row["edit"], []).append(row)
                done += 1
                step(done)
            reading = music_edits_reading(rows, source, target)
            names = ", ".join(s.name for s in songs)
            readings[f"{source}_to_{target}"] = replace(
                reading,
                heading=f"Editing the music instead, {source} to {target}",
                text=f"{reading.text} Songs, chosen at random: {names}. The step was fitted on {fitted_on}; the two "
                "halves of a song, unedited, show how far it moves by itself.",
                numbers={**reading.numbers, "songs": [s.name for s in songs], "fitted_on": fitted_on},
            )
    sections = [r.section() for r in readings.values()]
    publish("music_edits", "Editing the music instead of the latent", a, material, readings, sections, began)
    for part, reading in readings.items():
        best = max(reading.numbers["edits"], key=lambda r: r["along"])
        print(f"{part}: furthest along is {best['edit']}, {best['along']:.2f} of the latent edit's step")


if __name__ == "__main__":
    run(main)
