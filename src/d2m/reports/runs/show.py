"""Runs as tables on the terminal, and as JSON."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from d2m.core.files import finite
from d2m.reports.runs.choose import Runs
from d2m.reports.runs.read import Run, differing

_COLOURS = {
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "killed": "yellow",
    "requeued": "yellow",
    "pruned": "magenta",
    "unreadable": "red",
}


def console() -> Console:
    """As wide as the terminal; for a file or pipe, wide enough that no line is wrapped."""
    out = Console()
    return out if out.is_terminal or "COLUMNS" in os.environ else Console(width=240)


def number(value: Any) -> str:
    """Four significant digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _state(run: Run) -> str:
    return f"[{_COLOURS.get(run.state, 'white')}]{run.state}[/]"


def _stage(run: Run) -> str:
    """What an unfinished run was doing last; of a stage, also its position, as in "mm_gan 3/4"."""
    if run.state == "done":
        return ""
    stage = str(run.facts.get("stage") or "")
    return f"{stage} {run.stages.index(stage) + 1}/{len(run.stages)}" if stage in run.stages else stage


def _groups(runs: Runs) -> list[tuple[str, list[Run]]]:
    """Runs outside sweeps, then each sweep's runs; the given order is kept within each group."""
    ordered = sorted(runs.runs, key=lambda r: r.sweep)  # stable
    return [(sweep, list(group)) for sweep, group in groupby(ordered, key=lambda r: r.sweep)]


def differences_within(runs: Runs) -> dict[str, list[str]]:
    """Name of a run -> the overrides in which it differs within its sweep, or among the runs outside sweeps."""
    different: dict[str, list[str]] = {}
    for _, group in _groups(runs):
        different |= differing(group)
    return different


def rows(runs: Runs, metric: str | None = None) -> list[dict[str, Any]]:
    """One mapping per run, for JSON."""
    apart = differences_within(runs)
    out = []
    for run in runs.runs:
        judged = runs.objective(run)
        row = {
            "name": run.name, "path": str(run.folder.path), "sweep": run.sweep or None, "state": run.state,
            "differs": apart[run.name], "seconds": run.seconds,
            "objective": None if judged is None else {"key": judged.key, "value": judged.value, "mode": judged.mode},
            "bundle": str(run.folder.bundle) if run.folder.bundle.is_dir() else None,
        }  # fmt: skip
        keys = ("stage", "stages", "error", "started", "ended", "host", "slurm_job", "wandb", "signature")
        row |= {k: run.facts.get(k) for k in keys}
        if metric is not None:
            row["metric"] = run.value(metric)
        out.append(row)
    return out


def print_json(value: Any) -> None:
    """Print one JSON document to standard output; if the reader, such as head, closes it early, the program ends."""
    Console().out(json.dumps(finite(value), indent=2, default=str), highlight=False)


def print_runs(runs: Runs, metric: str | None = None, out: Console | None = None, errors: bool = True) -> None:
    """Print a table of the runs outside sweeps and one per sweep, each followed by a line for every failed run unless
    ``errors`` is False."""
    out = out or console()
    apart = differences_within(runs)
    for sweep, group in _groups(runs):
        table = Table(
            box=box.SIMPLE_HEAD, title=escape(_title(Runs(group, runs.monitors), sweep)), title_justify="left"
        )
        judged = {r.name: runs.objective(r) for r in group}
        keys = {o.key for o in judged.values() if o is not None}
        for heading in ("run", "state", "stage", "differs in"):
            table.add_column(heading, overflow="fold")
        table.add_column("objective" if len(keys) != 1 else keys.pop(), justify="right", overflow="fold")
        if metric is not None:
            table.add_column(escape(metric), justify="right", overflow="fold")
        table.add_column("time", justify="right")
        for run in group:
            objective = judged[run.name]
            value = number(objective and objective.value)
            if objective and objective.value is not None and len(keys) > 1:
                value = f"{objective.key} {value}"
            cells = [escape(run.name.removeprefix(f"{sweep}/") if sweep else run.name), _state(run), _stage(run)]
            cells += [escape(" ".join(apart[run.name])), value]
            cells += [number(run.value(metric))] if metric is not None else []
            table.add_row(*cells, duration(run.seconds))
        out.print(table)
        for run in group:
            if errors and run.facts.get("error"):
                out.print(f"{escape(run.name)}: {_state(run)}: {escape(str(run.facts['error']))}", soft_wrap=True)


def _title(runs: Runs, sweep: str) -> str:
    states = [r.state for r in runs.runs]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    return f"{sweep or 'runs'}: {counts}"


def print_run(run: Run, monitors: Mapping[str, tuple[str, str]], out: Console | None = None) -> None:
    """Print a run's facts, a line per stage, the paths of its files, and how to resume it."""
    out = out or console()
    facts = Table(box=None, show_header=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("run", escape(str(run.folder.path)))
    facts.add_row("state", f"{_state(run)} {escape(_stage(run))}")
    told = {k: run.facts.get(k) for k in ("error", "started", "resumed", "heartbeat", "ended", "slurm_job")}
    told["on"] = f"{run.facts['host']}, process {run.facts.get('pid')}" if run.facts.get("host") else None
    told |= {k: run.facts.get(k) for k in ("signature", "git", "corpus")}
    told["W&B"] = ", ".join(dict(run.facts.get("wandb") or {}).values()) or None
    told["overrides"] = " ".join(run.words)
    told["bundle"] = run.folder.bundle if run.folder.bundle.is_dir() else None
    told["curves"] = run.folder.path / "csv" if (run.folder.path / "csv").is_dir() else None
    for key, value in told.items():
        if value:
            facts.add_row(key, escape(str(value)))
    out.print(facts)
    out.print(_stages(run, monitors))
    resume = f"d2m train resume={escape(shlex.quote(str(run.folder.path)))}"
    if run.state == "requeued":
        job = run.facts.get("slurm_job")
        out.print(f"job {job} goes on with it; if that was cancelled: {resume}", soft_wrap=True)
    elif run.state in ("failed", "killed", "unfinished"):
        out.print(f"to go on: {resume}", soft_wrap=True)


def _stages(run: Run, monitors: Mapping[str, tuple[str, str]]) -> Table:
    """Table of stages: whether it is done, its monitored metric, the last value, and the curve's best with its
    batch."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("stage", "done", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("last", "best", "at batch"):
        table.add_column(heading, justify="right")
    for stage in run.stages:
        key, mode = monitors.get(stage, ("", "min"))
        curve = run.curve(stage, key)
        at = (min if mode == "min" else max)(curve, key=lambda batch: curve[batch], default=None) if curve else None
        best = ("–", "–") if at is None else (number(curve[at]), f"{at:.0f}")
        done = "yes" if run.folder.is_done(stage) else "no"
        table.add_row(stage, done, key, number(run.metrics.get(stage, {}).get(key)), *best)
    return table


def print_differences(
    a: Run, b: Run, changes: Mapping[str, Mapping[str, Sequence[Any]]], out: Console | None = None
) -> None:
    """Print what differs in two columns, for metrics with a third, b - a; equal metrics are only counted."""
    out = out or console()
    for kind, values in changes.items():
        if not values:
            out.print(f"{kind}: the same" if kind != "metrics" else "metrics: no stage in common")
            continue
        equal = [k for k, (left, right) in values.items() if left == right] if kind == "metrics" else []
        if len(equal) == len(values):
            out.print("metrics: the same")
            continue
        table = Table(box=box.SIMPLE_HEAD, title=kind, title_justify="left")
        table.add_column("", overflow="fold")
        for run in (a, b):
            table.add_column(escape(run.name), justify="right" if kind == "metrics" else "left", overflow="fold")
        if kind == "metrics":
            table.add_column("difference", justify="right")
        for key, (left, right) in values.items():
            if key in equal:
                continue
            cells = [escape(key), escape(number(left)), escape(number(right))]
            if kind == "metrics":
                cells.append(number(None if None in (left, right) else right - left))
            table.add_row(*cells)
        out.print(table)
        if equal:
            out.print(f"{len(equal)} other {'metric is' if len(equal) == 1 else 'metrics are'} the same")
