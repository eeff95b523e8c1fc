"""Is there structure of genres in z_dan of songs that were not trained on? Each number with its null.

    python -m experiments.genre_structure.run bundle=DIR out=DIR [music=DIR] [permutations=999] [seed=0]

Writes OUT/index.html, OUT/report.json and OUT/figures.
"""

from __future__ import annotations

import sys
import time

from d2m.cli.command_line import run
from experiments.command import arguments


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.dance.encoding import Extraction
    from d2m.dance.extraction import extract_dance
    from d2m.reports.held_out import HELD_OUT
    from d2m.reports.readings import Reading, structure_reading
    from experiments.material import COMMON, load, progress, publish

    a = arguments({**COMMON, "permutations": 999, "draws": 8}, sys.argv[1:])
    began = time.perf_counter()
    material = load(a, max(2, a["draws"]))
    m, seed = a["permutations"], a["seed"]
    readings: dict[str, Reading] = {}
    with progress(3 if material.corpus is not None else 1, "permutations") as step:
        readings["music"] = structure_reading(material.studied, m, seed, "music")
        step(1)
        if material.corpus is not None and material.training is not None:
            how = Extraction(None, max(2, a["draws"]), 64, seed)
            dance = extract_dance(material.generator, material.corpus, how, HELD_OUT)
            readings["dance"] = structure_reading(dance, m, seed, "dance")
            step(2)
            if len(material.training) >= 2 * len(material.training.genres):
                readings["music_training"] = structure_reading(material.training, m, seed, "training music")
            step(3)
    sections = [r.section() for r in readings.values()]
    publish("genre_structure", "Genres in the dance latent", a, material, readings, sections, began)
    for part, reading in readings.items():
        n = reading.numbers
        print(
            f"{part}: {n['songs']} songs, probe {n['probe']['value']:.2f} (chance {n['probe']['chance']:.2f}, "
            f"p = {n['probe']['p']:.3g}), silhouette {n['silhouette']['value']:.2f} (p = {n['silhouette']['p']:.3g})"
        )


if __name__ == "__main__":
    run(main)
