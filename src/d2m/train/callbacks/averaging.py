"""Weights averaged over batches (EMA), with which a stage is validated, danced with, released and warm-started from."""

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
    """Raises D2MError for an invalid ``callbacks.ema.STAGE``; None is none."""
    is_number = isinstance(decay, int | float) and not isinstance(decay, bool)
    if decay is not None and not (is_number and 0 < decay < 1):
        raise D2MError(f"callbacks.ema.{stage}={decay}: give a number between 0 and 1, such as 0.999, or null")


class Averaging(WeightAveraging):
    """Keeps w <- decay w + (1 - decay) weights after every batch that stepped, beginning with the first one's weights.

    A checkpoint's ``state_dict`` holds the averages, so that whatever reads weights reads them; the weights that are
    trained lie beside it, for a resumed stage. All processes have the same averages, as they have the same weights.

    Args:
        decay: between 0 and 1; the average reaches back some 1 / (1 - decay) batches.
    """

    def __init__(self, decay: float) -> None:
        # Interpolated rather than summed: frozen networks stay what they are to the bit. Buffers are copied.
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        pl_module.averaging = self  # type: ignore[assignment]

    @contextmanager
    def used(self, module: torch.nn.Module) -> Iterator[None]:
        """The module has the averages inside, the weights that are trained afterwards."""
        self._swap_models(module)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self._swap_models(module)  # type: ignore[arg-type]


def averaging_of(decays: Mapping[str, float | None], stage: str) -> list[pl.Callback]:
    """The stage's callback, if ``callbacks.ema`` has a decay for it."""
    decay = decays.get(stage)
    return [] if decay is None else [Averaging(float(decay))]
