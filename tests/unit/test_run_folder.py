"""A run's folder: read without Lightning, held by one process, kept for one run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.cli.resume import (
    begin,
    check_run_dir,
    check_same_run,
    newest_unfinished,
    resumed_overrides,
    saved_overrides,
)
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import is_rank_zero

HOLD = "import os\nfrom d2m.bundle.run_folder import *\nwith RunFolder(Path({!r})).lock():\n    {}"


def begun(path: Path, *overrides: str) -> RunFolder:
    """A run that was started with these overrides and saved a checkpoint."""
    run = RunFolder(path)
    run.checkpoint("du_vae").parent.mkdir(parents=True)
    run.checkpoint("du_vae").touch()
    (path / ".hydra").mkdir()
    OmegaConf.save(list(overrides), path / ".hydra" / "overrides.yaml")
    run.facts_path.write_text(json.dumps({"overrides": list(overrides), "stages": ["du_vae"]}))
    return run


@pytest.fixture
def held(tmp_path: Path) -> Iterator[RunFolder]:
    """A folder that another process is training in."""
    run = begun(tmp_path / "held", "seed=1")
    # By the lock alone, which test_a_killed_process_holds_nothing sees a run take: its imports are not waited for.
    program = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print(flush=True), input()"
    command = [sys.executable, "-c", program, str(run.path / ".lock")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"\n"
    yield run
    other.kill()
    other.communicate()


def test_reading_a_run_needs_no_lightning_hydra_or_wandb() -> None:
    program = "import sys, d2m.bundle.run_folder; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pytorch_lightning", "hydra", "omegaconf", "wandb"} & set(done.stdout.split())


def test_a_run_says_what_it_trained_on_and_what_is_done(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.is_done("du_vae") and run.done("du_vae") == {} and not run.has_trained() and not run.in_use()
    with pytest.raises(D2MError, match="not a run of d2m train"):
        run.corpus()
    run.facts_path.write_text('{"corpus": "somewhere"}')
    assert run.corpus() == Path("somewhere")
    run.facts_path.write_text("{")
    with pytest.raises(D2MError, match=r"run\.json: cannot be read"):
        run.corpus()


def test_a_folder_in_use_is_named_and_let_go_on_death(held: RunFolder) -> None:
    assert held.in_use()
    with pytest.raises(D2MError, match=r"held: a run is training here now"), held.lock():
        pass
    with pytest.raises(D2MError, match="training here now"):
        check_run_dir([f"hydra.run.dir={held.path}", "seed=1"], resumes=True)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    command = [sys.executable, "-c", HOLD.format(str(tmp_path), "os.kill(os.getpid(), 9)")]
    assert subprocess.run(command, check=False).returncode == -9
    assert not run.in_use()
    with run.lock():
        assert (tmp_path / ".lock").exists()


def test_resume_auto_leaves_a_running_job_alone(held: RunFolder) -> None:
    runs = held.path.parent
    assert newest_unfinished(["seed=1"], runs) is None
    idle = begun(runs / "idle", "seed=1")
    assert newest_unfinished(["seed=1"], runs) == idle.path
    assert newest_unfinished(["seed=2"], runs) is None
    assert newest_unfinished(["seed=1", "reuse=true", "rerun=true"], runs) == idle.path
    begun(runs / "broken", "seed=1").facts_path.write_text("{")
    assert newest_unfinished(["seed=1"], runs) == idle.path


def test_a_run_whose_evaluation_was_cut_off_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begun(tmp_path / "run", "objective=eval/objective")
    for path in (run.done_path("mm_gan"), run.metrics_path):
        write_json(path, {})
    run.bundle.mkdir()
    write_json(run.config_path, {"objective": "eval/objective"})
    assert begin([f"resume={run.path}"], only_shown=False) is not None
    write_json(run.evaluation / "report.json", {"objective": {"bundle": 0.5}})
    assert begin([f"resume={run.path}"], only_shown=False) is None and "finished already" in capsys.readouterr().out


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_folder_with_another_run_is_refused(tmp_path: Path, quote: str) -> None:
    run = begun(tmp_path / "run", "seed=1", "stages=[du_vae]")
    where = f"hydra.run.dir={quote}{run.path}{quote}"
    check_run_dir([where, "stages=[du_vae]", "seed=1", "hydra.job.num=3"], resumes=False)
    check_run_dir([where, "seed=2"], resumes=True)
    with pytest.raises(D2MError, match=r"holds another run, started with seed=1 stages=\[du_vae\]; .* resume="):
        check_run_dir([where, "seed=2"], resumes=False)
    run.checkpoint("du_vae").unlink()  # nothing was trained: a mistyped command can be given again
    check_run_dir([where, "seed=2"], resumes=False)


def test_what_a_run_says_of_itself_goes_before_hydras_file(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "seed=1")
    OmegaConf.save(["seed=2"], run.path / ".hydra" / "overrides.yaml")  # of a command that was refused
    assert saved_overrides(run) == ["seed=1"]
    with pytest.raises(D2MError, match="another run"):
        check_same_run(run, ["seed=2"])
    longer = "fit.du_vae.max_epochs=9"
    assert resumed_overrides([f"resume={run.path}", longer])[:2] == ["seed=1", longer]
    run.facts_path.unlink()  # as before the overrides were in run.json
    assert saved_overrides(run) == ["seed=2"]


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"])
def test_one_process_of_a_job_is_the_first(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_rank_zero()
    monkeypatch.setenv(variable, "0")
    assert is_rank_zero()
    monkeypatch.setenv(variable, "1")
    assert not is_rank_zero()
