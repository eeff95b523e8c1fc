"""The page of the demo: commands, videos, tables and figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
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


#: Names of columns in the tables, with units.
_COLUMNS = {
    "real": f"real dances ({ENERGY_UNIT})",
    "generated": f"generated dances ({ENERGY_UNIT})",
    "boundary": "boundary step ratio",
    "below_threshold": "share of segments too still",
    "original": f"original ({ENERGY_UNIT})",
    "neutral": f"neutral ({ENERGY_UNIT})",
    "edited": f"target ({ENERGY_UNIT})",
    "pairs": "dances",
    "share_higher": "share with more energy",
    "du_vae": "DU-VAE (px)",
    "hold_last_pose": "last pose held (px)",
    "mean_pose": "mean pose (px)",
}


def labelled(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table with readable column names, in the order of :data:`_COLUMNS` after all others."""
    order = sorted(row, key=lambda k: (k in _COLUMNS, list(_COLUMNS).index(k) if k in _COLUMNS else 0))
    return {_COLUMNS.get(k, k.replace("_", " ")): row[k] for k in order}


def read_curves(run: RunFolder) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Training curves: stage -> "train/term" -> (batches, values), from the CSV files of the run."""
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
    """One row per figure, one column per system."""
    rows = evaluation["cards"]["d2m"]["rows"]
    (mine,) = evaluation["bundles"]
    return [
        {"figure": name, "best": figure["better"], "generated": figure["value"], "chance": figure["chance"]}
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
        Section("Commands", code="\n".join(f"$ {c}" for c in commands)),
        Section(
            "Dances to held-out songs",
            text=f"Songs that were not used for training: {', '.join(report['held_out_songs'])}. "
            "The beats of the dances are aligned with those of the music.",
            videos=[(v, v.stem) for v in sorted((out / "dances").glob("*.mp4"))],
        ),
        Section(
            "Kinetic energy by genre",
            table=[labelled({"genre": g, **row}) for g, row in energy.items()],
            table_caption=f"1/2 v² per joint in {ENERGY_UNIT}, mean over frames, joints, seeds and songs. Boundary "
            "step ratio: displacement between dance units over that within units; 1 means no seam. Share of segments "
            "too still: those for which every draw was below the motion threshold.",
            figures=[(bars, "Real dances, and dances generated to the same songs.")],
        ),
        Section(
            "Latent edits",
            text="z_dan - mean(source) gives the neutral dance; adding mean(target) gives the target. All three dances "
            "share noise, accepted draws and beats, so they differ only by the edit.",
            table=[labelled({k: v for k, v in e.items() if k != "strength_0_exact"}) for e in report["edits"]],
            table_caption="Mean kinetic energy over all held-out songs of the source genre and all seeds, and the "
            "share of these dances to which the edit gave more energy.",
            figures=[
                (edit_figure(p.with_suffix(".npz"), *direction[p.stem]), "The three dances to one song.") for p in edits
            ],
            videos=[(p, f"{p.stem}: {' to '.join(direction[p.stem])}") for p in edits],
        ),
        Section(
            "Comparison with real dances and baselines",
            text="Two held-out songs per genre, one dance to each. d2m evaluate measures all songs, with more dances.",
            table=evaluation_rows(report["evaluation"]),
            table_caption="Protocol card d2m; docs/metrics.md defines the figures and their units. Chance is that of "
            "the generated dances (for distances, the floor). Distances between so few songs are coarse.",
            figures=[(out / "evaluation" / "d2m.png", "Every figure, with its 95 % interval over songs.")],
        ),
        Section(
            "Reconstruction of dance units",
            table=[labelled(report["reconstruction"])],
            table_caption="Mean joint position error on held-out dance units, next to two baselines (1 px = 1 cm).",
        ),
        Section(
            "Training curves",
            figures=[(training_curves(curves), "Losses before weighting, by batch.")] if curves else (),
        ),
    ]
    return write_page(out / "index.html", "d2m: demo on the embedded corpus", sections)
