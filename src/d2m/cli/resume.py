"""Going on with a run: which folder, and with which overrides."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from d2m.cli.overrides import prepare_overrides, quote_override
from d2m.core.errors import D2MError

RUNS = Path("outputs/runs")
_IGNORED = ("resume=", "hydra.run.dir=")


def _value(override: str) -> str:
    value = override.partition("=")[2]
    return value[1:-1].replace("\\'", "'").replace("\\\\", "\\") if value[:1] == "'" else value


def saved_overrides(run_dir: Path) -> list[str] | None:
    """The overrides a run was started with; None where the folder is no run."""
    path = run_dir / ".hydra" / "overrides.yaml"
    return [str(o) for o in OmegaConf.load(path)] if path.is_file() else None


def _task(overrides: list[str]) -> list[str]:
    return sorted(o for o in overrides if not o.startswith(_IGNORED) and not o.startswith(("-", "hydra")))


def newest_unfinished(overrides: list[str], runs: Path = RUNS) -> Path | None:
    """The newest run under ``outputs/runs`` that was started with the same overrides and did not finish."""
    candidates = sorted((p for p in runs.glob("*") if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    for run_dir in candidates:
        saved = saved_overrides(run_dir)
        if saved is not None and _task(saved) == _task(overrides) and not (run_dir / "metrics.json").exists():
            return run_dir
    return None


def resumed_overrides(overrides: list[str]) -> list[str]:
    """Overrides with ``resume=...`` -> those that go on with the run: its own first, the given ones over them.

    ``resume=auto`` goes on with ``hydra.run.dir`` where that holds a run (a requeued job), else with the newest
    unfinished run of the same overrides, else starts a new one.

    Raises:
        D2MError: the folder is no run.
    """
    asked = _value(next(o for o in overrides if o.lstrip("+").startswith("resume=")))
    rest = [o for o in overrides if not o.lstrip("+").startswith("resume=")]
    if asked in ("null", ""):
        return rest
    if asked == "auto":
        fixed = next((Path(_value(o)) for o in rest if o.startswith("hydra.run.dir=")), None)
        found = fixed if fixed is not None and saved_overrides(fixed) is not None else None
        if fixed is None:
            found = newest_unfinished(rest)
        if found is None:
            return rest
        run_dir = found
    else:
        run_dir = Path(asked)
    saved = saved_overrides(run_dir)
    if saved is None:
        raise D2MError(f"resume={asked}: no run in this folder; give the folder that holds .hydra and checkpoints")
    kept = [o for o in saved if not o.startswith("resume=")]
    return prepare_overrides([*kept, *rest, quote_override(f"hydra.run.dir={run_dir}")])
