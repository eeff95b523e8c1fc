"""Training speed and estimated ends of stage and run: in the progress bar, and one log line per epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

LOG = logging.getLogger("d2m.train")
#: Words in Lightning's messages that advertise its other products.
_ADVERTISED = ("litlogger", "litmodels")
#: Its messages about the machine, repeated for every Trainer; a run makes two per stage.
_REPEATED = ("GPU available", "TPU available", "HPU available", "Using ")
_SAID: set[str] = set()
#: Lightning's loggers.
_LIGHTNINGS = [logging.getLogger(f"{p}.utilities.rank_zero") for p in ("pytorch_lightning", "lightning_fabric")]


def _is_news(record: logging.LogRecord) -> bool:
    line = record.getMessage()
    if line in _SAID or any(word in line.lower() for word in _ADVERTISED):
        return False
    if line.startswith(_REPEATED):
        _SAID.add(line)
    return True


def silence_advertisements() -> None:
    """Drop Lightning's advertisements, and show its messages about the machine once per run; may be called again."""
    _SAID.clear()
    for logger in _LIGHTNINGS:
        logger.addFilter(_is_news)


@contextmanager
def nothing_said() -> Iterator[None]:
    """Silence Lightning around a Trainer that is only built to be checked."""
    levels = [logger.level for logger in _LIGHTNINGS]
    for logger in _LIGHTNINGS:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(_LIGHTNINGS, levels, strict=True):
            logger.setLevel(level)


def note(line: str, level: int = logging.INFO, only_to_file: bool = False) -> None:
    """Write a line to ``train.log``, and to the console unless ``only_to_file``."""
    record = LOG.makeRecord(LOG.name, level, __file__, 0, line, (), None)
    for handler in logging.getLogger().handlers:
        if not only_to_file or isinstance(handler, logging.FileHandler):
            handler.handle(record)


def clock(seconds: float) -> str:
    """h:mm:ss, preceded by days if there are any."""
    return str(timedelta(seconds=round(seconds)))


class Pace(pl.Callback):
    """Measures samples per second and the time left in this session; notes them and the losses every epoch.

    The estimated ends include validation, checkpoints and videos; samples per second (of all processes together) count
    training only. Later stages are assumed to take as long per sample as the slowest stage so far.

    Args:
        stage: its name.
        samples: per batch.
        samples_after: total of the stages that follow.
        slowest: seconds per sample of the slowest finished stage of this run; 0 if there is none.
        shown: a progress bar shows the pace on the console.
    """

    def __init__(
        self, stage: str, samples: int, samples_after: int = 0, slowest: float = 0.0, shown: bool = False
    ) -> None:
        self.stage, self.samples, self.samples_after, self.slowest = stage, samples, samples_after, slowest
        self.shown = shown
        self.rate = self.stage_left = self.run_left = float("nan")
        self.losses: dict[str, float] = {}
        self._began = self._epoch_began = 0.0
        self._n = self._n_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The epoch's start too: a resumed epoch has no on_train_epoch_start.
        self._began = self._epoch_began = time.monotonic()
        self._n = self._n_epoch = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_began, self._n_epoch = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        self._n, self._n_epoch = self._n + 1, self._n_epoch + 1
        self.rate = self._n_epoch * self.samples / max(now - self._epoch_began, 1e-9)
        left = max(0, trainer.max_epochs * trainer.num_training_batches - trainer.fit_loop.total_batch_idx - 1)
        each = (now - self._began) / self._n
        self.stage_left = left * each
        self.run_left = self.stage_left + self.samples_after * max(each / self.samples, self.slowest)
        if (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch:  # else it costs a sync
            self.losses = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        validated = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        values = ", ".join(f"{k} {v:.4g}" for k, v in {**self.losses, **validated}.items())
        ends = f"stage ends in {clock(self.stage_left)}, run in about {clock(self.run_left)}"
        epoch = f"{self.stage} {trainer.current_epoch + 1}/{trainer.max_epochs}"
        note(f"{epoch}: {values}; {self.rate:.0f} samples/s; {ends}", only_to_file=self.shown)


class PaceBar(RichProgressBar):
    """Lightning's progress bar with the stage, its main loss, samples per second and the time left of stage and run.

    Args:
        pace: the source of these numbers.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.pace = pace

    def _get_train_description(self, current_epoch: int) -> str:
        """Epochs are counted from 1, as in the log and in ``d2m runs``."""
        return f"{self.pace.stage} {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The total loss, or the reconstruction in the GAN, which has no total; then speed and times left."""
        shown: dict[str, Any] = {}
        for name in ("loss", "recon"):
            if f"train/{name}" in self.pace.losses:
                shown[name] = f"{self.pace.losses[f'train/{name}']:.3g}"
                break
        if self.pace.rate == self.pace.rate:
            shown["samples/s"] = f"{self.pace.rate:.0f}"
            shown["stage left"], shown["run left"] = clock(self.pace.stage_left), clock(self.pace.run_left)
        return shown

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Without the epoch's times and iterations per second: the rest fits two lines of 80 columns."""
        return super().configure_columns(trainer)[:-2]
