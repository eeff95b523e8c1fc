"""Do z_dan from music and z_dan from dance share one space? On recordings that were not trained on.

    python -m experiments.joint_space.run bundle=DIR out=DIR [corpus=DIR] [source=GENRE target=GENRE]
        [permutations=999] [seed=0]

Needs dances to the music, hence a prepared corpus: the bundle's own by default. Writes OUT/index.html,
OUT/report.json and OUT/figures.
"""

from __future__ import annotations

import sys
import time

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from experiments.command import arguments


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from dataclasses import replace

    from d2m.dance.encoding import Extraction
    from d2m.dance.extraction import extract_dance
    from d2m.reports.held_out import HELD_OUT
    from d2m.reports.readings import Reading, joint_reading
    from experiments.material import COMMON, load, progress, publish

    a = arguments({**COMMON, "permutations": 999}, sys.argv[1:])
    if a["music"]:
        raise D2MError("music=: the joint space needs dances as well as songs; give corpus=DIR (a prepared corpus)")
    began = time.perf_counter()
    material = load(a, 2)
    assert material.corpus is not None and material.training is not None  # without music= there is a corpus
    how, m, seed = Extraction(None, 2, 64, a["seed"]), a["permutations"], a["seed"]
    parts = {"held_out": (material.studied, HELD_OUT), "training": (material.training, ("train",))}
    readings: dict[str, Reading] = {}
    with progress(len(parts), "sides") as step:
        for k, (part, (music, splits)) in enumerate(parts.items()):
            dance = extract_dance(material.generator, material.corpus, how, splits)
            if part == "training" and len(set(music.song) & set(dance.song)) < 4:
                continue
            reading = joint_reading(music, dance, material.source, material.target, m, seed)
            which = "held-out" if part == "held_out" else "training"
            readings[part] = replace(reading, heading=f"{reading.heading} ({which} recordings)")
            step(k + 1)
    sections = [r.section() for r in readings.values()]
    publish("joint_space", "Is the dance latent one space?", a, material, readings, sections, began)
    for part, reading in readings.items():
        n = reading.numbers
        recall = n["retrieval"]["music to dance"]["R@1"]
        print(
            f"{part}: {n['recordings']} recordings, R@1 {recall['value']:.2f} (chance {recall['chance']:.2f}), CKA "
            f"{n['cka']['value']:.2f} (p = {n['cka']['p']:.3g}), "
            f"MMD² {n['mmd']['value']:.3g} (p = {n['mmd']['p']:.3g}), "
            f"cosine {n['direction_cosine']['value']:.2f} (p = {n['direction_cosine']['p']:.3g})"
        )


if __name__ == "__main__":
    run(main)
