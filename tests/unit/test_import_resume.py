"""Training goes on from an import: Adam's moments lie with the parameters they belong to, Lightning takes the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from d2m.cli.import_original import main
from d2m.original.names import STAGE1_NETWORKS, STAGE2_NETWORKS
from d2m.original.read import our_name
from d2m.train.modules.du_vae import DUVAEModule
from d2m.train.modules.mm_gan import MMGANModule
from d2m.train.modules.music_style import MusicStyleModule
from tests.original_files import SIZES, arguments, content, modules, write

STAGES = {"du_vae": DUVAEModule, "mm_gan": MMGANModule, "music_style": MusicStyleModule}
NAMES = {"du_vae": STAGE1_NETWORKS, "mm_gan": STAGE2_NETWORKS}
FILES = {"du_vae": "Stage1.ckpt", "mm_gan": "Stage2.ckpt"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write(folder)
    return folder


def resume(source: Path, out: Path, stage: str, **replaced: Path) -> Path:
    main(arguments(source, out, **replaced))
    return out / "resume" / stage / "last.ckpt"


@pytest.mark.parametrize("stage", STAGES)
def test_the_modules_load_the_checkpoints(source: Path, tmp_path: Path, stage: str) -> None:
    path = resume(source, tmp_path / "out", stage)
    module = STAGES[stage].load_from_checkpoint(path, map_location="cpu", weights_only=True)
    one, two = modules()
    own = {"du_vae": one.state_dict(), "mm_gan": two.state_dict(), "music_style": None}[stage]
    if own is None:
        own = {f"net.{k}": v for k, v in two.net.music_style.state_dict().items()}
    assert all(torch.equal(v, own[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("stage", NAMES)
def test_every_moment_lies_with_its_parameter(source: Path, tmp_path: Path, stage: str) -> None:
    """As Lightning's Trainer restores them, before the first new batch."""
    path = resume(source, tmp_path / "out", stage)
    module = STAGES[stage](**torch.load(path, weights_only=True)["hyper_parameters"])
    held: dict[torch.nn.Parameter, dict[str, Tensor]] = {}
    rates: dict[torch.nn.Parameter, float] = {}

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            for optimizer in trainer.optimizers:
                held.update({p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()})
                rates.update({p: g["lr"] for g in optimizer.param_groups for p in g["params"]})
            for scheduler in trainer.lr_scheduler_configs:
                assert scheduler.scheduler.last_epoch == 30

    _fit(module, stage, path, tmp_path, 4, Look())
    file = torch.load(source / FILES[stage], weights_only=True)
    parameters = dict(module.named_parameters())
    compared = 0
    for network, name in NAMES[stage].items():
        optimizer = file[f"opt_{network}"]
        for i, tensor in enumerate(file[network]):
            p = parameters[our_name(name, tensor)]
            if not p.requires_grad:
                assert p not in held  # the movement encoder of stage 2
                continue
            theirs = optimizer["state"][i]
            assert all(torch.equal(held[p][k], theirs[k]) for k in ("exp_avg", "exp_avg_sq", "step")), tensor
            assert rates[p] == optimizer["param_groups"][0]["lr"]
            compared += 1
    assert compared == len(held) == sum(p.requires_grad for p in module.parameters())


def _fit(
    module: pl.LightningModule, stage: str, path: Path, root: Path, epochs: int, *callbacks: pl.Callback
) -> pl.Trainer:
    g = torch.Generator().manual_seed(0)
    shapes = {
        "du_vae": {"units1": (2, 32, 28), "units2": (2, 32, 28)},
        "mm_gan": {"units": (2, 3, 32, 28), "features": (2, 30, 28)}, "music_style": {"features": (2, 30, 28)},
    }[stage]  # fmt: skip
    batch = {k: torch.randn(*s, generator=g) for k, s in shapes.items()} | {"genre": torch.tensor([0, 1])}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=str(root), callbacks=list(callbacks),
    )  # fmt: skip
    loader = torch.utils.data.DataLoader([batch] * 2, batch_size=None)
    trainer.fit(module, loader, ckpt_path=str(path), weights_only=True)
    return trainer


@pytest.mark.parametrize("stage", STAGES)
def test_lightning_goes_on_where_the_reference_stopped(source: Path, tmp_path: Path, stage: str) -> None:
    """Epoch 2 (from 0) was the last of the files, 30 batches; two epochs of two batches follow."""
    path = resume(source, tmp_path / "out", stage)
    module = STAGES[stage](**torch.load(path, weights_only=True)["hyper_parameters"])
    before = {"music_style": 0}.get(stage, 3)
    trainer = _fit(module, stage, path, tmp_path, before + 2)
    assert trainer.current_epoch == before + 2
    per_batch, batches = (5, 30) if stage == "mm_gan" else (1, 30 if before else 0)
    assert trainer.global_step == per_batch * (batches + 4)
    assert trainer.fit_loop.total_batch_idx == batches + 3


@pytest.mark.parametrize("stage", NAMES)
def test_without_moments_adam_starts_afresh(source: Path, tmp_path: Path, stage: str) -> None:
    file = torch.load(source / FILES[stage], weights_only=True)
    bare = tmp_path / "bare.ckpt"
    torch.save({k: v for k, v in file.items() if not k.startswith("opt_")}, bare)
    key = "stage1" if stage == "du_vae" else "stage2"
    path = resume(source, tmp_path / "out", stage, **{key: bare})
    checkpoint = torch.load(path, weights_only=True)
    assert not any(o["state"] for o in checkpoint["optimizer_states"])
    module = STAGES[stage](**checkpoint["hyper_parameters"])
    _fit(module, stage, path, tmp_path, 4)


def test_states_of_old_pytorch(source: Path, tmp_path: Path) -> None:
    """It numbered parameters by address, and counted steps in whole numbers, in a file that is no zip archive."""
    file: dict[str, Any] = content(modules()[0], STAGE1_NETWORKS)
    for key, optimizer in file.items():
        if not key.startswith("opt_"):
            continue
        address = {i: 140_000_000 + 8 * (7 * i % 13) for i in optimizer["state"]}
        optimizer["state"] = {address[i]: {**s, "step": 30} for i, s in reversed(optimizer["state"].items())}
        optimizer["param_groups"] = [
            {"lr": 1e-3, "betas": (0.5, 0.9), "eps": 1e-8, "weight_decay": 0, "amsgrad": False,
             "params": list(address.values())}
        ]  # fmt: skip
    old = tmp_path / "old.ckpt"
    torch.save(file, old, _use_new_zipfile_serialization=False)
    path = resume(source, tmp_path / "out", "du_vae", stage1=old)
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["optimizer_states"][0]
    assert state["param_groups"][0]["lr"] == 1e-3 == checkpoint["hyper_parameters"]["optimizer"]["lr"]
    assert state["param_groups"][0]["betas"] == (0.5, 0.9)
    keys = list(checkpoint["state_dict"])
    first = next(iter(file["opt_movement_enc"]["state"].values()))  # the last parameter's: they were reversed
    i = keys.index("net.movement_encoder.head.logvar.bias")
    assert torch.equal(state["state"][i]["exp_avg"], first["exp_avg"]) and state["state"][i]["step"] == 30
    module = DUVAEModule(**checkpoint["hyper_parameters"])
    _fit(module, "du_vae", path, tmp_path, 4)


def test_sizes_are_in_the_hyper_parameters(source: Path, tmp_path: Path) -> None:
    path = resume(source, tmp_path / "out", "mm_gan")
    hparams = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hparams["sizes"] == {**SIZES, "discriminator_hidden": 1024, "style_network": "gru"}
    assert (hparams["optimizer"]["lr"], hparams["lr_unit_decoder"]) == (2e-4, 2e-5)
