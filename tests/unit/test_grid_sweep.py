"""Grids called twice with one folder: two at once, and another grid. Nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from d2m.bundle.passport import now
from d2m.bundle.run_folder import RunFolder
from d2m.cli import sweepers
from d2m.cli.trial_outcomes import outcome
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from tests.commands import called


def begun(path: Path, *overrides: str, state: str = "done") -> RunFolder:
    run = RunFolder(path)
    facts = {"state": state, "heartbeat": now(), "stages": ["du_vae"], "overrides": list(overrides)}
    write_json(run.facts_path, facts)
    return run


def test_a_trial_that_another_command_trains_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path / "0", "seed=1", "stages=[du_vae]", state="running")

    def train(*_: Any) -> None:
        raise run.busy()

    monkeypatch.setattr("d2m.cli.train._train", train)
    done = called("train", "-m", "stages=[du_vae]", "seed=1", f"hydra.sweep.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout + done.stderr and "a run is training here now" in done.stderr
    (told,) = json.loads((tmp_path / "sweep.json").read_text())["trials"]
    assert (told["state"], told["error"]) == ("running", None)


def test_what_it_came_to_is_read_when_this_command_ends(tmp_path: Path) -> None:
    run = begun(tmp_path / "0", state="running")
    busy: Any = JobReturn(status=JobStatus.FAILED)
    busy.return_value = run.busy()
    trial = outcome("0", run, {"seed": "1"}, busy)
    assert trial.state == "running" and sweepers._again(trial) is trial
    write_json(run.done_path("du_vae"), {"metrics": {"val/recon": 0.5}})
    begun(run.path)
    ended = sweepers._again(trial)
    assert (ended.state, ended.value, ended.params) == ("done", 0.5, {"seed": "1"})


def test_another_grid_does_not_overwrite_a_sweep(tmp_path: Path) -> None:
    for n in "01":
        write_json(begun(tmp_path / n, f"seed={n}", "stages=[du_vae]").done_path("du_vae"), {})
    for name in ("sweep.json", "multirun.yaml"):
        (tmp_path / name).write_text("{}")
    done = called("train", "-m", "stages=[du_vae]", "seed=0,2", f"hydra.sweep.dir={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path}: holds another sweep, whose run 1 differs in seed=1, seed=2; choose another "
        "hydra.sweep.dir to begin a new one\n"
    )
    assert {p.name: p.read_text() for p in tmp_path.glob("*.*")} == {"sweep.json": "{}", "multirun.yaml": "{}"}


def test_a_grid_may_grow(tmp_path: Path) -> None:
    write_json(begun(tmp_path / "0", "seed=0", "stages=[du_vae]").done_path("du_vae"), {})
    sweepers.check_same_sweep(tmp_path, [["stages=[du_vae]", "seed=0"], ["stages=[du_vae]", "seed=1"]])
    with pytest.raises(D2MError, match="run 0 differs in seed=0, seed=3"):
        sweepers.check_same_sweep(tmp_path, [["stages=[du_vae]", "seed=3"]])
