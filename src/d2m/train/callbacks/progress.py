"""Metadata in a stage's checkpoints, and the progress that must survive a killed session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from d2m.core.files import write_json
from d2m.train.checkpoints import GENRES


class GenreNames(pl.Callback):
    """Writes the names of the corpus's genres to every checkpoint, so that classes are checked by name, not just
    count."""

    def __init__(self, genres: Sequence[str]) -> None:
        self.genres = list(genres)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[GENRES] = list(self.genres)


class Progress(pl.Callback):
    """Maintains ``progress.json`` next to the checkpoints: warm start, seconds of all sessions, last metrics.

    A run that was killed and resumed thus reports the same origin as an uninterrupted one.

    Args:
        path: the file.
        before: its contents when this session began, or the warm start of a new stage.
    """

    def __init__(self, path: Path, before: Mapping[str, Any]) -> None:
        self.path = path
        self.warm_start: dict[str, str] = dict(before.get("warm_start", {}))
        self._seconds, self._metrics = float(before.get("seconds", 0.0)), dict(before.get("metrics", {}))
        self._began = time.monotonic()

    def facts(self, trainer: pl.Trainer) -> dict[str, Any]:
        """The current warm_start, seconds and metrics."""
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        return {
            "warm_start": self.warm_start, "seconds": self._seconds + time.monotonic() - self._began,
            "metrics": {**self._metrics, **metrics},
        }  # fmt: skip

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            write_json(self.path, self.facts(trainer))
