"""Moving average of the weights (EMA), used for validation, for dances, in the bundle and by stages that start here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from d2m.core.errors import D2MError


def check_decay(stage: str, decay: Any) -> None:
    """Raises D2MError if ``callbacks.ema.STAGE`` is invalid; None means no averaging."""
    is_number = isinstance(decay, int | float) and not isinstance(decay, bool)
    if decay is not None and not (is_number and 0 < decay < 1):
        raise D2MError(f"callbacks.ema.{stage}={decay}: give a number between 0 and 1, such as 0.999, or null")


class Averaging(WeightAveraging):
    """Keeps w <- decay w + (1 - decay) weights, updated after every batch that stepped, starting at the first's
    weights.

    A checkpoint's ``state_dict`` holds the averages, so every reader of checkpoints gets them; the weights being
    trained are stored under another key, for resuming. All processes have the same weights, hence the same averages.

    Args:
        decay: between 0 and 1; the average covers about 1 / (1 - decay) batches.
    """

    def __init__(self, decay: float) -> None:
        # Interpolated rather than summed, so that frozen networks stay bit-identical. Buffers are copied.
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        pl_module.averaging = self  # type: ignore[assignment]

    @contextmanager
    def used(self, module: torch.nn.Module) -> Iterator[None]:
        """Context in which the module holds the averages; afterwards it holds the weights being trained again."""
        self._swap_models(module)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self._swap_models(module)  # type: ignore[arg-type]


def averaging_of(decays: Mapping[str, float | None], stage: str) -> list[pl.Callback]:
    """The stage's callback, if ``callbacks.ema`` has a decay for it."""
    decay = decays.get(stage)
    return [] if decay is None else [Averaging(float(decay))]
