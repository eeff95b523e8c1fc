"""Checkpoints in the reference's format, of our own random networks: any sizes, with Adam's moments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from d2m.cli.commands import conf_dir
from d2m.original.names import STAGE1_NETWORKS, STAGE2_NETWORKS, STATS_FILES, STYLE_NETWORK, NetworkName
from d2m.original.read import their_name
from d2m.train.modules.du_vae import DUVAEModule
from d2m.train.modules.mm_gan import MMGANModule

SIZES = {
    "n_genres": 4, "z_ini": 5, "z_mov": 7, "z_dan": 9, "movement_hidden": 6, "unit_hidden": 11,
    "dance_encoder_hidden": 13, "dance_decoder_hidden": 8, "n_features": 28, "style": 30,
}  # fmt: skip
FILES = {"stage1": "Stage1.ckpt", "stage2": "Stage2.ckpt", "style": "aud_3cls.ckpt"}


def modules(sizes: Mapping[str, int] = SIZES, seed: int = 0) -> tuple[DUVAEModule, MMGANModule]:
    """Random stages that share what stage 2 takes over from stage 1."""
    torch.manual_seed(seed)
    one, two = DUVAEModule(dict(sizes)), MMGANModule(dict(sizes))
    for name in ("initial_pose_encoder", "initial_pose_decoder", "movement_encoder"):
        two.net.get_submodule(name).load_state_dict(one.net.get_submodule(name).state_dict())
    return one, two


def state_of(module: pl.LightningModule, network: str, name: NetworkName) -> dict[str, Tensor]:
    """A network's tensors by the reference's names."""
    found = {k: v for k, v in module.state_dict().items() if k.startswith(name.ours + ".")}
    prefix = f"{network}." if network else ""
    return {their_name(network, name, k).removeprefix(prefix): v.clone() for k, v in found.items()}


def adam_of(state: dict[str, Tensor], lr: float, step: float) -> dict[str, Any]:
    """Moments that differ everywhere, so that a mix-up shows."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(v) for v in state.values()], lr=lr).state_dict()
    optimizer["state"] = {
        i: {"step": torch.tensor(step), "exp_avg": torch.randn_like(v), "exp_avg_sq": torch.rand_like(v) + 0.1}
        for i, v in enumerate(state.values())
    }
    return optimizer


def content(
    module: pl.LightningModule, names: Mapping[str, NetworkName], epoch: int = 2, batches: int = 30
) -> dict[str, Any]:
    """What the reference's save() writes of a stage."""
    states = {n: state_of(module, n, name) for n, name in names.items()}
    lrs = {"stdp_dec": 2e-5} if isinstance(module, MMGANModule) else {}
    optimizers = {f"opt_{n}": adam_of(s, lrs.get(n, 2e-4), float(batches)) for n, s in states.items()}
    return {**states, **optimizers, "ep": epoch, "total_it": batches}


def write(folder: Path, sizes: Mapping[str, int] = SIZES, seed: int = 0) -> dict[str, Path]:
    """Stage1.ckpt, Stage2.ckpt and aud_3cls.ckpt by the names of the import's arguments."""
    one, two = modules(sizes, seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {k: folder / v for k, v in FILES.items()}
    torch.save(content(one, STAGE1_NETWORKS), paths["stage1"])
    torch.save(content(two, STAGE2_NETWORKS), paths["stage2"])
    torch.save(state_of(two, "", STYLE_NETWORK), paths["style"])
    return paths


def write_stats(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    for name in STATS_FILES:
        np.save(folder / name, rng.uniform(1.0, 40.0, size=28))
    return folder


def words(source: Path, out: Path, **more: object) -> list[str]:
    """The command line of an import of the files in ``source``."""
    paths = {k: source / v for k, v in FILES.items()} | {"out": out} | more
    return [f"{k}={v}" for k, v in paths.items()]


def arguments(source: Path, out: Path, **more: object) -> DictConfig:
    """The config that these words make."""
    given = dict(word.split("=", 1) for word in words(source, out, **more))
    cfg = OmegaConf.merge(OmegaConf.load(conf_dir() / "import_original.yaml"), given)
    assert isinstance(cfg, DictConfig)
    return cfg
