"""One recorded batch through the LightningModules and the Trainer that training uses, watched from outside."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from parity_recording import DTYPES, arrays, as_tensors
from torch import Tensor, nn

from d2m.nets.composition import CompositionNoise
from d2m.nets.du_vae import DUVAENoise
from d2m.train.modules.du_vae import DUVAEModule
from d2m.train.modules.mm_gan import MMGANModule

Named = dict[str, Tensor]


@dataclass
class Watched:
    """What happened in one batch, an entry per update."""

    losses: list[dict[str, Tensor]] = field(default_factory=list)
    weights: list[dict[str, float]] = field(default_factory=list)
    gradients: list[dict[str, Tensor | None]] = field(default_factory=list)  # before clipping
    parameters: list[Named] = field(default_factory=list)  # before every update, and after the last
    outputs: dict[str, list[Any]] = field(default_factory=dict)  # what watched methods returned, call by call
    batch_count: int = -1
    batch: Any = None

    def change(self, first: int = 0, last: int = -1) -> Named:
        """Parameter change between two entries of ``parameters``."""
        before, after = self.parameters[first], self.parameters[last]
        return {k: after[k] - before[k] for k in before}


def checkpoint(folder: Path, stage: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "resume" / stage / "last.ckpt", weights_only=True)
    return content


def du_vae(folder: Path, **options: Any) -> DUVAEModule:
    """The imported stage 1."""
    content = checkpoint(folder, "du_vae")
    module = DUVAEModule(**{**content["hyper_parameters"], **options})
    module.load_state_dict(content["state_dict"], strict=True)
    return module


def mm_gan(folder: Path) -> MMGANModule:
    """The imported stage 2."""
    content = checkpoint(folder, "mm_gan")
    module = MMGANModule(**content["hyper_parameters"])
    module.load_state_dict(content["state_dict"], strict=True)
    return module


def stage1_batch(dtype: str = "f32") -> tuple[Named, DUVAENoise]:
    batch = as_tensors(arrays("batch_stage1.npz"), dtype)
    noise = as_tensors(arrays("noise_stage1.npz"), dtype)
    return (
        {"units1": batch["stdpose1"], "units2": batch["stdpose2"]},
        DUVAENoise(noise["eps_z_init"], noise["eps_z_movement"], noise["eps_z_single"], noise["single_frames"]),
    )


def stage2_batch(dtype: str = "f32") -> tuple[Named, CompositionNoise]:
    batch = as_tensors(arrays("batch_stage2.npz"), dtype)
    eps = as_tensors(arrays("noise_stage2.npz"), dtype)
    b, u = batch["stdpSeq"].shape[:2]
    noise = CompositionNoise(
        z_ini=eps["eps_z_init"], z_dan=eps["eps_z_dance"], recon_mov=eps["eps_recon_z_movement"],
        audio=eps["audstyle_noise"], fake_z_dan=eps["eps_fake_z_dance"],
        fake_mov=eps["eps_fake_z_movement"].view(b, u, -1),
    )  # fmt: skip
    return {"units": batch["stdpSeq"], "features": batch["aud"]}, noise


class _OneBatch(pl.Callback):
    def __init__(self, watched: Watched) -> None:
        self.watched = watched

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.watched.batch_count, self.watched.batch = trainer.fit_loop.total_batch_idx, batch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.watched.parameters.append(_copy(pl_module))
        trainer.should_stop = True


def _copy(module: nn.Module) -> Named:
    return {k: p.detach().clone() for k, p in module.named_parameters()}


@contextmanager
def _watching(module: pl.LightningModule, methods: tuple[str, ...], watched: Watched) -> Iterator[None]:
    """Spies on the module's own loss sum and clipping, and on methods of its network."""
    home = importlib.import_module(type(module).__module__)
    real_sum, real_clip = home.weighted_sum, home.clip_each

    def spy_sum(losses: Any, weights: Any) -> Tensor:
        watched.losses.append({k: v.detach().clone() for k, v in losses.items()})
        watched.weights.append(dict(weights))
        return real_sum(losses, weights)

    def spy_clip(networks: Any, max_norm: float) -> Tensor:
        watched.gradients.append(
            {k: None if p.grad is None else p.grad.detach().clone() for k, p in module.named_parameters()}
        )
        watched.parameters.append(_copy(module))
        return real_clip(networks, max_norm)

    def spy(name: str, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            out = method(*args, **kwargs)
            watched.outputs.setdefault(name, []).append(out)
            return out

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "weighted_sum", spy_sum)
        patch.setattr(home, "clip_each", spy_clip)
        for name in methods:
            patch.setattr(module.net, name, spy(name, getattr(module.net, name)))
        yield


def train_one_batch(
    module: pl.LightningModule, batch: Named, noise: Any, dtype: str, root: Path, *, ckpt: Path | None = None,
    methods: tuple[str, ...] = (),
) -> Watched:  # fmt: skip
    """Fit on one batch with the given noise, from a checkpoint (Adam's moments with it) or with a fresh Adam."""
    watched = Watched()
    trainer = pl.Trainer(
        accelerator="cpu", precision="64-true" if dtype == "f64" else "32-true", max_epochs=10**6, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=str(root), callbacks=[_OneBatch(watched)],
    )  # fmt: skip
    module.net.draw_noise = lambda units, generator=None: type(noise)(
        *(x.to(units.dtype) if x.is_floating_point() else x for x in noise)
    )
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    with _watching(module, methods, watched):
        trainer.fit(module, loader, ckpt_path=None if ckpt is None else str(ckpt), weights_only=True)
    assert next(module.parameters()).dtype == DTYPES[dtype]
    return watched
