"""How a stage ends: its last checkpoint, and SIGINT and SIGTERM, after which a whole one lies in the run's folder."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from d2m.bundle.passport import slurm_job
from d2m.core.machine import is_rank_zero
from d2m.train.requeue import SIGNALS, Cut, end_by

#: Processes look whether one of them was told to end every so many batches: it costs a word between them.
TOGETHER = 8


class LastCheckpoint(Checkpoint):
    """Writes ``last.ckpt`` every N epochs, after the stage's last one, and when a signal ends it within an epoch.

    Args:
        path: of the file.
        every_n_epochs: at least 1.
    """

    def __init__(self, path: Path, every_n_epochs: int) -> None:
        self.path, self.every_n_epochs = path, every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        ends = epochs == trainer.max_epochs or (trainer.received_sigterm and _stand_together(trainer))
        if not trainer.fast_dev_run and (ends or epochs % self.every_n_epochs == 0):  # type: ignore[attr-defined]
            self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Between two batches. Gradients that are still being accumulated are in no checkpoint."""
        if not isinstance(exception, SIGTERMException) or not trainer.training or not _stand_together(trainer):
            return
        epoch = trainer.fit_loop.epoch_loop
        done = epoch.batch_progress.current.completed
        if 0 < done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:  # curves up to here: what is resumed does not draw them again
            logger.save()
        trainer.save_checkpoint(self.path, weights_only=False)


def _stand_together(trainer: pl.Trainer) -> bool:
    """Whether every process is at the same batch; if not, they would wait for each other."""
    return trainer.world_size == 1 or any(isinstance(c, Signals) and c.together for c in trainer.callbacks)  # type: ignore[attr-defined]


class Signals(pl.Callback):
    """Ctrl-C and, in a job of SLURM, the signals of :mod:`d2m.train.requeue` end training after the batch, as SIGTERM
    does; a second Ctrl-C at once. Several processes end at the same batch, whichever of them was told."""

    #: The signal that ended training.
    number: int | None = None
    #: Several processes agreed on the batch.
    together = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning puts back what was there before when the stage is over.
        if threading.current_thread() is not threading.main_thread():
            return
        self._several = trainer.world_size > 1
        numbers = [signal.SIGINT, *(SIGNALS if slurm_job() else ()), *([signal.SIGTERM] if self._several else [])]
        for number in numbers:
            signal.signal(number, self._end)

    def _end(self, number: int, frame: Any) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number
        if is_rank_zero() and number == signal.SIGINT:
            print("\nstopping after this batch; Ctrl-C again stops at once", file=sys.stderr)
        if not self._several:  # Lightning would talk to the other processes from within the handler
            signal.raise_signal(signal.SIGTERM)

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size == 1 or not ((batch_idx + 1) % TOGETHER == 0 or trainer.is_last_batch):
            return
        if trainer.strategy.reduce_boolean_decision(self.number is not None, all=False):
            self.together = trainer._signal_connector.received_sigterm = True

    def cut(self, end: SystemExit, trainer: pl.Trainer, stage: str, last: Path) -> Cut:
        """The end of the run, with a line on stderr that says how to go on.

        Args:
            end: what Lightning raised.
            last: the stage's last checkpoint.
        """
        number = self.number or (signal.SIGTERM if isinstance(end, SIGTERMException) else signal.SIGINT)
        cut = end if isinstance(end, Cut) else end_by(number)
        if trainer.is_global_zero:
            number = int(str(cut.code)) - 128
            kept = f"{last} is whole" if last.is_file() else "the stage has no checkpoint yet"
            resume = "" if cut.requeue else f"; d2m train resume={shlex.quote(str(last.parents[2]))} goes on"
            at = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            print(f"{signal.Signals(number).name} ended stage {stage} in {at}; {kept}{resume}", file=sys.stderr)
        return cut
