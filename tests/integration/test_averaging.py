"""Averaged weights: their values, what uses them, and that an interrupted stage continues with the same ones."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.train import curriculum
from d2m.train.callbacks.guard import evaluating
from d2m.train.checkpoints import read_checkpoint

from .conftest import compose_train

DECAY = 0.75


class Watch(pl.Callback):
    """Weights after every batch, those of validation, and those that dances are made with; a signal if asked for."""

    def __init__(self, stop: bool) -> None:
        self.stop, self.trained, self.validated = stop, [], []  # type: ignore[var-annotated]

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.trained.append(weights(module))
        if self.stop and (trainer.current_epoch, batch_idx) == (1, 0):
            signal.raise_signal(signal.SIGTERM)

    def on_validation_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.validated.append(weights(module))

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        before = weights(module)
        with evaluating(module):
            self.danced = weights(module)
        assert same(before, weights(module)) and same(before, self.trained[-1])


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def train(cfg: Any, folder: Path, stop: bool = False) -> Watch:
    watch, original = Watch(stop), curriculum.build_callbacks
    with pytest.MonkeyPatch.context() as m:
        m.setattr(curriculum, "build_callbacks", lambda *a, **k: [*original(*a, **k), watch])
        if stop:
            with pytest.raises(SystemExit):
                curriculum.run(cfg, folder)
        else:
            curriculum.run(cfg, folder)
    return watch


def test_the_average_is_saved_validated_danced_with_and_resumed(tiny_run: Path, corpora: Path, tmp_path: Path) -> None:
    init = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in ("du_vae", "music_style")]
    cfg = compose_train(
        corpora, "stages=[mm_gan]", *init, "callbacks.dance_video=null", f"callbacks.ema.mm_gan={DECAY}",
        "fit.mm_gan.check_val_every_n_epoch=1", "trainer.num_sanity_val_steps=0", "model.mm_gan.weights.style_real=1",
    )  # fmt: skip
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    watch = train(cfg, whole.path)
    saved = read_checkpoint(whole.checkpoint("mm_gan"))
    average = dict(watch.trained[0])
    for step in watch.trained[1:]:
        average = {k: v.lerp(step[k], 1 - DECAY) for k, v in average.items()}
    assert len(watch.trained) == 6 and average.keys() == saved["state_dict"].keys()
    for name, value in average.items():
        torch.testing.assert_close(saved["state_dict"][name], value, atol=1e-6, rtol=1e-5)
    assert same(saved["current_model_state"], watch.trained[-1])
    assert same(watch.validated[-1], saved["state_dict"]) and same(watch.danced, saved["state_dict"])
    moved = {k.split(".")[1] for k, v in average.items() if not torch.equal(v, watch.trained[-1][k])}
    assert {"dance_encoder", "dance_decoder"} <= moved and not {"movement_encoder", "music_style"} & moved
    released = DanceGenerator.load(whole.bundle).net.state_dict()
    assert all(torch.equal(v, saved["state_dict"][f"net.{k}"]) for k, v in released.items())

    train(cfg, parts.path, stop=True)
    assert not parts.is_done("mm_gan")
    with pytest.raises(D2MError, match=r"last\.ckpt: keeps averaged weights .*; give callbacks\.ema\.mm_gan="):
        curriculum.run(OmegaConf.merge(cfg, {"callbacks": {"ema": {"mm_gan": None}}}), parts.path)
    train(cfg, parts.path)
    resumed = read_checkpoint(parts.checkpoint("mm_gan"))
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert same(resumed[part], saved[part]), part
