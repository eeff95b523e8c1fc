"""The demo's page: what was asked, what came out, in numbers, figures and videos."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from d2m.bundle.run_folder import RunFolder
from d2m.data.corpus import Corpus
from d2m.draw.plots import genre_energy_bars, kinetic_energy_bars, training_curves
from d2m.metrics.motion import common_scale, energy_map
from d2m.motion.kinematics import ENERGY_UNIT
from d2m.reports.page import Section, write_page

_TERMS = (
    "loss",
    "recon",
    "velocity",
    "accuracy",
    "kl_mov",
    "g_mov",
    "g_dan",
    "d_mov_fake",
    "style_fake",
    "fake_energy",
)


def read_curves(run: RunFolder) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """stage -> "train/term" -> (batches, values) of the csv logger's files."""
    curves: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for stage in run.facts()["stages"]:
        rows: list[dict[str, str]] = []
        for path in run.curves(stage):
            with open(path, newline="") as f:
                rows += csv.DictReader(f)
        keys = {k for row in rows for k in row if "/" in k and k.split("/")[1] in _TERMS}
        series = {}
        for key in sorted(keys):
            points = [(float(r["batch"]), float(r[key])) for r in rows if r.get(key) and r.get("batch")]
            if points:
                series[key] = ([p[0] for p in points], [p[1] for p in points])
        if series:
            curves[stage] = series
    return curves


def edit_figure(npz: Path, source: str, target: str) -> Any:
    """Per-joint kinetic energy of the original, the neutral and the target dance to one song."""
    with np.load(npz) as f:
        dances = {f"original ({source})": f["poses_original"], "neutral": f["poses_neutral"]}
        dances[f"target ({target})"] = f["poses"]
    scale = common_scale([dances[f"original ({source})"]])
    energies = {k: energy_map(v, scale).mean(0) for k, v in dances.items()}
    return kinetic_energy_bars(energies, title=f"{npz.stem}: kinetic energy per joint, all noise shared")


def evaluation_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per figure, a column per system."""
    rows = evaluation["cards"]["d2m"]["rows"]
    (mine,) = evaluation["bundles"]
    return [
        {"figure": name, "best": figure["better"], "dance": figure["value"], "chance": figure["chance"]}
        | {system: row[name]["value"] for system, row in rows.items() if system != mine}
        for name, figure in rows[mine].items()
    ]


def write_demo_page(out: Path, corpus: Corpus, report: dict[str, Any], commands: list[str]) -> Path:
    """``OUT/index.html``."""
    high, low = report["most_energetic"], report["least_energetic"]
    energy = report["energy"]
    bars = genre_energy_bars(
        {k: {g: row[k] for g, row in energy.items()} for k in ("real", "generated")},
        title="Mean kinetic energy on held-out songs",
    )
    curves = read_curves(RunFolder(out / "run"))
    edits = sorted((out / "edits").glob("*.mp4"))
    direction = {p.stem: (high, low) if p.stem.startswith(high) else (low, high) for p in edits}
    sections = [
        Section("What was run", code="\n".join(f"$ {c}" for c in commands)),
        Section(
            "Dances to songs that were never heard",
            text=f"The held-out songs of the embedded corpus: {', '.join(report['held_out_songs'])}. "
            "The dancer's beats are put on the music's.",
            videos=[(v, v.stem) for v in sorted((out / "dances").glob("*.mp4"))],
        ),
        Section(
            "Kinetic energy by genre",
            table=[{"genre": g, **row} for g, row in energy.items()],
            table_caption=f"1/2 v² per joint in {ENERGY_UNIT}, mean over frames, joints, seeds and songs. boundary: "
            "step from unit to unit over step within units. below_threshold: share of segments where every draw "
            "was too still.",
            figures=[(bars, "Real dances next to those generated to the same songs.")],
        ),
        Section(
            "One latent edited",
            text="z_dan - mean(source) is neutral, adding mean(target) gives the target. Noise, accepted draws and "
            "beats are the original's, so what differs is the edit.",
            table=[{k: v for k, v in e.items() if k != "strength_0_exact"} for e in report["edits"]],
            table_caption=f"Mean kinetic energy in {ENERGY_UNIT} over all held-out songs of the source genre and all "
            "seeds; share_higher: pairs whose energy rose.",
            figures=[
                (edit_figure(p.with_suffix(".npz"), *direction[p.stem]), "One song's three dances.") for p in edits
            ],
            videos=[(p, f"{p.stem}: {' to '.join(direction[p.stem])}") for p in edits],
        ),
        Section(
            "Beside real dances and baselines",
            text="Two held-out songs of each genre, one dance to each. All songs and draws: d2m evaluate.",
            table=evaluation_rows(report["evaluation"]),
            table_caption="Card d2m (docs/metrics.md): value, and of the bundle's dances chance or floor. Distances of "
            "so few songs are coarse; the floor says how coarse.",
            figures=[(out / "evaluation" / "d2m.png", "Every figure with its 95 % interval over songs.")],
        ),
        Section(
            "How well units are reconstructed",
            table=[report["reconstruction"]],
            table_caption="Held-out dance units: mean joint position error in px (1 px = 1 cm), next to two baselines.",
        ),
        Section(
            "Training",
            figures=[(training_curves(curves), "Losses without their weights.")] if curves else (),
        ),
    ]
    return write_page(out / "index.html", "d2m: the main job on the embedded corpus", sections)
