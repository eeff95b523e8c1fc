"""Training requests: refused or corrected before anything is trained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning.accelerators import CPUAccelerator

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.train.build import build_module, build_trainer
from d2m.train.checkpoints import read_checkpoint
from d2m.train.request import check_processes, check_request, check_space, check_trainer, starts_from
from d2m.train.stage import MM_GAN, STAGES, Stage

CONF = str(Path(__file__).parents[2] / "conf")


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", ["size=tiny", "trainer=cpu", *overrides])


@pytest.fixture
def x(tmp_path: Path) -> Path:
    path = tmp_path / "x.ckpt"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("given", "trained"),
    [
        (["init_from.du_vae"], ["music_style", "mm_gan", "generator"]),
        (["init_from.du_vae", "init_from.music_style"], ["mm_gan", "generator"]),
        (["init_from.mm_gan"], ["generator"]),
        (["continue_from.mm_gan"], ["mm_gan", "generator"]),
        (["continue_from.mm_gan", "continue_from.du_vae"], ["du_vae", "mm_gan", "generator"]),
        (["continue_from.generator"], ["generator"]),
        ([], ["du_vae", "music_style", "mm_gan", "generator"]),
    ],
)
def test_no_stage_is_trained_for_nothing(
    given: list[str], trained: list[str], x: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    cfg = config(*(f"{key}={x}" for key in given))
    assert [s.name for s in check_request(cfg, run)] == trained
    told = capsys.readouterr().out
    assert told.count("\n") == (len(trained) < 4)
    if given == ["init_from.du_vae"]:
        assert told == "not trained here: du_vae (init_from.du_vae)\n"
        assert starts_from(cfg, MM_GAN, run)[STAGES["du_vae"]] == x


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stages=[du_vae]", "init_from.du_vae=X"], "nothing is left to train"),
        (["stages=[music_style]", "init_from.du_vae=X"], r"init_from\.du_vae: none of the stages"),
        (["init_from.du_vae=X", "continue_from.du_vae=X"], "give only one"),
        (["init_from.du_vae=nowhere.ckpt"], r"nowhere\.ckpt: no such file"),
        (["fit.du_vae.max_epochs=-1"], r"fit\.du_vae\.max_epochs=-1: give a whole number of at least 1"),
        (["fit.generator.max_epochs=null"], r"fit\.generator\.max_epochs=None"),
        (["fit.mm_gan.batch_size=0"], r"fit\.mm_gan\.batch_size=0"),
        (["fit.mm_gan.check_val_every_n_epoch=0"], "check_val_every_n_epoch"),
        (["callbacks.checkpoint_every_n_epochs=0"], "checkpoint_every_n_epochs"),
        (["+trainer.max_epochs=3"], r"trainer\.max_epochs: give fit\.STAGE\.max_epochs"),
        (["+trainer.plugins=[x]"], r"trainer\.plugins"),
        (["+trainer.max_steps=0"], r"trainer\.max_steps: give fit\.STAGE\.max_epochs"),
        (["+trainer.min_epochs=2"], r"trainer\.min_epochs: give fit\.STAGE\.max_epochs"),
        (["+trainer.max_time=5"], r"trainer\.max_time: give fit\.STAGE\.max_epochs, or end the command with SIGTERM"),
        (["noise=gpu"], "noise=gpu: choose from cpu, device"),
        (["trainer.strategy=fsdp"], r"trainer\.strategy=fsdp: .* use auto or ddp"),
        (["callbacks.ema.mm_gan=1"], r"callbacks\.ema\.mm_gan=1: give a number between 0 and 1"),
        (["+trainer.limit_train_batches=0"], r"trainer\.limit_train_batches=0: .* or fit\.STAGE\.steps_per_epoch"),
        (["+trainer.limit_train_batches=1.5"], r"trainer\.limit_train_batches=1\.5"),
        (["+trainer.limit_val_batches=abc"], r"trainer\.limit_val_batches=abc: give a whole number"),
        (["+trainer.val_check_interval=0"], r"trainer\.val_check_interval=0: .*check_val_every_n_epoch"),
        (["+trainer.accumulate_grad_batches=0"], r"trainer\.accumulate_grad_batches=0: .*fit\.STAGE\.batch_size"),
        (["+trainer.gradient_clip_algorithm=value"], r"give trainer\.gradient_clip_val as well"),
        (["+trainer.gradient_clip_algorithm=most"], r"trainer\.gradient_clip_algorithm=most: give norm or value"),
        (["+trainer.gradient_clip_val=-1"], r"trainer\.gradient_clip_val=-1: .*model\.STAGE\.clip"),
        (["trainer.log_every_n_steps=0"], r"trainer\.log_every_n_steps=0"),
        (["trainer.strategy=fsdp"], r"trainer\.strategy=fsdp"),
        (["style_mode=song"], "style_mode=song: no such mode; choose from windows, legacy, local"),
        (["style_mode=null"], "style_mode=None"),
        (["trainer.devices=x"], r"trainer\.devices=x: give a whole number of at least 1, auto, or"),
        (["trainer.devices=0"], r"trainer\.devices=0"),
        (["trainer.num_nodes=0"], r"trainer\.num_nodes=0"),
        (["trainer.precision=fp16"], r"trainer\.precision=fp16: give one of auto, 32-true"),
        (["trainer.accelerator=tpu"], r"trainer\.accelerator=tpu: give one of auto, cpu, gpu"),
        (["trainer.deterministic=maybe"], r"trainer\.deterministic=maybe: give true, false or warn"),
        (["torch_threads=0"], "torch_threads=0: give a whole number of at least 1"),
        (["repeat_batches=0"], "repeat_batches=0: give a whole number of at least 1"),
        (["data.shift=[1]"], r"data\.shift=\[1\]: give two numbers"),
        (["model.du_vae.weights.recon=nan"], r"model\.du_vae\.weights\.recon=nan: give a number of at least 0"),
        (["model.du_vae.anneal_slope=inf"], r"model\.du_vae\.anneal_slope=inf: give a number"),
        (["model.mm_gan.clip=null"], r"model\.mm_gan\.clip=null: give a number above 0"),
        (["model.music_style.dropout=1.0"], r"model\.music_style\.dropout=1\.0: give .* below 1"),
        (["model.generator.recovery_frames=0"], r"recovery_frames=0: give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(overrides: list[str], says: str, x: Path, tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=says) as e:
        check_request(config(*(o.replace("=X", f"={x}") for o in overrides)), RunFolder(tmp_path))
    assert "\n" not in str(e.value)


def test_what_lightning_takes_is_taken(tmp_path: Path) -> None:
    taken = ["+trainer.limit_train_batches=2", "+trainer.limit_val_batches=0", "+trainer.val_check_interval=0.5"]
    more = ["+trainer.gradient_clip_val=1", "+trainer.gradient_clip_algorithm=value", "trainer.num_sanity_val_steps=-1"]
    assert check_request(config("stages=[music_style]", *taken, *more), RunFolder(tmp_path)) == [STAGES["music_style"]]


def test_a_disk_without_room_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path / "a" / "run")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=47_000_000))
    check_space(run, 900_000)
    with pytest.raises(D2MError, match=r"run: 47 MB free, the checkpoints may take 48 MB; .*hydra\.run\.dir"):
        check_space(run, 1_000_000)
    assert not run.path.exists()


def trainer_of(stage: Stage, *overrides: str) -> tuple[pl.Trainer, pl.LightningModule]:
    cfg = config(*overrides)
    return build_trainer(cfg, stage, RunFolder(Path("nowhere")), [], False), build_module(cfg, stage, 3)


@pytest.mark.parametrize(
    ("option", "refused_by", "says"),
    [
        ("+trainer.gradient_clip_val=0.5", {"mm_gan", "generator"}, r"use model\.\w+\.clip"),
        ("+trainer.accumulate_grad_batches=2", {"mm_gan"}, r"use fit\.mm_gan\.batch_size"),
    ],
)
def test_options_that_a_later_stage_cannot_take(option: str, refused_by: set[str], says: str) -> None:
    for name in refused_by:
        with pytest.raises(D2MError, match=says):
            check_trainer(*trainer_of(STAGES[name], option), STAGES[name])
    for stage in STAGES.values():
        check_trainer(*trainer_of(stage), stage)


def several(n: int, **options: Any) -> Any:
    """What is asked of a Trainer of ``n`` processes on one machine's CPU."""
    facts = {"world_size": n, "num_devices": n, "accelerator": CPUAccelerator(), "limit_val_batches": 1.0}
    return SimpleNamespace(**{**facts, **options})


def test_batches_divide_among_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    check_processes(several(2), MM_GAN, 24)
    with pytest.raises(D2MError, match=r"fit\.mm_gan\.batch_size=24: .* of all processes together; .* multiple of 5"):
        check_processes(several(5), MM_GAN, 24)
    for share in (0.0, 1.0, 3):
        check_processes(several(2, limit_val_batches=share), MM_GAN, 24)
    with pytest.raises(D2MError, match=r"trainer\.limit_val_batches=0\.5: with 2 processes give a number of batches"):
        check_processes(several(2, limit_val_batches=0.5), MM_GAN, 24)


def test_more_processes_than_cores_are_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr("d2m.train.request.note", lambda line, *_: said.append(line))
    for _ in range(2):
        check_processes(several(3), MM_GAN, 24)
        check_processes(several(4), MM_GAN, 24)
        check_processes(several(4, accelerator=object()), MM_GAN, 24)
    assert len(said) == 1 and said[0].startswith("trainer.devices=4: more processes than the 3 cores")


def test_a_validation_that_no_epoch_reaches_is_refused_before_training() -> None:
    trainer, module = trainer_of(MM_GAN, "+trainer.val_check_interval=31")
    with pytest.raises(D2MError, match=r"mm_gan has 30 batches an epoch; .*fit\.mm_gan\.check_val_every_n_epoch"):
        check_trainer(trainer, module, MM_GAN, n_batches=30)
    check_trainer(trainer, module, MM_GAN, n_batches=31)
    check_trainer(*trainer_of(MM_GAN, "+trainer.val_check_interval=0.5"), MM_GAN, n_batches=30)


def test_an_option_that_lightning_does_not_know_is_one_line() -> None:
    with pytest.raises(D2MError, match=r"trainer: .*'nonsense'") as e:
        trainer_of(MM_GAN, "+trainer.nonsense=1")
    assert "\n" not in str(e.value)
    with pytest.raises(D2MError, match=r"trainer\.devices=\[0, 1\]: on a CPU give a number of processes"):
        trainer_of(MM_GAN, "trainer=cpu", "trainer.devices=[0,1]")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(D2MError, match=r"trainer\.accelerator=gpu: there is none here; give trainer=cpu"):
        trainer_of(MM_GAN, "trainer=gpu")


def test_genres_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, "genres": ["flow", "drive"]}, path)
    read_checkpoint(path, ("flow", "drive"))
    read_checkpoint(path)
    with pytest.raises(D2MError, match="was trained on the genres flow, drive, but the corpus has drive, flow"):
        read_checkpoint(path, ("drive", "flow"))
    old = tmp_path / "old.ckpt"
    torch.save({"state_dict": {}}, old)
    for _ in range(2):
        read_checkpoint(old, ("drive", "flow"))
    assert capsys.readouterr().out == f"{old}: does not name its genres; assumed to be drive, flow, in this order\n"
