"""Frames per second drawn, and drawn and encoded with sound, compared with matplotlib drawing the same frames.

    python -m experiments.throughput.render [seconds=20] [size=512] [repeats=5]

Each repeat measures all three in turn; the best repeat of each counts, the one least disturbed by other programs.
Rates are given by the clock and by this process's own CPU time, which other programs disturb less; the ratio to
matplotlib is that of the CPU rates.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from d2m.cli.command_line import run
from experiments.command import arguments

DEFAULTS = {"seconds": 20, "size": 512, "repeats": 5}
#: Frames that matplotlib draws a repeat.
BASELINE_FRAMES = 30


def rates(act: Callable[[], int]) -> tuple[float, float]:
    """Frames per second of the clock and of CPU time, of what returns its number of frames."""
    clock, cpu = time.perf_counter(), time.process_time()
    n = act()
    return n / (time.perf_counter() - clock), n / (time.process_time() - cpu)


def drawn(poses: np.ndarray, size: int) -> int:
    from d2m.draw.render import draw_dance

    return sum(1 for _ in draw_dance([poses], ["drive"], size=(size, size)))


def encoded(poses: np.ndarray, wave: np.ndarray, size: int, folder: Path) -> int:
    from d2m.draw.video import probe, render_dance

    return probe(render_dance(folder / "a.mp4", [poses], ["drive"], audio=wave, size=(size, size))).n_frames


def drawn_by_matplotlib(poses: np.ndarray, size: int) -> int:
    """The usual way: per frame the axes are cleared, every limb is a line, and the canvas is drawn and read."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from d2m.core.skeleton import LIMBS

    figure = Figure(figsize=(size / 100, size / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    (left, top), (right, bottom) = poses.min((0, 1)) - 10, poses.max((0, 1)) + 10
    colours = {"right": "orange", "left": "skyblue", "middle": "white"}
    for pose in poses[:BASELINE_FRAMES]:
        axes.clear()
        axes.set(xlim=(left, right), ylim=(bottom, top), facecolor="black", aspect="equal")
        for a, b, side in LIMBS:
            axes.plot(pose[[a, b], 0], pose[[a, b], 1], color=colours[side], linewidth=8, solid_capstyle="round")
        axes.set_title("drive")
        canvas.draw()
        np.asarray(canvas.buffer_rgba()).copy()
    return min(BASELINE_FRAMES, len(poses))


def measure(seconds: float, size: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Name -> best (clock, CPU) frames per second."""
    from d2m.motion.camera import centre, project
    from d2m.toy import make_pair

    song, dance = make_pair("drive", float(seconds), np.random.default_rng(0))
    poses = project(centre(dance.joints), [0.0])[0]
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        tasks: dict[str, Callable[[], int]] = {
            "drawn": lambda: drawn(poses, size),
            "drawn and encoded, with sound": lambda: encoded(poses, song.wave, size, Path(folder)),
            "drawn by matplotlib": lambda: drawn_by_matplotlib(poses, size),
        }
        drawn(poses[:15], size)  # imports and fonts
        for _ in range(repeats):
            for name, task in tasks.items():
                clock, cpu = rates(task)
                best[name] = (max(clock, best.get(name, (0, 0))[0]), max(cpu, best.get(name, (0, 0))[1]))
    return best


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    args: dict[str, Any] = arguments(DEFAULTS, sys.argv[1:])
    before = os.getloadavg()[0]
    best = measure(**args)
    load = f"load before {before:.1f}, after {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{args['size']}x{args['size']}, {load}")
    print(f"{'frames/s':32}{'clock':>8}{'CPU time':>10}{'x matplotlib':>14}")
    for name, (clock, cpu) in best.items():
        print(f"{name:32}{clock:8.0f}{cpu:10.0f}{cpu / best['drawn by matplotlib'][1]:14.1f}")


if __name__ == "__main__":
    run(main)
