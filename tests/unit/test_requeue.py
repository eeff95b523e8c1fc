"""SLURM jobs that must end: what requeues them, and when. SLURM's commands are replaced by stand-ins."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from wandb.sdk.mailbox import HandleAbandonedError

from d2m.bundle.passport import Passport
from d2m.bundle.run_folder import RunFolder
from d2m.cli.cluster import check_launcher, check_one_folder, register_token
from d2m.cli.train import own_processes
from d2m.core.errors import D2MError
from d2m.train.callbacks.ending import Signals
from d2m.train.callbacks.loggers import PatientWandbLogger, close_loggers
from d2m.train.early import remember, waiting
from d2m.train.requeue import Cut, Requeue, cluster_environment, end_by, heed


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A job of SLURM; gives the calls of ``scontrol`` so far, and sets what it answers."""
    calls, answer = tmp_path / "calls", tmp_path / "answer"
    calls.touch()
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncat {answer}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)

    def told(says: str = "") -> list[str]:
        if says:
            answer.write_text(says)
        return calls.read_text().splitlines()

    told("JobState=RUNNING PreemptTime=None")
    return told


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_job_that_is_told_to_go_is_queued_again_after_run_json_is_written(
    number: int, tmp_path: Path, scontrol: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    with pytest.raises(Cut) as end, Requeue(run), Passport(run, {}, writes=True):
        signal.raise_signal(number)  # between two stages
    assert end.value.code == 128 + number and signal.getsignal(number) == before
    told = json.loads(run.facts_path.read_text())
    assert (told["state"], told["slurm_job"], told["slurm_restarts"]) == ("requeued", "7", 2)
    assert scontrol() == ["requeue 7"] and "job 7 is queued again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("says", "requeue"),
    [
        ("JobState=RUNNING PreemptTime=2026-01-01T00:00:00", True), ("JobState=RUNNING PreemptTime=None", False),
        ("JobState=CANCELLED PreemptTime=2026-01-01T00:00:00", False),
    ],
)  # fmt: skip
def test_sigterm_may_be_a_preemption_or_a_cancellation(
    says: str, requeue: bool, scontrol: Callable[..., list[str]]
) -> None:
    scontrol(says)
    cut = end_by(signal.SIGTERM)
    assert (cut.requeue, cut.code) == (requeue, 143) and scontrol() == ["show job -o 7"]


def test_a_job_without_time_for_a_checkpoint_is_given_up_in_one_line(
    tmp_path: Path, scontrol: Callable[..., list[str]]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()

    def session(number: int, *written: str, waited: bool = False) -> None:
        with Requeue(run), Passport(run, {}, writes=True):
            for name in written:
                run.checkpoint(name).parent.mkdir(parents=True)
                run.checkpoint(name).touch()
            cut = Cut(number, requeue=True)
            cut.waited = waited
            raise cut

    for number, written in (
        (signal.SIGUSR1, []), (signal.SIGUSR1, ["du_vae"]),  # the second one made progress
        (signal.SIGTERM, []), (signal.SIGTERM, []),  # pre-empted
        (signal.SIGUSR2, []),
    ):  # fmt: skip
        with pytest.raises(Cut):
            session(number, *written)
        assert run.facts()["state"] == "requeued"
    with pytest.raises(Cut):
        session(signal.SIGUSR2, waited=True)  # for a stage that another run trains
    with pytest.raises(Cut):
        session(signal.SIGUSR2)
    assert len(scontrol()) == 7
    with pytest.raises(
        D2MError, match=r"job 7 is not queued again: 2 sessions in a row ended without a checkpoint"
    ) as e:
        session(signal.SIGUSR2)
    assert len(scontrol()) == 7 and "\n" not in str(e.value)
    assert run.facts()["state"] == "failed" and run.facts()["error"] == str(e.value)
    with pytest.raises(Cut):
        session(signal.SIGUSR2)  # resumed by the user, with a count of its own


class Lost:
    """Python ignores what is raised in its ``__del__``, so also what a signal's handler raises there."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGUSR1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_is_lost_between_two_stages_ends_the_run_at_the_next(
    tmp_path: Path, scontrol: Callable[..., list[str]]
) -> None:
    with pytest.raises(Cut) as end, Requeue(RunFolder(tmp_path)):
        Lost()
        heed()
    assert end.value.number == signal.SIGUSR1 and scontrol() == ["requeue 7"] and waiting() is None
    got: list[int] = []
    loops = SimpleNamespace(epoch_loop=SimpleNamespace())
    connector = SimpleNamespace(_sigterm_notifier_fn=lambda number, frame: got.append(number))
    trainer: Any = SimpleNamespace(world_size=1, fit_loop=loops, _signal_connector=connector)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)}
    try:
        remember(signal.SIGUSR1)
        signals = Signals()
        signals.on_train_start(trainer, None)  # type: ignore[arg-type]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert signals.number == signal.SIGUSR1 and got == [signal.SIGTERM]  # after the first batch


def test_submitit_requeues_what_it_started(
    tmp_path: Path, scontrol: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    asked: list[int] = []

    def submitit(number: int, frame: Any) -> None:
        asked.append(number)
        raise SystemExit(-1)

    before = signal.signal(signal.SIGUSR2, submitit)
    try:
        with pytest.raises(SystemExit) as end, Requeue(RunFolder(tmp_path)):
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert end.value.code == -1 and asked == [signal.SIGUSR2] and scontrol() == []


def test_a_failed_run_is_not_queued_again(tmp_path: Path, scontrol: Callable[..., list[str]]) -> None:
    with pytest.raises(D2MError), Requeue(RunFolder(tmp_path)):
        raise D2MError("a loss is not finite")
    assert scontrol() == []


def test_outside_slurm_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID"):
        monkeypatch.delenv(key, raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    with Requeue(RunFolder(tmp_path)):
        assert signal.getsignal(signal.SIGUSR1) == before
    assert cluster_environment() == [] and not end_by(signal.SIGUSR1).requeue


def test_lightning_neither_saves_nor_requeues(
    scontrol: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    (environment,) = cluster_environment()
    assert not environment.auto_requeue


@pytest.mark.parametrize("key", ["SLURM_NTASKS", "WORLD_SIZE"])
def test_processes_that_somebody_else_starts_need_one_folder(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(key, "2")
    with pytest.raises(D2MError, match=r"several processes of one run: give hydra\.run\.dir=FOLDER"):
        check_one_folder(False, ["seed=1"])
    check_one_folder(True, ["seed=1"])
    check_one_folder(False, ["seed=1", "launcher=slurm"])  # it only submits
    monkeypatch.setenv(key, "1")
    check_one_folder(False, ["seed=1"])


def test_a_trial_that_fails_leaves_no_launcher_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "mine")
    with pytest.raises(D2MError), own_processes():
        os.environ.update(LOCAL_RANK="0", WORLD_SIZE="2", MASTER_PORT="1", MASTER_ADDR="its")
        raise D2MError("a loss is not finite")
    assert os.environ["MASTER_ADDR"] == "mine" and not {"LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"} & os.environ.keys()


def test_a_launcher_that_cannot_submit_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check_launcher(["seed=1"])
    with pytest.raises(D2MError, match="no sbatch here; call it on a login node"):
        check_launcher(["launcher=slurm"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(D2MError, match=r"pip install -e \"\.\[slurm\]\""):
        check_launcher(["launcher=slurm"])


def test_two_runs_of_one_second_have_two_folders() -> None:
    register_token()
    names = [OmegaConf.create({"dir": "runs/t_${token:}"}) for _ in range(8)]
    assert len({n.dir for n in names}) > 1  # one in 65536 is the same
    assert all(n.dir == n.dir == pickle.loads(pickle.dumps(n)).dir for n in names)


def test_a_run_outlives_wandbs_service(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionResetError("Connection lost")

    logger = PatientWandbLogger(experiment=None, offline=True)
    monkeypatch.setattr(PatientWandbLogger, "experiment", Gone())
    logger.log_metrics({"train/loss": 1.0}, step=1)
    assert "W&B's service has ended (Connection lost)" in caplog.text


@pytest.mark.parametrize("error", [ConnectionResetError("Connection lost"), HandleAbandonedError()])
def test_a_finished_stage_outlives_wandbs_service(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    ended: list[int] = []

    def finish(exit_code: int) -> None:
        ended.append(exit_code)
        raise error

    monkeypatch.setattr(wandb, "finish", finish)
    monkeypatch.setattr(wandb, "run", object())
    logger = PatientWandbLogger(experiment=None, offline=True)
    monkeypatch.setattr(logger, "finalize", lambda status: None)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    close_loggers([logger], "success", say=False)
    assert ended == [0]
