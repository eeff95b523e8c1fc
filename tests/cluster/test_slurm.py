"""Jobs on a real SLURM: a sweep as a job array; jobs that are stopped, requeued and end as if undisturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from d2m.bundle.run_folder import RunFolder
from d2m.train.checkpoints import read_checkpoint

pytestmark = pytest.mark.cluster

#: Long enough for a signal to find the first stage in training.
WORDS = [
    "experiment=quickstart", "trainer=cpu", "logger=wandb", "callbacks.progress_bar=false",
    "callbacks.dance_video=null",
    "data.corpus.n_songs_per_genre=3", "data.corpus.seconds=12", "stages=[du_vae,music_style,mm_gan]",
    *(f"fit.{s}.max_epochs=2" for s in ("du_vae", "music_style", "mm_gan")), "fit.du_vae.steps_per_epoch=150",
    *(f"fit.{s}.steps_per_epoch=3" for s in ("music_style", "mm_gan")),
    *(f"fit.{s}.batch_size=4" for s in ("du_vae", "music_style", "mm_gan")),
]  # fmt: skip
#: A loaded machine of two cores takes minutes for what an idle one does in seconds.
PATIENCE = 400.0


def wait(what: str, until: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if told := until():
            return told
        time.sleep(0.3)
    raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")


def facts(run: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((run / "run.json").read_text())
    except FileNotFoundError:
        return {}
    return told


def is_training(run: Path, stage: str) -> bool:
    return facts(run).get("stage") == stage and RunFolder(run).progress_path(stage).is_file()


def touched(run: Path, stage: str) -> int:
    """Changes when a session begins to train the stage, and with every checkpoint."""
    path = RunFolder(run).progress_path(stage)
    return path.stat().st_mtime_ns if path.is_file() else 0


def assert_equal_runs(a: Path, b: Path) -> None:
    """The same weights and moments, to the bit, the same metrics, and what later stages started from."""
    for stage in ("du_vae", "music_style", "mm_gan"):
        one, other = (read_checkpoint(RunFolder(r).checkpoint(stage)) for r in (a, b))
        assert one["state_dict"].keys() == other["state_dict"].keys()
        assert all(torch.equal(v, other["state_dict"][k]) for k, v in one["state_dict"].items()), stage
        moments = [[s["state"] for s in c["optimizer_states"]] for c in (one, other)]
        assert str(moments[0]) == str(moments[1])
        done = [RunFolder(r).done(stage) for r in (a, b)]
        assert done[0]["metrics"] == done[1]["metrics"], stage


def end_session(run: Path, restarts: int, called: subprocess.Popen[bytes], env: dict[str, str]) -> None:
    """Tell a job in training, which has been requeued so often, that its time ends."""
    before = touched(run, "du_vae")

    def trains() -> bool:
        return facts(run).get("slurm_restarts") == restarts and touched(run, "du_vae") != before

    wait("the second trial", lambda: called.poll() is not None or trains())
    time.sleep(0.5)  # into an epoch
    subprocess.run(["scancel", "--signal=USR2", facts(run)["slurm_job"]], env=env, check=True, timeout=30)
    wait("its requeue", lambda: facts(run)["state"] == "requeued" or facts(run)["slurm_restarts"] > restarts)


@pytest.fixture(scope="module")
def sweep(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials that train the same; two sessions of the second one are told to go, as at the end of their time."""
    folder = tmp_path_factory.mktemp("sweep")
    words = ["-m", "launcher=slurm", "rerun=false,true", "reuse=false", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "d2m", "train", *WORDS, "data.cache=corpora", *words]
    command += ["hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30"]
    log = folder / "sweep.log"
    with log.open("w") as out, subprocess.Popen(command, cwd=folder, env=slurm, stdout=out, stderr=out) as called:
        try:
            trial = folder / "sweep" / "1"
            for restarts in (0, 1):
                end_session(trial, restarts, called, slurm)
            assert called.wait(PATIENCE) == 0, log.read_text()
        finally:
            called.kill()
    return folder / "sweep"


def test_a_sweep_is_an_array_and_ends_with_two_bundles(sweep: Path) -> None:
    assert (sweep / "0" / "bundle").is_dir() and (sweep / "1" / "bundle").is_dir()
    assert {p.name for p in sweep.iterdir() if p.is_dir()} == {".submitit", "0", "1"}
    told = [facts(sweep / n) for n in "01"]
    assert [t["state"] for t in told] == ["done", "done"]
    jobs = [str(t["slurm_job"]).partition("_") for t in told]
    assert jobs[0][0] == jobs[1][0] and [j[2] for j in jobs] == ["0", "1"]


def test_a_trial_that_was_queued_again_twice_is_equal_to_an_undisturbed_one(sweep: Path) -> None:
    assert [facts(sweep / n)["slurm_restarts"] for n in "01"] == [0, 2]
    assert_equal_runs(sweep / "0", sweep / "1")
    assert not list(sweep.rglob("hpc_ckpt*"))
    # W&B has one run, in a file for each of the three sessions.
    logs = list((sweep / "1" / "wandb").glob("offline-run-*du_vae"))
    assert len(logs) == 3 and len({p.name.split("-", 3)[3] for p in logs}) == 1


def test_a_preempted_job_gives_its_place_and_goes_on(sweep: Path, slurm: dict[str, str]) -> None:
    folder = sweep.parent
    command = [sys.executable, "-m", "d2m", "train", *WORDS, "data.cache=corpora", "hydra.run.dir=run", "resume=auto"]
    script = folder / "job.sh"
    head = ["#!/bin/bash", "#SBATCH --open-mode=append", "#SBATCH --requeue", "#SBATCH --output=job.log"]
    script.write_text("\n".join([*head, "srun " + " ".join(f"'{w}'" for w in command)]))

    def sbatch(*words: str) -> str:
        called = ["sbatch", "--parsable", *words]
        return subprocess.run(
            called, cwd=folder, env=slurm, check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    job, run = sbatch("--ntasks-per-node=1", str(script)), folder / "run"
    wait("the job", lambda: is_training(run, "du_vae"))
    time.sleep(0.5)
    # It takes the whole machine, and so the place of the job, which gets SIGTERM, as W&B's own process does.
    sbatch("--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    wait("its end", lambda: facts(run)["state"] == "done" and facts(run)["slurm_restarts"] == 1)
    log = (folder / "job.log").read_text()
    assert "SIGTERM ended stage du_vae in epoch" in log and f"job {job} is queued again" in log
    assert "Traceback" not in log
    assert_equal_runs(sweep / "0", run)


#: One short stage.
SHORT = [
    *(w for w in WORDS if not w.startswith(("stages=", "fit.", "logger=", "trainer="))), "logger=none",
    "stages=[du_vae]", "fit.du_vae.max_epochs=1", "fit.du_vae.steps_per_epoch=3", "fit.du_vae.batch_size=4",
    "fit.du_vae.check_val_every_n_epoch=1", "data.cache=corpora",
]  # fmt: skip


def test_a_study_of_optuna_is_trained_by_jobs(sweep: Path, slurm: dict[str, str]) -> None:
    folder = sweep.parent
    words = ["launcher=slurm", "hparams_search=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"]
    command = [sys.executable, "-m", "d2m", "train", *SHORT, "trainer=cpu", *words, "hydra.sweep.dir=study"]
    done = subprocess.run(command, cwd=folder, env=slurm, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "study" / "sweep.json").read_text())
    assert [t["state"] for t in told["trials"]] == ["done", "done"] and told["best"] in ("0", "1")
    jobs = [str(facts(folder / "study" / n)["slurm_job"]).partition("_") for n in "01"]
    assert jobs[0][0] == jobs[1][0] and [j[2] for j in jobs] == ["0", "1"]


def test_two_tasks_of_one_job_train_together(sweep: Path, slurm: dict[str, str]) -> None:
    folder = sweep.parent
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "hydra.run.dir=two"]
    command = " ".join(f"'{w}'" for w in [sys.executable, "-m", "d2m", "train", *SHORT, *words])
    head = ["#!/bin/bash", "#SBATCH --ntasks-per-node=2", "#SBATCH --cpus-per-task=1", "#SBATCH --output=two.log"]
    # The node is named otherwise than the host.
    (folder / "two.sh").write_text("\n".join([*head, f"MASTER_ADDR=127.0.0.1 srun {command}"]))
    subprocess.run(["sbatch", "--wait", "two.sh"], cwd=folder, env=slurm, timeout=PATIENCE, check=False)
    log = (folder / "two.log").read_text()
    assert facts(folder / "two")["state"] == "done", log
    assert "Starting with 2 processes" in log and log.count("run: ") == 1
