"""Lightning checkpoints of an imported training: weights, Adam's moments in our optimizers' order, and counters.

They are plain dictionaries, loadable with ``weights_only=True``. This module does not import Lightning; it writes what
its ``Trainer`` (2.6) reads, which ``tests/unit/test_import_resume.py`` verifies by resuming from them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from d2m.nets.sizes import Sizes
from d2m.original.names import (
    STAGE1_NETWORKS,
    STAGE1_OPTIMIZERS,
    STAGE2_NETWORKS,
    STAGE2_OPTIMIZERS,
    STAGE2_STEPS_PER_BATCH,
    NetworkName,
)
from d2m.original.read import Moments, Original

#: The reference's learning rates, used if a file has no optimizer state.
LR, LR_UNIT_DECODER = 2e-4, 2e-5


def du_vae_checkpoint(stage1: Original, sizes: Sizes) -> dict[str, Any]:
    """The checkpoint that ``DUVAEModule`` would have saved."""
    optimizers = _optimizers(stage1, STAGE1_OPTIMIZERS, STAGE1_NETWORKS, {})
    hparams = {"sizes": sizes.to_dict(), "optimizer": _adam(optimizers[0]["param_groups"][0]["lr"])}
    return _checkpoint(stage1.state, hparams, optimizers, stage1.epoch, stage1.batches, manual_steps=None)


def mm_gan_checkpoint(stage1: Original, stage2: Original, style: Original, sizes: Sizes) -> dict[str, Any]:
    """The checkpoint that ``MMGANModule`` would have saved: with stage 2's own unit decoder, and the frozen
    networks."""
    frozen = {k: v for k, v in stage1.state.items() if k.startswith("net.initial_pose_")}
    optimizers = _optimizers(stage2, STAGE2_OPTIMIZERS, STAGE2_NETWORKS, {"stdp_dec": LR_UNIT_DECODER})
    decoders = optimizers[2]["param_groups"]
    hparams = {
        "sizes": sizes.to_dict(), "optimizer": _adam(decoders[0]["lr"]), "lr_unit_decoder": decoders[1]["lr"],
    }  # fmt: skip
    return _checkpoint(
        {**frozen, **style.state, **stage2.state}, hparams, optimizers, stage2.epoch, stage2.batches,
        manual_steps=STAGE2_STEPS_PER_BATCH * stage2.batches,
    )  # fmt: skip


def music_style_checkpoint(style: Original, sizes: Sizes) -> dict[str, Any]:
    """The checkpoint that ``MusicStyleModule`` would have saved, without optimizer: for warm starts, not for
    resuming."""
    state = {k.replace("net.music_style.", "net.", 1): v for k, v in style.state.items()}
    return _checkpoint(state, {"sizes": sizes.to_dict()}, [], 0, 0, manual_steps=None)


def _adam(lr: float) -> dict[str, Any]:
    """The hparam from which the optimizers are built."""
    return {"_target_": "torch.optim.Adam", "lr": lr, "fused": True}


def _optimizers(
    original: Original,
    layout: Iterable[Iterable[Iterable[str]]],
    names: Mapping[str, NetworkName],
    lrs: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Adam state dicts in the order of ``configure_optimizers``; networks without moments get none."""
    out = []
    for groups in layout:
        state: dict[int, dict[str, Any]] = {}
        param_groups = []
        position = 0
        for group in groups:
            first = position
            settings: dict[str, Any] = {}
            for network in group:
                moments = original.moments.get(network, Moments({}, {}))
                settings = settings or {"lr": lrs.get(network, LR), **moments.settings}
                # The state dict's order is the parameters' order: these networks have no buffers.
                for tensor in (k for k in original.state if k.startswith(names[network].ours + ".")):
                    if tensor in moments.state:
                        state[position] = moments.state[tensor]
                    position += 1
            param_groups.append({**_adam_defaults(), **settings, "params": list(range(first, position))})
        out.append({"state": state, "param_groups": param_groups})
    return out


def _adam_defaults() -> dict[str, Any]:
    """A parameter group with every key that the installed torch's Adam expects."""
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(1))], fused=True)  # as configure_optimizers makes it
    group: dict[str, Any] = adam.state_dict()["param_groups"][0]
    return group


def _scheduler(optimizer: dict[str, Any], batches: int) -> dict[str, Any]:
    """State of the optimizer's learning-rate schedule (:func:`d2m.train.optimizers.cosine_decay`) after ``batches``.

    It decays from the file's learning rates; the new run's config determines how far.
    """
    rates = [group["lr"] for group in optimizer["param_groups"]]
    adam = torch.optim.Adam([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in rates])
    state: dict[str, Any] = torch.optim.lr_scheduler.LambdaLR(adam, lambda _: 1.0).state_dict()
    return {**state, "last_epoch": batches, "_step_count": batches + 1, "base_lrs": rates, "_last_lr": rates}


def _counts(n: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names, n)


def _progress(n: int, *names: str) -> dict[str, dict[str, int]]:
    return {"total": _counts(n, *names), "current": _counts(n, *names)}


def _checkpoint(
    state: Mapping[str, Tensor],
    hparams: dict[str, Any],
    optimizers: list[dict[str, Any]],
    epoch: int,
    batches: int,
    manual_steps: int | None,
) -> dict[str, Any]:
    """A checkpoint at the end of ``epoch``, after ``batches`` batches in total."""
    full = ("ready", "completed", "started", "processed")
    epochs = epoch + 1 if batches else 0
    automatic = batches if manual_steps is None else 0
    loops = {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": batches},
        "epoch_loop.batch_progress": {**_progress(batches, *full), "is_last_batch": batches > 0},
        "epoch_loop.automatic_optimization.state_dict": {},
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {
                "step": _progress(automatic, "ready", "completed"),
                "zero_grad": _progress(automatic, "ready", "completed", "started"),
            }
        },
        "epoch_loop.manual_optimization.state_dict": {},
        "epoch_loop.manual_optimization.optim_step_progress": _progress(manual_steps or 0, "ready", "completed"),
        "epoch_progress": _progress(epochs, *full),
    }
    return {
        "epoch": max(0, epochs - 1),
        "global_step": batches if manual_steps is None else manual_steps,
        "pytorch-lightning_version": importlib.metadata.version("pytorch-lightning"),
        "state_dict": dict(state),
        "loops": {"fit_loop": loops},
        "callbacks": {},
        "optimizer_states": optimizers,
        "lr_schedulers": [_scheduler(o, batches) for o in optimizers],
        "hparams_name": "kwargs",
        "hyper_parameters": hparams,
    }
