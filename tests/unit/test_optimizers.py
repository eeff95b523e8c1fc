"""An optimiser is a plain mapping: in conf, in hparams, and built by the module."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from d2m.core.errors import D2MError
from d2m.train.build import build_module
from d2m.train.optimizers import ADAM, build_optimizer, step_schedulers
from d2m.train.stage import STAGES
from tests.conftest import SIZES

CONF = str(Path(__file__).parents[2] / "conf")


def optimizers(module: pl.LightningModule) -> list[torch.optim.Optimizer]:
    module.trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    found = module.configure_optimizers()
    return found[0] if isinstance(found, tuple) else [found]


def configured(stage: str, *overrides: str) -> list[torch.optim.Optimizer]:
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["size=tiny", *overrides])
    return optimizers(build_module(cfg, STAGES[stage], 3, 28))


@pytest.mark.parametrize("stage", STAGES)
def test_the_config_is_its_one_door(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another class with another argument, for any stage, by overrides alone; the groups stay."""
    monkeypatch.setattr(pl.Trainer, "estimated_stepping_batches", 10)
    key = f"model.{stage}.optimizer"
    decay = [f"~{key}.weight_decay"] if stage.endswith("_style") else []
    usual = configured(stage)
    other = configured(
        stage, f"{key}._target_=torch.optim.RMSprop", f"{key}.lr=0.125", f"+{key}.alpha=0.5", f"~{key}.fused", *decay
    )
    assert [type(o) for o in other] == [torch.optim.RMSprop] * len(usual)
    for o in other:
        group = o.param_groups[0]
        assert group["alpha"] == 0.5 and group.get("initial_lr", group["lr"]) == 0.125
    shapes = [[[p.shape for p in g["params"]] for g in o.param_groups] for o in (*usual, *other)]
    assert shapes[: len(usual)] == shapes[len(usual) :]


def test_the_unit_decoders_rate_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "estimated_stepping_batches", 10)
    _, _, decoders, _ = configured("mm_gan", "model.mm_gan.lr_unit_decoder=0.25", "model.mm_gan.optimizer.lr=0.5")
    assert [g["initial_lr"] for g in decoders.param_groups] == [0.5, 0.25]
    assert all(g["fused"] for g in decoders.param_groups)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"_target_": "torch.optim.Adem"},
            r"Adem: not an optimizer; .*did you mean torch\.optim\.Adam\?",
        ),
        ({"_target_": "torch.nn.ReLU"}, r"torch\.nn\.ReLU"),
        ({"_target_": "torch.nn.Identity"}, "not an optimizer; give a class of torch.optim"),
        ({"momentum": 0.9}, "momentum"),
        ({"lr": -1.0}, "Invalid learning rate"),
    ],
)
def test_what_cannot_be_built_is_one_line(change: dict[str, Any], says: str) -> None:
    options = {**ADAM, **change}
    with pytest.raises(D2MError, match=says) as told:
        build_optimizer(options, [torch.nn.Parameter(torch.zeros(1))])
    assert "\n" not in str(told.value)


def test_rates_fall_where_an_optimizer_steps() -> None:
    """Whether or not it has a state; one that never steps would only be warned of."""
    stepped, resting = (torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0) for _ in range(2))
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda batch: 0.5**batch) for o in (stepped, resting)]
    module: Any = SimpleNamespace(lr_schedulers=lambda: schedulers)
    stepped.param_groups[0]["params"][0].sum().backward()
    stepped.step()
    step_schedulers(module)
    assert (stepped.param_groups[0]["lr"], resting.param_groups[0]["lr"]) == (0.5, 1.0)


def test_it_is_a_plain_hparam(tmp_path: Path) -> None:
    from d2m.train.modules.mm_gan import MMGANModule

    module = MMGANModule(SIZES, optimizer={"_target_": "torch.optim.SGD", "lr": 0.5})
    torch.save({"hyper_parameters": dict(module.hparams)}, tmp_path / "c.ckpt")
    hparams = torch.load(tmp_path / "c.ckpt", weights_only=True)["hyper_parameters"]
    assert hparams["optimizer"] == {"_target_": "torch.optim.SGD", "lr": 0.5} and hparams["sizes"] == SIZES
