"""Helpers shared by the stages' training steps: seeded noise, frozen networks, gradient clipping and norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from d2m.nets.rows import ALONE, Rows

#: Separate noise streams for training, validation and prediction.
_STREAMS = {"train": 0, "val": 1, "predict": 2}
#: Choices of noise=..., the device on which noise is drawn. On the CPU a seed gives the same noise on every machine.
NOISE = ("cpu", "device")


class Noise(Protocol):
    """A named tuple of a batch's noise tensors."""

    def __iter__(self) -> Iterator[Tensor]: ...
    def rows(self, own: slice, n: int) -> Any:
        """The noise of this process's share of the batch's ``n`` rows."""


N = TypeVar("N", bound=Noise)


def rows_of(module: pl.LightningModule, stream: str) -> Rows:
    """This process's rows of a batch. In training every batch is split among the processes; in validation each process
    gets whole batches."""
    trainer = getattr(module, "_trainer", None)
    return ALONE if stream != "train" or trainer is None else Rows(trainer.global_rank, trainer.world_size)


def step_generator(module: pl.LightningModule, stream: str, batch: int, seed: int) -> torch.Generator:
    """The generator of one batch, a function of (seed, stream, epoch, batch).

    Hence a resumed epoch equals an uninterrupted one, and several processes draw the same noise as one. Validation
    ignores the epoch, so that its curve shows the model and not the noise. In prediction, which has no batches common
    to all processes, the rank is part of the key.

    Args:
        batch: its number in the epoch, or in the validation pass.
    """
    epoch = module.current_epoch if stream == "train" else 0
    key = (_STREAMS[stream], epoch, batch, module.global_rank if stream == "predict" else 0)
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    device = module.device if getattr(module, "noise", "cpu") == "device" else "cpu"
    return torch.Generator(device).manual_seed(int(state[0]))


def draw_noise(
    module: pl.LightningModule, draw: Callable[[Tensor, torch.Generator], N], like: Tensor, stream: str, batch: int
) -> N:
    """Draw the noise of a whole batch and return this process's rows of it.

    Args:
        draw: called with a tensor (n, ...) of the whole batch's shape and a generator, draws the noise.
        like: (b, ...) this process's rows; the noise is moved to their device.
        batch: as of :func:`step_generator`.
    """
    generator = step_generator(module, stream, batch, module.hparams["seed"])
    rows = rows_of(module, stream)
    if rows.world == 1:
        return draw(like, generator)
    n = rows.world * len(like)
    whole = torch.empty(1, dtype=like.dtype, device=generator.device).expand(n, *like.shape[1:])
    # Selected before the transfer: the other rows are most of the noise.
    own: Any = draw(whole, generator).rows(rows.own(n), n)
    return own._make(x.to(like.device) for x in own)  # type: ignore[no-any-return]


def val_number(batch: dict[str, Any], batch_idx: int) -> tuple[int, bool]:
    """A validation batch's number in the pass, and whether it counts: a process without batches left repeats one."""
    number = batch.get("number", batch_idx)
    return (batch_idx, False) if number is None else (int(number), True)


def total_batches(module: pl.LightningModule) -> int:
    """Number of batches of the whole stage. Lightning's ``estimated_stepping_batches`` is smaller under
    accumulation."""
    trainer = module.trainer
    return int(trainer.num_training_batches) * max(1, int(trainer.max_epochs or 1))


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Context without gradients for these modules' parameters; restores their ``requires_grad`` afterwards."""
    held = [p for m in modules for p in m.parameters() if p.requires_grad]
    for p in held:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in held:
            p.requires_grad_(True)


def clip_each(networks: Iterable[nn.Module], max_norm: float) -> Tensor:
    """Clip each network's gradient separately at ``max_norm``; returns the norms before clipping (n,).

    The norms are on the networks' device. A network without gradients has norm 0, which torch returns on the CPU.
    """
    norms = []
    for network in networks:
        parameters = list(network.parameters())
        norm = nn.utils.clip_grad_norm_(parameters, max_norm).detach().float()
        norms.append(norm if norm.device == parameters[0].device else parameters[0].new_zeros(()).float())
    return torch.stack(norms)


def log_losses(
    module: pl.LightningModule, stream: str, losses: dict[str, Tensor], batch_size: int, counts: bool = True
) -> None:
    """Log a loss dict as ``stream/name``, over all processes: per step in training, else per epoch.

    A training step's losses are kept as ``module.step_losses``, for callbacks that check every step. In every process
    they are those of the whole batch, so that all processes see a NaN at the same time.

    Args:
        batch_size: rows of this process.
        counts: False for a validation batch that another process logs.
    """
    values = {f"{stream}/{k}": v.detach() for k, v in losses.items()}
    if stream != "train":
        module.log_dict(values, on_step=False, on_epoch=True, batch_size=batch_size if counts else 0, sync_dist=True)
        return
    rows = rows_of(module, stream)
    if rows.world > 1:
        wide = torch.float64 if any(v.dtype == torch.float64 for v in values.values()) else torch.float32
        means = rows.mean(torch.stack([v.to(wide) for v in values.values()]))
        values = dict(zip(values, means, strict=True))
    module.step_losses = values  # type: ignore[assignment]
    module.log_dict(values, on_step=True, on_epoch=False, batch_size=batch_size)


def music_of(batch: dict[str, Tensor]) -> Tensor:
    """Features of the whole sequences (b, 96, f) if the batch has them, else of 2 s from them (b, 30, f)."""
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
