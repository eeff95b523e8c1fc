"""Reading a run's folder (state, config, metrics, curves), and finding the runs below a folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from d2m.bundle.passport import state
from d2m.bundle.run_folder import SWEEP, RunFolder
from d2m.bundle.signature import flat, is_unsaid, runs_below
from d2m.core.errors import D2MError

#: Metric from an evaluation of the run's bundle; higher is better.
EVALUATED = "eval/objective"

#: States of a run; "unfinished" for runs from before run.json had a state.
STATES = ("running", "done", "failed", "pruned", "killed", "requeued", "unfinished", "unreadable")


@dataclass(frozen=True)
class Run:
    """A run. name: its path relative to the searched folder. sweep: path of its sweep, "" if it belongs to none.
    state: one of :data:`STATES`.
    facts: run.json.
    """

    folder: RunFolder
    name: str
    sweep: str
    state: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dotted key -> resolved value; for runs without config.json, as Hydra saved it, with unresolved
        interpolations."""
        plain: Any = self.folder.config()
        composed = self.folder.path / ".hydra" / "config.yaml"
        if not plain and composed.is_file():
            plain = yaml.load(composed.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return dict(flat(plain or {}))

    @cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Stage -> key -> last value, in training order; for a stage in training, as of its last checkpoint."""
        metrics = {s: dict(self._stage(s).get("metrics", {})) for s in self.stages}
        if (value := _evaluated(self.folder)) is not None:  # 0 is a valid value, the worst
            metrics["bundle"] = {EVALUATED: value}
        return {s: m for s, m in metrics.items() if m}

    @property
    def stages(self) -> list[str]:
        """The stages that the run trains, in order."""
        return list(self.facts.get("stages", []))

    @property
    def seconds(self) -> float:
        """Training time of all stages and sessions, up to the last checkpoint."""
        return float(sum(self._stage(s).get("seconds", 0.0) for s in self.stages))

    @property
    def words(self) -> list[str]:
        """The overrides that it was started with."""
        return [str(o) for o in self.facts.get("overrides", [])]

    def value(self, metric: str) -> float | None:
        """A metric's last value, for "STAGE/KEY", or for "KEY" from the last stage that has it; None if there is
        none."""
        for stage, values in reversed(self.metrics.items()):
            for key in (metric, metric.removeprefix(f"{stage}/")):
                if values.get(key) is not None:
                    return float(values[key])
        return None

    def curve(self, stage: str, key: str) -> dict[float, float]:
        """Batch -> value, from the CSV files of all sessions; {} if the stage logged none."""
        points: dict[float, float] = {}
        for path in self.folder.curves(stage):
            with path.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    if row.get(key) and row.get("batch"):
                        points[float(row["batch"])] = float(row[key])
        return points

    def _stage(self, stage: str) -> dict[str, Any]:
        try:
            return self.folder.done(stage) or self.folder.progress(stage)
        except D2MError:
            return {}


def _evaluated(run: RunFolder) -> float | None:
    try:
        (value,) = json.loads((run.evaluation / "report.json").read_text())["objective"].values()
        return None if value is None else float(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_run(folder: RunFolder, below: Path) -> Run:
    """Read a run in any state; one with unreadable files has the state "unreadable"."""
    inside = folder.path.is_relative_to(below) and folder.path != below
    name = folder.path.relative_to(below).as_posix() if inside else str(folder.path)
    sweep = name.rpartition("/")[0] or str(folder.sweep) if folder.sweep is not None else ""
    try:
        return Run(folder, name, sweep, state(folder), folder.facts())
    except D2MError as e:
        return Run(folder, name, sweep, "unreadable", {"error": str(e)})


def read_runs(below: Path) -> list[Run]:
    """Every run at or below a folder.

    Raises:
        D2MError: there is no such folder.
    """
    if not below.is_dir():
        raise D2MError(f"folder={below}: no such folder; give folder=FOLDER, the one that runs are written to")
    return [read_run(run, below) for run in runs_below(below)]


def find_run(name: str, below: Path) -> Run:
    """The run with this folder, name below ``below`` or end of that name, or signature prefix of at least six digits.

    Raises:
        D2MError: there is no such run, there are several, or it is a sweep.
    """
    for path in (Path(name), below / name):
        if RunFolder(path).facts_path.is_file():
            return read_run(RunFolder(path), below)
        if (path / SWEEP).is_file():
            raise D2MError(f"{name}: is a sweep; d2m runs ls folder={path} shows its runs")
        if path.is_dir():
            raise D2MError(f"{name}: is not a run's folder; {_nearby(path)}")
    runs = read_runs(below)
    signed = [r for r in runs if len(name) >= 6 and str(r.facts.get("signature") or "").startswith(name)]
    meant = [r for r in runs if r.name.endswith(f"/{name}")] or signed
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise D2MError(f"{name}: means several runs ({', '.join(r.name for r in meant)}); give one's folder")
    raise D2MError(f"{name}: no such run below {below}; {_hint(name, runs, below)}")


def _nearby(path: Path) -> str:
    """A hint for a folder that is not a run: the run that it is part of, or that there are runs below it."""
    for above in list(path.absolute().parents)[:3]:
        if RunFolder(above).facts_path.is_file():
            return f"give {above}"
    held = sum(1 for _ in runs_below(path))
    return f"it holds {held}, d2m runs ls folder={path} shows them" if held else "give the one that holds run.json"


def _hint(name: str, runs: Sequence[Run], below: Path) -> str:
    """A hint for an unknown name: the trial numbers that a sweep has, or the most similar name."""
    above, _, last = name.rstrip("/").rpartition("/")
    trials = [r.name.rpartition("/")[2] for r in runs if r.sweep and f"/{r.sweep}".endswith(f"/{above}")]
    if above and last.isdecimal() and trials:
        numbers = sorted(trials, key=lambda t: (len(t), t))
        return f"the trials of {above} are {numbers[0]} to {numbers[-1]}" if len(trials) > 1 else f"it has {trials[0]}"
    near = get_close_matches(name, [r.name for r in runs], n=1, cutoff=0.5)
    return f"did you mean {below / near[0]}?" if near else f"d2m runs ls folder={below} shows them"


@dataclass(frozen=True)
class Objective:
    """A run's objective. key: STAGE/METRIC, or eval/objective. value: None if it was never measured."""

    key: str
    value: float | None
    mode: str


def objective(run: Run, monitors: Mapping[str, tuple[str, str]]) -> Objective | None:
    """The value of a run that a sweep would optimise; None if the run trains no known stage.

    Args:
        monitors: stage -> its monitored metric, and "min" or "max".
    """
    if run.config.get("objective") == EVALUATED:
        return Objective(EVALUATED, run.value(EVALUATED), "max")
    known = [s for s in run.stages if s in monitors]
    if not known:
        return None
    monitor, mode = monitors[known[-1]]
    value = run.metrics.get(known[-1], {}).get(monitor)
    return Objective(f"{known[-1]}/{monitor}", None if value is None else float(value), mode)


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Name of a run -> its overrides that the runs do not all share, without those that do not affect the training."""
    said = {r.name: [w.lstrip("+") for w in r.words if not is_unsaid(w)] for r in runs}
    shared = set.intersection(*map(set, said.values())) if len(said) > 1 else set()
    return {name: [w for w in words if w not in shared] for name, words in said.items()}
