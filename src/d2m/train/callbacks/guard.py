"""Small guards around training: a NaN stops it early, the batch counter is logged, modes are put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch

from d2m.core.errors import D2MError
from d2m.train.callbacks.loggers import define_batch_axis


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every submodule is in the mode that it was in."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


class StopOnNaN(pl.Callback):
    """Stops with one line when a training loss is not finite; looks where losses are logged, so it costs no sync."""

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.log_every_n_steps and not trainer.is_last_batch:
            return
        losses = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        if losses and not bool(torch.stack([v.float() for v in losses.values()]).isfinite().all()):
            bad = sorted(k for k, v in losses.items() if not bool(v.isfinite()))
            raise D2MError(
                f"{', '.join(bad)} became NaN or infinite at epoch {trainer.current_epoch}; "
                "lower the learning rate of this stage, or train in trainer.precision=32-true"
            )


class BatchCounter(pl.Callback):
    """Logs ``batch``, the number of batches trained on: the x axis of all curves."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                define_batch_axis(logger)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        pl_module.log("batch", float(trainer.fit_loop.total_batch_idx))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            pl_module.log("batch", float(trainer.fit_loop.total_batch_idx))
