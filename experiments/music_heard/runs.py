"""One report of one or several runs: measured, written, returned as markdown."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.core.files import check_out
from d2m.core.machine import git_revision, versions
from d2m.dance.encoding import space_of
from d2m.reports.held_out import reconstruction_error
from d2m.reports.page import Section
from experiments.ballroom.style import style_part
from experiments.music_heard.held_out import Run, open_runs
from experiments.music_heard.lines import Line, Options, Part
from experiments.music_heard.measure import measure
from experiments.music_heard.page import earlier, publish

#: Arguments of a report; those of :class:`Options` among them.
DEFAULTS: dict[str, Any] = {
    "run": "", "runs": [], "corpora": [], "out": None, "seeds": 2, "folds": 5, "pairs": 14, "edit_seconds": 20.0,
    "half_seconds": 20.0, "permutations": 999, "source": "", "target": "", "before": "", "seed": 0,
}  # fmt: skip


def report(name: str, title: str, a: Mapping[str, Any]) -> str:
    """Measure ``run`` or ``runs`` and write the report to ``out``.

    Raises:
        D2MError: no run, a run without a bundle or a corpus, numbers that are too small, an output that cannot be made.
    """
    folders = [str(f) for f in a["runs"]] or [a["run"]]
    if not folders[0] or (a["run"] and a["runs"]):
        raise D2MError("give run=DIR, or runs=[DIR,DIR,...]: folders of d2m train")
    if min(a["seeds"], a["pairs"]) < 1 or min(a["edit_seconds"], a["half_seconds"]) < 4 or a["folds"] in (1, -1):
        raise D2MError(
            "give seeds and pairs of 1 or more, edit_seconds and half_seconds of 4 or more, folds=0 or from 2"
        )
    began, out = time.perf_counter(), Path(a["out"])
    check_out(out)
    if a["before"]:
        earlier(a["before"])
    # Penalised fits are as good as converged long before scikit-learn's bound.
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    runs = open_runs(folders, a["corpora"], a["seed"])
    options = Options(**{k: a[k] for k in Options.__dataclass_fields__})
    parts: list[Part] = []
    seconds: dict[str, float] = {}
    if a["folds"]:
        parts.append(style_part(runs[0], a["folds"], a["permutations"], a["seed"]))
        seconds["style"] = time.perf_counter() - began
    for part in measure(runs, options, out / "features"):
        parts.append(part)
        seconds[part.key] = time.perf_counter() - began - sum(seconds.values())
    parts.append(training_part(runs))
    words = " ".join(f"{k}={v}" for k, v in a.items() if k in DEFAULTS and v not in ("", []) and k not in _PLACES)
    facts = {
        "command": f"python -m experiments.{name}.run {'runs=[...]' if a['runs'] else 'run=DIR'} out=DIR {words}",
        "spaces": [space_of(r.generator) for r in runs], "front_end": runs[0].generator.front_end,
        "style_mode": runs[0].generator.style_mode, "held_out": [held_out(r) for r in runs],
        "git": git_revision(), "versions": versions(), "seconds": seconds,
    }  # fmt: skip
    return publish(out, title, intro(runs, facts["command"]), parts, facts, a["before"])


_PLACES = ("run", "runs", "corpora", "out", "before")


def held_out(run: Run) -> dict[str, list[str]]:
    """Split -> names of its songs."""
    infos = [run.corpus.recordings[i] for i in run.songs]
    return {split: [r.name for r in infos if r.split == split] for split in ("val", "test")}


def intro(runs: Sequence[Run], command: str) -> Section:
    names = {run.corpus.recordings[i].name: run.corpus.recordings[i].genre for run in runs for i in run.songs}
    counts = {g: sum(v == g for v in names.values()) for g in runs[0].generator.genres}
    listed = ", ".join(f"{g} ({n})" for g, n in counts.items())
    first = runs[0].generator
    judge = first.motion_style_held_out
    worth = (
        f" The first run's judge: balanced accuracy {judge['balanced_accuracy']:.2f} on held-out units."
        if judge
        else ""
    )
    return Section(
        "What was measured",
        f"{len(runs)} run(s), front end {first.front_end}, style_mode {first.style_mode}; {len(names)} distinct "
        f"held-out songs: {listed}. Numbers are of distinct songs: one that several runs held out is averaged over "
        f"them first.{worth}",
        code=f"$ {command}",
    )  # fmt: skip


def training_part(runs: Sequence[Run]) -> Part:
    """What else a run tells of itself: reconstruction next to baselines, seams, the last losses, minutes."""
    lines, stages = [], []
    for k, run in enumerate(runs):
        error = reconstruction_error(run.generator, run.corpus)
        if error:
            note = f"hold-last-pose {error['hold_last_pose']:.2f} px, mean pose {error['mean_pose']:.2f} px"
            lines.append(Line(f"run {k}: DU-VAE, held-out units, px", pooled=error["du_vae"], note=note))
        stages.append(run.generator.provenance.get("stages", {}))
    minutes = [{s: round(v["seconds"] / 60, 1) for s, v in of.items() if "seconds" in v} for of in stages]
    return Part(
        "training", "The runs themselves",
        "Mean joint position error of held-out dance units through the DU-VAE. Minutes a stage: "
        f"{json.dumps(minutes)}.",
        lines, {"stages": stages},
    )  # fmt: skip
