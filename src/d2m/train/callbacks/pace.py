"""How fast a stage trains and when it and the run will be done: in the progress bar, and a line an epoch in the log."""

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
#: Of Lightning's lines, those that advertise its other products.
_ADVERTISED = ("litlogger", "litmodels")
#: What it says of the machine, for every Trainer: a run makes two for each stage.
_REPEATED = ("GPU available", "TPU available", "HPU available", "Using ")
_SAID: set[str] = set()
#: Its loggers.
_LIGHTNINGS = [logging.getLogger(f"{p}.utilities.rank_zero") for p in ("pytorch_lightning", "lightning_fabric")]


def _is_news(record: logging.LogRecord) -> bool:
    line = record.getMessage()
    if line in _SAID or any(word in line.lower() for word in _ADVERTISED):
        return False
    if line.startswith(_REPEATED):
        _SAID.add(line)
    return True


def silence_advertisements() -> None:
    """Let Lightning's loggers drop them, and say once a run what the machine has; may be called again."""
    _SAID.clear()
    for logger in _LIGHTNINGS:
        logger.addFilter(_is_news)


@contextmanager
def nothing_said() -> Iterator[None]:
    """Around a Trainer that trains nothing: Lightning says what the machine has when the first one trains."""
    levels = [logger.level for logger in _LIGHTNINGS]
    for logger in _LIGHTNINGS:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(_LIGHTNINGS, levels, strict=True):
            logger.setLevel(level)


def note(line: str, level: int = logging.INFO, only_to_file: bool = False) -> None:
    """A line in ``train.log``, and on the console unless something else shows it there."""
    record = LOG.makeRecord(LOG.name, level, __file__, 0, line, (), None)
    for handler in logging.getLogger().handlers:
        if not only_to_file or isinstance(handler, logging.FileHandler):
            handler.handle(record)


def clock(seconds: float) -> str:
    """h:mm:ss, with days before it."""
    return str(timedelta(seconds=round(seconds)))


class Pace(pl.Callback):
    """Samples per second and the time left, of this session's clock; losses, pace and ends are noted every epoch.

    A batch's time counts validation, checkpoints and videos for the ends, and training only for the samples per second
    (those of all processes). The stages after this one are guessed to take as long per sample as the slowest so far.

    Args:
        stage: its name.
        samples: of a batch.
        samples_after: of the stages that follow.
        slowest: seconds per sample of the slowest stage that this run has finished; 0: none.
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
        # Of the epoch as well: one that is resumed has no start.
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
        if (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch:  # elsewhere it would cost a sync
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
    """Lightning's bar with stage, main loss, samples per second and both ends.

    Args:
        pace: where it reads them.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self.pace = pace

    def _get_train_description(self, current_epoch: int) -> str:
        """Epochs are counted from 1, as in the log and in ``d2m runs``."""
        return f"{self.pace.stage} {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Of the losses the whole one, of the GAN, which has none, the reconstruction."""
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
