"""Long runs that end early: signals, damaged checkpoints, losses that are not finite."""

from __future__ import annotations

import csv
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from d2m.bundle.passport import state as state_of
from d2m.bundle.run_folder import RunFolder
from d2m.cli.main import dispatch
from d2m.core.errors import D2MError
from d2m.data.datamodule import DanceDataModule
from d2m.train import curriculum
from d2m.train.callbacks.checkpoint_io import BEFORE, DAMAGED
from d2m.train.callbacks.ending import Cut
from d2m.train.checkpoints import read_checkpoint
from d2m.train.stage import STAGES
from tests.commands import d2m

from .conftest import TINY, compose_train


class Send(pl.Callback):
    """A signal within the second epoch's second batch of three."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            signal.raise_signal(self.number)


def cut(cfg: Any, run_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> Cut:
    original = curriculum.build_callbacks
    with monkeypatch.context() as m:
        m.setattr(curriculum, "build_callbacks", lambda *a, **k: [*original(*a, **k), Send(number)])
        with pytest.raises(Cut) as end:
            curriculum.run(cfg, run_dir)
    return end.value


def assert_same_training(undisturbed: Path, resumed: Path, stage: str) -> None:
    """Everything that a stage leaves, but for its seconds: weights, moments, counters, metrics, starts, curves."""
    there, here = (read_checkpoint(RunFolder(p).checkpoint(stage)) for p in (undisturbed, resumed))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "epoch", "global_step", "hyper_parameters"):
        assert flat(there[key]) == flat(here[key]), key
    done = [RunFolder(p).done(stage) for p in (undisturbed, resumed)]
    assert all(d.pop("seconds") > 0 and d.pop("checkpoint_sha256") for d in done)
    assert done[0] == done[1]
    rows = [curves(RunFolder(p), stage) for p in (undisturbed, resumed)]
    assert rows[0] == rows[1]


def flat(value: Any) -> Any:
    """Plain values that can be compared, tensors bit by bit."""
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape, value.numpy().tobytes())
    if isinstance(value, dict):
        return {str(k): flat(v) for k, v in value.items()}
    return [flat(v) for v in value] if isinstance(value, list | tuple) else value


def curves(run: RunFolder, stage: str) -> dict[tuple[str, str], str]:
    """(step, name) -> value of every curve, whatever session wrote it, but for what videos say."""
    told: dict[tuple[str, str], str] = {}
    for path in run.curves(stage):
        with open(path, newline="") as f:
            for row in csv.DictReader(f):
                told |= {(row["step"], k): v for k, v in row.items() if v and not k.startswith("val/dance_")}
    return told


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """What Hydra's train.log would hold."""
    handler = logging.FileHandler(tmp_path / "train.log")
    logging.getLogger().addHandler(handler)
    yield tmp_path / "train.log"
    logging.getLogger().removeHandler(handler)
    handler.close()


@pytest.mark.parametrize(
    ("stage", "number", "code", "damaged"),
    [
        ("du_vae", signal.SIGTERM, 143, False), ("mm_gan", signal.SIGINT, 130, False),
        ("music_style", signal.SIGTERM, 143, True), ("generator", signal.SIGTERM, 143, False),
        ("motion_style", signal.SIGTERM, 143, False),
    ],
)  # fmt: skip
def test_a_signal_ends_a_stage_with_a_whole_checkpoint(
    stage: str, number: int, code: int, damaged: bool, tiny_run: Path, corpora: Path, tmp_path: Path, log: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = RunFolder(tmp_path / "run")
    init = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in STAGES[stage].warm_starts]
    cfg = compose_train(corpora, f"stages=[{stage}]", "callbacks.dance_video=null", *init)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert cut(cfg, run.path, monkeypatch, number).code == code
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    last = run.checkpoint(stage)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        f"{signal.Signals(number).name} ended stage {stage} in epoch 2 of 2; {last} is complete; "
        f"resume with: d2m train resume={run.path}"
    )
    assert not run.is_done(stage) and not run.bundle.exists() and not run.metrics_path.exists()
    batch = read_checkpoint(last)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert batch["completed"] == 2  # the batch that the signal came in is in it
    if damaged:
        last.write_bytes(last.read_bytes()[:-1000])
    curriculum.run(cfg, run.path)
    assert (f"{last}: damaged" in log.read_text()) == damaged == last.with_name(DAMAGED).exists()
    assert_same_training(tiny_run, run.path, stage)
    assert not last.with_name(BEFORE).exists()


@pytest.mark.parametrize("stage", ["du_vae", "mm_gan"])
def test_a_killed_run_goes_on_with_the_same_command(
    stage: str, tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in STAGES[stage].warm_starts]
    words = [w for w in TINY if not w.startswith("stages=")]
    words += [f"stages=[{stage}]", "callbacks.dance_video=null", f"data.cache={corpora}", *init]
    monkeypatch.chdir(tmp_path)
    child = os.fork()
    if child == 0:  # kill -9 leaves no time for anything
        original = curriculum.build_callbacks
        monkeypatch.setattr(curriculum, "build_callbacks", lambda *a, **k: [*original(*a, **k), Send(signal.SIGKILL)])
        try:
            dispatch(["train", *words, "resume=auto"])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (folder,) = Path("outputs/runs").iterdir()
    assert state_of(RunFolder(folder)) == "killed" and not RunFolder(folder).is_done(stage)
    d2m("train", *words, "resume=auto")
    assert list(Path("outputs/runs").iterdir()) == [folder] and RunFolder(folder).facts()["state"] == "done"
    assert_same_training(tiny_run, folder, stage)


def test_without_a_whole_checkpoint_nothing_is_guessed(corpora: Path, tmp_path: Path) -> None:
    last = RunFolder(tmp_path).checkpoint("du_vae")
    last.parent.mkdir(parents=True)
    last.write_bytes(b"PK half of one")
    with pytest.raises(D2MError, match=r"last\.ckpt: damaged, and there is no checkpoint before it; delete it"):
        curriculum.run(compose_train(corpora, "stages=[du_vae]"), tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_batch(corpora: Path, tmp_path: Path, log: Path) -> None:
    bad = ["stages=[du_vae]", "model.du_vae.optimizer.lr=1e30", "trainer.log_every_n_steps=3", "repeat_batches=1"]
    cfg, run = compose_train(corpora, *bad), RunFolder(tmp_path / "run")
    with pytest.raises(
        D2MError,
        match=r"stage du_vae: train/.* and \d more became NaN or infinite at epoch 0, batch 1; .*not_finite\.pt",
    ) as e:
        curriculum.run(cfg, run.path)
    assert "\n" not in str(e.value) and f"error: {e.value}" in log.read_text()
    saved = torch.load(run.checkpoint("du_vae").with_name("not_finite.pt"), weights_only=True)
    assert (saved["stage"], saved["epoch"], saved["batch_idx"]) == ("du_vae", 0, 1)
    assert saved["batch"]["units1"].shape == (4, 32, 28) and "train/loss" in saved["not_finite"]
    data = DanceDataModule(str(run.corpus()), "unit_pairs", batch_size=4, seed=cfg.seed, shift=tuple(cfg.data.shift))
    batch = data.on_after_batch_transfer(data.train_dataloader().dataset[0, 0])  # the one that is repeated
    assert torch.equal(saved["batch"]["units1"], batch["units1"])
    assert not run.is_done("du_vae") and not run.checkpoint("du_vae").exists()
