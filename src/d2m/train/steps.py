"""What the training steps of the stages share: seeded noise, frozen networks, clipping, gradients' norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from d2m.nets.rows import ALONE, Rows

#: Training, validation and test draw from streams that never meet.
_STREAMS = {"train": 0, "val": 1, "predict": 2}
#: noise=...: where it is drawn. On the CPU a seed means the same noise on every machine.
NOISE = ("cpu", "device")


class Noise(Protocol):
    """A named tuple of a batch's draws."""

    def __iter__(self) -> Iterator[Tensor]: ...
    def rows(self, own: slice, n: int) -> Any:
        """Those of some of the batch's ``n`` rows."""


N = TypeVar("N", bound=Noise)


def rows_of(module: pl.LightningModule, stream: str) -> Rows:
    """This process's rows of a batch. Training shares batches among the processes; validation deals them out whole."""
    trainer = getattr(module, "_trainer", None)
    return ALONE if stream != "train" or trainer is None else Rows(trainer.global_rank, trainer.world_size)


def step_generator(module: pl.LightningModule, stream: str, batch: int, seed: int) -> torch.Generator:
    """The generator of one batch, a function of (seed, stream, epoch, batch).

    So a resumed epoch equals an undisturbed one, and two processes draw what one draws.

    Validation is the same at every epoch, so that its curve shows the model and not the noise. In prediction, whose
    batches anybody may deal out, the rank counts too.

    Args:
        batch: its number in the epoch, of validation in the pass.
    """
    epoch = module.current_epoch if stream == "train" else 0
    key = (_STREAMS[stream], epoch, batch, module.global_rank if stream == "predict" else 0)
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    device = module.device if getattr(module, "noise", "cpu") == "device" else "cpu"
    return torch.Generator(device).manual_seed(int(state[0]))


def draw_noise(
    module: pl.LightningModule, draw: Callable[[Tensor, torch.Generator], N], like: Tensor, stream: str, batch: int
) -> N:
    """This process's rows of the noise of a whole batch.

    Args:
        draw: of the noise for a batch like a tensor (n, ...), from a generator.
        like: (b, ...) this process's rows; what is drawn comes to its device.
        batch: as of :func:`step_generator`.
    """
    generator = step_generator(module, stream, batch, module.hparams["seed"])
    rows = rows_of(module, stream)
    if rows.world == 1:
        return draw(like, generator)
    n = rows.world * len(like)
    whole = torch.empty(1, dtype=like.dtype, device=generator.device).expand(n, *like.shape[1:])
    # Chosen before they are moved: the other rows are most of it.
    own: Any = draw(whole, generator).rows(rows.own(n), n)
    return own._make(x.to(like.device) for x in own)  # type: ignore[no-any-return]


def val_number(batch: dict[str, Any], batch_idx: int) -> tuple[int, bool]:
    """A validation batch's number in the pass, and whether it counts: a process that has none left repeats one."""
    number = batch.get("number", batch_idx)
    return (batch_idx, False) if number is None else (int(number), True)


def total_batches(module: pl.LightningModule) -> int:
    """Of the whole stage. Lightning's ``estimated_stepping_batches`` counts fewer if gradients are accumulated."""
    trainer = module.trainer
    return int(trainer.num_training_batches) * max(1, int(trainer.max_epochs or 1))


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
    """Clip every network's gradient at ``max_norm`` on its own; returns the norms before clipping (n,).

    They are on the networks' device. That of a network without gradients is 0; torch gives it on the CPU.
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
    """Log a loss dict as ``stream/name``: per step while training, per epoch otherwise; of all processes.

    A training step's stay with the module as ``step_losses``: what looks at each of them need not ask Lightning. They
    are the whole batch's in every process, which thus see a NaN at the same time.

    Args:
        batch_size: rows of this process.
        counts: False of a validation batch that another process has.
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
