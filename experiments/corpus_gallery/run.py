"""Contact sheets: a random dozen dance units of each prepared corpus. See README.md."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import BEAT_FRAMES, LIMBS, UNIT_FRAMES
from d2m.data.corpus import Corpus
from experiments.command import arguments

CELL, MARGIN, HEAD, SCALE = 120, 6, 26, 0.5
FRAMES = (3, 7, 11, 15, 19, 23, 27, 31)  # every beat and what lies between
COLOURS = {"right": (60, 60, 220), "left": (200, 110, 30), "middle": (70, 70, 70)}  # BGR: right red, left blue


def draw_pose(canvas: np.ndarray, pose: np.ndarray, corner: tuple[int, int], size: int = CELL) -> None:
    """One pose (14, 2) px about the origin into the square at ``corner``; 1 px of the data is SCALE px here."""
    points = np.rint((pose * SCALE + np.array([size / 2, size / 2]) + corner) * 8).astype(int)
    for a, b, side in LIMBS:
        cv2.line(canvas, points[a].tolist(), points[b].tolist(), COLOURS[side], 2, cv2.LINE_AA, shift=3)
    cv2.circle(canvas, points[0].tolist(), 4 * 8, COLOURS["middle"], -1, cv2.LINE_AA, shift=3)


def sheet(corpus: Corpus, n: int, seed: int) -> np.ndarray:
    """(height, width, 3) BGR: a row per unit, its genre and recording, its frames; beats are boxed."""
    rng = np.random.default_rng(seed)
    units = np.sort(rng.choice(len(corpus.units), min(n, len(corpus.units)), replace=False))
    width, height = len(FRAMES) * CELL + 2 * MARGIN, len(units) * (CELL + HEAD) + 2 * MARGIN
    canvas = np.full((height, width, 3), 255, np.uint8)
    for row, unit in enumerate(units):
        top = MARGIN + row * (CELL + HEAD)
        info = corpus.recordings[int(corpus.unit_recording[unit])]
        begin, end = corpus.unit_span[unit]
        label = f"{info.genre} / {info.name}, view {corpus.unit_view[unit]}, {begin:.1f} to {end:.1f} s"
        cv2.putText(canvas, label, (MARGIN, top + 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        poses = np.asarray(corpus.units[unit]).reshape(UNIT_FRAMES, 14, 2)
        for column, frame in enumerate(FRAMES):
            corner = (MARGIN + column * CELL, top + HEAD - 4)
            beat = frame in BEAT_FRAMES
            draw_pose(canvas, poses[frame], corner)
            end_corner = (corner[0] + CELL - 3, corner[1] + CELL - 1)
            cv2.rectangle(canvas, corner, end_corner, (40, 160, 40) if beat else (220, 220, 220), 2 if beat else 1)
    return canvas


def main() -> None:
    own = {"out": "outputs/corpus_gallery", "seed": 0, "units": 12}
    names = [a for a in sys.argv[1:] if a.partition("=")[0] not in own]
    settings = arguments(own, [a for a in sys.argv[1:] if a not in names])
    corpora = dict(n.partition("=")[::2] for n in names)
    if not corpora:
        raise D2MError("give NAME=CORPUS for one or more prepared corpora, e.g. ballroom=outputs/ballroom")
    for name, folder in corpora.items():
        picture = sheet(Corpus.open(folder), settings["units"], settings["seed"])
        with atomic_path(Path(settings["out"]) / f"{name}.png") as path:
            cv2.imwrite(str(path), picture)
        print(Path(settings["out"]) / f"{name}.png")


if __name__ == "__main__":
    run(main)
