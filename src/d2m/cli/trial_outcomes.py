"""What became of a sweep's trials, and the summary at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from d2m.bundle.passport import reason
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import Busy, Pruned
from d2m.reports.runs.choose import Runs
from d2m.reports.runs.read import EVALUATED, read_run
from d2m.reports.runs.sweep import Sweep, Trial, print_sweep
from d2m.train.stage import MONITORS, in_order


def judged_by(config: DictConfig) -> tuple[str, str]:
    """The metric that a sweep of ``d2m train`` optimises, STAGE/METRIC or eval/objective, and "min" or "max".

    Raises:
        D2MError: an unknown stage.
    """
    if config.get("objective") == EVALUATED:
        return EVALUATED, "max"
    last = in_order(list(config.stages))[-1]
    return f"{last.name}/{last.monitor}", last.mode


def outcome(name: str, run: RunFolder, params: Mapping[str, str], returned: JobReturn | None) -> Trial:
    """The outcome of a trial; its state is "running" if another process trains it.

    Args:
        returned: the job's return value in Hydra; None if the launcher lost it: the outcome is then read from its
            folder.
    """
    if returned is None:
        told = read_run(run, run.path.parent)
        judged = Runs([told], MONITORS).objective(told)
        value = None if judged is None else judged.value
        if told.state != "done":
            error = str(told.facts.get("error") or "its process ended without a word")
            state = "pruned" if told.state == "pruned" else "failed"
            return Trial(name, run.path, params, state, error=error, by_chance=told.state not in ("pruned", "failed"))
    else:
        value = returned._return_value  # the property return_value would raise, and print a hint by Hydra
        if isinstance(value, Busy):
            return Trial(name, run.path, params, "running")
        if returned.status != JobStatus.COMPLETED:
            state = "pruned" if isinstance(value, Pruned) else "failed"
            return Trial(name, run.path, params, state, error=reason(value), by_chance=_is_machines(value))
    measured = float(value) if isinstance(value, int | float) and math.isfinite(value) else None
    return Trial(name, run.path, params, "done", measured)


def _is_machines(error: BaseException | None) -> bool:
    """Whether an error was caused by a disk, a connection or another process rather than by the trial's values."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def finish(folder: Path, config: DictConfig, trials: Sequence[Trial], out: bool = True) -> Sweep:
    """Write sweep.json; at the end of a sweep, also write its plots and print its summary."""
    objective, mode = judged_by(config)
    done = [(t.params, t.value) for t in trials if t.state == "done" and t.value is not None]
    shares = {}
    if out and len(done) > 1:
        from d2m.train.study import importances

        shares = importances(done)
    sweep = Sweep(folder, objective, mode, trials, shares)
    sweep.write()
    if out:
        print_sweep(sweep, MONITORS, sweep.draw())
    return sweep
