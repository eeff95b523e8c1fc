"""Small guards around training: it stops at a NaN, the batch counter is logged, train/eval modes are restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.train.callbacks.loggers import define_batch_axis


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Context in evaluation mode, with averaged weights if the stage keeps them; afterwards both are restored."""
    modes = [(m, m.training) for m in module.modules()]
    averaging: Any = getattr(module, "averaging", None)
    module.eval()
    try:
        with averaging.used(module) if averaging is not None else nullcontext():
            yield
    finally:
        for m, mode in modes:
            m.training = mode


class StopOnNaN(pl.Callback):
    """Stops with one line when a training loss is not finite, and saves the batch in which it first was not.

    Checks at batches whose losses are logged; until then the flags stay on the device, so that no extra sync is needed.
    Losses that were not finite in between but are finite at the check do not stop training.

    Args:
        stage: its name.
        path: of the saved batch.
    """

    def __init__(self, stage: str, path: Path) -> None:
        self.stage, self.path = stage, path
        self._since: list[tuple[int, list[str], Tensor]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since.clear()

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        losses: dict[str, Tensor] = pl_module.step_losses  # type: ignore[assignment]
        self._since.append((batch_idx, list(losses), torch.stack([v.float() for v in losses.values()]).isfinite()))
        if (batch_idx + 1) % trainer.log_every_n_steps and not trainer.is_last_batch:
            return
        if bool(self._since[-1][2].all()):
            self._since.clear()
            return
        first, names, finite = next(seen for seen in self._since if not bool(seen[2].all()))
        bad = sorted(name for name, ok in zip(names, finite.tolist(), strict=True) if not ok)
        if trainer.is_global_zero:
            self._save(trainer, batch if first == batch_idx and trainer.world_size == 1 else None, first, bad)
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        exact = "" if trainer.precision in ("32-true", "64-true") else ", or train in trainer.precision=32-true"
        raise D2MError(
            f"stage {self.stage}: {shown} became NaN or infinite at epoch {trainer.current_epoch}, batch {first}; the "
            f"batch is in {self.path}; lower the learning rate (model.{self.stage}.optimizer.lr){exact}"
        )

    def _save(self, trainer: Any, batch: Any, batch_idx: int, bad: list[str]) -> None:
        """Save the batch as the networks got it. An earlier batch, or one shared with other processes, is drawn again:
        a batch is a function of its key."""
        data = trainer.datamodule
        if batch is None and data is not None:
            loader = trainer.train_dataloader
            raw = loader.dataset.whole(loader.sampler.key(trainer.current_epoch, batch_idx))
            batch = data.on_after_batch_transfer(raw)
        facts = {"stage": self.stage, "epoch": trainer.current_epoch, "batch_idx": batch_idx, "not_finite": bad}
        with atomic_path(self.path) as temp:
            torch.save({**facts, "batch": batch}, temp)


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
