"""No training step synchronises with its device: every stage can step on the meta device, which has no values to read.

``.item()``, ``.cpu()``, ``.tolist()``, ``if tensor:`` and all that copies from a device to the host fail there, as do
elementwise operations on tensors of two devices. What a GPU does in a step is checked without one.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device

from d2m.data.datamodule import DanceDataModule
from d2m.nets.gru import Backend, backend
from d2m.nets.losses.mm_gan import DISCRIMINATOR, GENERATOR, STYLE
from d2m.train.build import build_module
from d2m.train.stage import STAGES
from experiments.made_corpus import make_corpus

from .conftest import compose_train

META = torch.device("meta")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made"), 72, front_end="rhythm").folder


def steps(stage: str, folder: Path, *overrides: str) -> dict[str, torch.Tensor]:
    """Two training steps and a validation step of a stage on the meta device; returns what was logged."""
    cfg = compose_train(folder, f"model.{stage}.optimizer.fused=false", *overrides)  # which the meta device lacks
    record, options = STAGES[stage], cfg.model[stage]
    data = DanceDataModule(
        str(folder), record.items, 4, steps_per_epoch=3, span_features=bool(options.get("span", False)),
        augment=options.get("augment"),
    )  # fmt: skip
    module: Any = build_module(cfg, record, len(data.corpus.genres), data.corpus.n_features).to(META)
    configured = module.configure_optimizers()
    optimizers, schedulers = configured if isinstance(configured, tuple) else ([configured], [])
    logged: dict[str, torch.Tensor] = {}
    trainer = SimpleNamespace(
        global_rank=0, world_size=1, current_epoch=0, max_epochs=1, num_training_batches=3, datamodule=data,
        fit_loop=SimpleNamespace(total_batch_idx=1), estimated_stepping_batches=3, limit_val_batches=1.0,
    )  # fmt: skip
    module._trainer = trainer
    data.setup("fit")
    module.log = lambda name, value, **_: logged.update({name: value})
    module.log_dict = lambda values, **_: logged.update(values)
    module.optimizers = lambda: list(optimizers)
    module.lr_schedulers = lambda: [s["scheduler"] for s in schedulers]
    module.manual_backward = lambda loss: loss.backward()
    for loader, step in (
        (data.train_dataloader(), module.training_step),
        (data.val_dataloader(), module.validation_step),
    ):
        for number, batch in zip(range(2), loader, strict=False):
            module.train(step == module.training_step)
            there = data.on_after_batch_transfer(move_data_to_device(batch, META))
            loss = step(there, number)
            if isinstance(loss, torch.Tensor) and step == module.training_step:
                loss.backward()
                if stage == "du_vae":
                    module.configure_gradient_clipping(optimizers[0])
                optimizers[0].step()
    return logged


#: The paper's style network, and every term of the GAN.
PAPER = [
    "model/music_style=paper", "model.mm_gan.span=false", "model.mm_gan.augment=null",
    *(f"model.mm_gan.weights.{name}=1" for name in (*DISCRIMINATOR, *GENERATOR, *STYLE)),
]  # fmt: skip


#: On a GPU GRUs are torch's by default, cuDNN's.
CASES: list[tuple[str, Backend, list[str]]] = [(stage, "torch", []) for stage in STAGES]
CASES += [("du_vae", "own", []), ("mm_gan", "own", []), ("mm_gan", "torch", PAPER), ("music_style", "torch", PAPER)]


@pytest.mark.parametrize(("stage", "how", "overrides"), CASES)
def test_a_step_waits_for_nothing(
    stage: str, how: Backend, overrides: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The meta device knows no autocast, not even that there is none.
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with backend(how):
        logged = steps(stage, folder, *overrides)
    assert {name.split("/")[0] for name in logged} >= {"train", "val"}


def test_the_meta_device_does_notice() -> None:
    x = torch.ones(3, device=META)
    for wait in (x.sum().item, x.cpu, x.tolist, lambda: bool(x.sum() > 0), lambda: x + torch.ones(3)):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()
