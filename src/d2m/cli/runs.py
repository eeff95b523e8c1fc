"""``d2m runs ls|best|show|diff``; their arguments are conf/runs/*.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.train.stage import MONITORS


@job("runs ls")
def ls(cfg: DictConfig) -> None:
    """The runs below a folder."""
    from d2m.reports.runs.show import print_json, print_runs, rows

    runs = _runs(cfg).by(cfg.sort)
    if cfg.metric is not None:
        runs.check_metric(str(cfg.metric))
    if cfg.json:
        print_json(rows(runs, cfg.metric))
    elif not runs.runs:
        print(f"no runs below {cfg.folder}" + (" that meet the filter" if cfg.filter else ""))
    else:
        print_runs(runs, cfg.metric)


@job("runs best")
def best(cfg: DictConfig) -> None:
    """The finished runs with the best values."""
    from d2m.reports.runs.choose import Runs
    from d2m.reports.runs.show import number, print_json, print_run, print_runs, rows

    if cfg.n < 1:
        raise D2MError(f"n={cfg.n}: give a whole number of at least 1")
    if cfg.mode not in (None, "min", "max"):
        raise D2MError(f"mode={cfg.mode}: choose min or max")
    ranked, metric, mode = _runs(cfg).best(cfg.metric, cfg.mode)
    first = Runs(ranked.runs[: cfg.n], ranked.monitors)
    if cfg.json:
        print_json(rows(first, metric))
        return
    if cfg.n > 1:
        print_runs(first, metric)
        return
    (run,) = first.runs
    compared = f"the {'lowest' if mode == 'min' else 'highest'} of {len(ranked.runs)}"
    print(f"{metric} {number(run.value(metric))}, {compared}")
    print_run(run, ranked.monitors)


@job("runs show")
def show(cfg: DictConfig) -> None:
    """One run."""
    from d2m.reports.runs.choose import Runs
    from d2m.reports.runs.read import find_run
    from d2m.reports.runs.show import print_json, print_run, rows

    run = find_run(str(cfg.run), Path(cfg.folder))
    if cfg.json:
        (row,) = rows(Runs([run], MONITORS))
        print_json({**row, "facts": run.facts, "metrics": run.metrics, "config": run.config})
    else:
        print_run(run, MONITORS)


@job("runs diff")
def diff(cfg: DictConfig) -> None:
    """Two runs, key by key."""
    from d2m.reports.runs.compare import differences
    from d2m.reports.runs.read import find_run
    from d2m.reports.runs.show import print_differences, print_json

    a, b = (find_run(str(name), Path(cfg.folder)) for name in (cfg.a, cfg.b))
    changes = differences(a, b)
    if cfg.json:
        print_json({"a": str(a.folder.path), "b": str(b.folder.path), **changes})
    else:
        print_differences(a, b, changes)


def _runs(cfg: DictConfig) -> Any:
    """The runs below ``folder`` that meet ``filter``."""
    from d2m.reports.runs.choose import Runs
    from d2m.reports.runs.read import read_runs

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    conditions = given["filter"] or []
    conditions = conditions if isinstance(conditions, list) else [conditions]
    return Runs(read_runs(Path(given["folder"])), MONITORS).where([str(c) for c in conditions])
