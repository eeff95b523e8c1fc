"""What the training steps of the stages share: seeded noise, frozen networks, clipping, gradients' norms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

#: Training, validation and test draw from streams that never meet.
_STREAMS = {"train": 0, "val": 1, "predict": 2}


def step_generator(module: pl.LightningModule, stream: str, batch_idx: int, seed: int) -> torch.Generator:
    """The generator of one batch, a function of (seed, stream, epoch, batch, rank): a resumed epoch equals an
    undisturbed one.

    Validation is the same at every epoch, so that its curve shows the model and not the noise.
    """
    epoch = module.current_epoch if stream == "train" else 0
    key = (_STREAMS[stream], epoch, batch_idx, module.global_rank)
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    # CPU, so that a seed means the same noise on every device.
    return torch.Generator().manual_seed(int(state[0]))


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """No gradients for these modules' parameters inside the block; what was trainable before is trainable after."""
    held = [p for m in modules for p in m.parameters() if p.requires_grad]
    for p in held:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in held:
            p.requires_grad_(True)


def clip_each(networks: Iterable[nn.Module], max_norm: float) -> Tensor:
    """Clip every network's gradient at ``max_norm`` on its own; returns the norms before clipping (n,)."""
    norms = [nn.utils.clip_grad_norm_(m.parameters(), max_norm) for m in networks]
    return torch.stack([n.detach().float().cpu() if n.device.type == "cpu" else n.detach().float() for n in norms])


def log_losses(
    module: pl.LightningModule, stream: str, losses: dict[str, Tensor], batch_size: int, **kwargs: Any
) -> None:
    """Log a loss dict as ``stream/name``: per step while training, per epoch otherwise.

    A training step's stay with the module as ``step_losses``: what looks at each of them need not ask Lightning.
    """
    values = {f"{stream}/{k}": v.detach() for k, v in losses.items()}
    train = stream == "train"
    if train:
        module.step_losses = values  # type: ignore[assignment]
    module.log_dict(values, on_step=train, on_epoch=not train, batch_size=batch_size, sync_dist=not train, **kwargs)


def music_of(batch: dict[str, Tensor]) -> Tensor:
    """Features of the whole sequences (b, 96, f) if the batch has them, else of 2 s of them (b, 30, f)."""
    return batch.get("span_features", batch["features"])


def load_networks(module: nn.Module, state: dict[str, Tensor], here: str, there: str) -> None:
    """Warm-start: copy a network of another stage's state dict, strictly.

    Args:
        state: the other stage's tensors.
        here: dotted name of the network in ``module``.
        there: its dotted name in ``state``.

    Raises:
        KeyError: it is missing from ``state``.
        RuntimeError: torch's, naming a missing, extra or misshapen tensor.
    """
    part = {k[len(there) + 1 :]: v for k, v in state.items() if k.startswith(there + ".")}
    if not part:
        raise KeyError(f"no network '{there}'")
    module.get_submodule(here).load_state_dict(part, strict=True)
