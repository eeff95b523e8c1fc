"""Resuming a run: which folder, with which overrides; and checks that a folder is free for a new run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.cli.cluster import check_launcher, check_one_folder
from d2m.cli.overrides import prepare_overrides, quote_override
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero
from d2m.train.stage import STAGES

RUNS = Path("outputs/runs")
#: Upper bound of what a run writes before checking the space for its checkpoints: configs, log, run.json.
_LEAST_BYTES = 1 << 20
_RESUME, _RUN_DIR = "resume=", "hydra.run.dir="


def _value(override: str) -> str:
    value = override.partition("=")[2]
    return value[1:-1].replace("\\'", "'").replace("\\\\", "\\") if value[:1] in ("'", '"') else value


def saved_overrides(run: RunFolder) -> list[str] | None:
    """The overrides a run was started with; None if the folder is not a run."""
    told = run.facts().get("overrides")
    if told:
        return [str(o) for o in told]
    path = run.path / ".hydra" / "overrides.yaml"
    return [str(o) for o in OmegaConf.load(path)] if path.is_file() else None


def _task(overrides: Iterable[str]) -> list[str]:
    """The overrides that determine what is trained, without those that only say where or how it runs."""
    same = (_RESUME, "rerun=", "reuse=", "hydra")
    return sorted(o for o in overrides if not o.lstrip("+").startswith(same) and not o.startswith("-"))


def _run_dir(overrides: Iterable[str]) -> RunFolder | None:
    """The folder given as ``hydra.run.dir``; None if it is not given or contains an interpolation."""
    given = next((_value(o) for o in overrides if o.startswith(_RUN_DIR)), None)
    return None if given is None or "${" in given else RunFolder(Path(given))


def _begun(path: Path) -> float:
    """When the run's last session began, since every heartbeat changes the folder's own time. Zero if its run.json is
    damaged."""
    try:
        facts = RunFolder(path).facts()
    except D2MError:
        return 0.0
    told = facts.get("resumed") or facts.get("started")
    return datetime.fromisoformat(told).timestamp() if told else path.stat().st_mtime


def newest_unfinished(overrides: Iterable[str], runs: Path = RUNS) -> Path | None:
    """The newest run under ``outputs/runs`` that was started with the same overrides, did not finish and is not
    being trained by another process."""
    wanted = _task(overrides)
    for path in sorted((p for p in runs.glob("*") if p.is_dir()), key=_begun, reverse=True):
        run = RunFolder(path)
        try:
            saved = saved_overrides(run)
        except D2MError:  # unreadable: no reason to refuse this command
            continue
        if saved is None or _task(saved) != wanted or run.is_finished():
            continue
        if not (is_rank_zero() and run.in_use()):  # only the first process of a job locks the folder
            return path
    return None


def resumed_overrides(overrides: list[str]) -> list[str]:
    """Replace ``resume=...`` by the overrides that resume the run: its own, followed by the given ones, which win.

    ``resume=auto`` resumes ``hydra.run.dir`` if that holds a run (a requeued job), else the newest
    unfinished run with the same overrides that no process is training, else starts a new run. Without ``resume`` the
    overrides are returned unchanged.

    Raises:
        D2MError: the folder holds no run.
    """
    asked = next((_value(o) for o in overrides if o.lstrip("+").startswith(_RESUME)), "")
    rest = [o for o in overrides if not o.lstrip("+").startswith(_RESUME)]
    if asked in ("null", ""):
        return rest
    if asked == "auto":
        fixed = _run_dir(rest)
        folder = newest_unfinished(rest) if fixed is None else fixed.path
        if folder is None or saved_overrides(RunFolder(folder)) is None:
            return rest
        run_dir = folder
    else:
        run_dir = Path(asked)
    saved = saved_overrides(RunFolder(run_dir))
    if saved is None:
        there = f"d2m runs ls folder={asked} shows those below it" if run_dir.is_dir() else "or resume=auto"
        raise D2MError(f"resume={asked}: no run in this folder; give the one that holds its run.json, {there}")
    kept = [o for o in saved if not o.startswith(_RESUME)]
    return prepare_overrides([*kept, *rest, quote_override(f"{_RUN_DIR}{run_dir}")])


def differing(run: RunFolder, overrides: Iterable[str]) -> list[str]:
    """The overrides in which the run in a folder differs from a command; [] if it has not trained anything."""
    saved = saved_overrides(run) if run.has_trained() else None
    return [] if saved is None else sorted({*_task(saved)} ^ {*_task(overrides)})


def check_same_run(run: RunFolder, overrides: Iterable[str]) -> None:
    """Check that a run in a folder was started with this command's overrides.

    Raises:
        D2MError: it was started with others.
    """
    if differing(run, overrides):
        started = " ".join(_task(saved_overrides(run) or ())) or "no overrides"
        raise D2MError(
            f"{run.path}: already holds another run, started with {started}; choose another hydra.run.dir, or give "
            f"resume={run.path} to resume it"
        )


def check_run_dir(overrides: list[str], resumes: bool) -> None:
    """Check that ``hydra.run.dir`` is not in use by another process and holds no other run.

    To be called before Hydra, which writes its own files there first. A folder whose name Hydra interpolates is checked
    by the job.

    Raises:
        D2MError: it is in use, or holds another run.
    """
    run = _run_dir(overrides)
    if run is None:
        return
    if run.in_use():
        raise run.busy()
    if not resumes:
        check_same_run(run, overrides)


def check_room(overrides: Iterable[str]) -> None:
    """Check that the disk has room for a run's first files: Hydra would leave a truncated file behind.

    Raises:
        D2MError: it is full or read-only.
    """
    given = [o for o in overrides if o.startswith((_RUN_DIR, "hydra.sweep.dir="))]
    for key, value in [(o.partition("=")[0], _value(o)) for o in given] or [(_RUN_DIR[:-1], str(RUNS))]:
        path = Path(value.partition("${")[0])
        there = next(p for p in (path, *path.absolute().parents) if p.is_dir())
        disk = os.statvfs(there)
        if disk.f_flag & os.ST_RDONLY:
            raise D2MError(f"{path}: cannot write the run here (read-only file system); choose another {key}")
        if disk.f_bavail * disk.f_frsize < _LEAST_BYTES:
            raise D2MError(f"{path}: no space left on this disk; free some, or choose another {key}")


def _released(run: RunFolder) -> bool:
    """Whether a finished run has its bundle and, if that is its objective, the bundle's evaluation; or needs none
    because no stage makes one."""
    if not any(s.dances and run.is_done(s.name) for s in STAGES.values()):
        return True
    evaluated = run.config().get("objective") is None or (run.evaluation / "report.json").is_file()
    return run.bundle.is_dir() and evaluated


def begin(overrides: list[str], only_shown: bool) -> list[str] | None:
    """The overrides of ``d2m train``, including those of the run named by ``resume=``; the run's folder is checked
    first.

    Args:
        only_shown: the config is printed, nothing is trained.

    Returns:
        None, after printing a line, if the run is finished and no other overrides are given. Nothing is written then,
            so the run may be on a read-only disk.

    Raises:
        D2MError: the run's folder cannot be written; as :func:`resumed_overrides` and :func:`check_run_dir`.
    """
    asked = [o for o in overrides if o.lstrip("+").startswith(_RESUME)]
    given = _task(overrides)
    overrides = resumed_overrides(overrides)
    run = _run_dir(overrides) if asked and not only_shown else None
    if run is not None and run.is_finished() and not given and _released(run):
        if is_rank_zero():
            print(f"{run.path}: finished already; nothing to train")
        return None
    if run is not None and is_rank_zero() and run.path.exists() and not os.access(run.path, os.W_OK):
        raise D2MError(f"{run.path}: the run's folder cannot be written; copy it elsewhere, and resume=COPY")
    if not only_shown:
        check_launcher(overrides)
        check_one_folder(_run_dir(overrides) is not None, overrides)
    if is_rank_zero() and not only_shown:
        check_run_dir(overrides, resumes=bool(asked))
        check_room(overrides)
    return [*overrides, *asked]  # the job reads resume= as well
