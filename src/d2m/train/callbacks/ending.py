"""How a stage ends: its last checkpoint, also after SIGINT and SIGTERM, which leave a complete one."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from d2m.bundle.passport import slurm_job
from d2m.core.machine import is_rank_zero
from d2m.train.early import SIGNALS, waiting
from d2m.train.requeue import Cut, end_by


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
        ends = epochs == trainer.max_epochs or trainer.received_sigterm
        if not trainer.fast_dev_run and (ends or epochs % self.every_n_epochs == 0):  # type: ignore[attr-defined]
            self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Called between two batches, the same in all processes (see :class:`Signals`). Accumulated gradients that have
        not been applied yet are not saved."""
        if not isinstance(exception, SIGTERMException) or not trainer.training:
            return
        epoch = trainer.fit_loop.epoch_loop
        done = epoch.batch_progress.current.completed
        if 0 < done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:  # save the curves: a resumed run does not log these points again
            logger.save()
        trainer.save_checkpoint(self.path, weights_only=False)


class Signals(pl.Callback):
    """Ends training after the current batch on Ctrl-C, SIGTERM and, in a SLURM job, the signals of
    :mod:`d2m.train.requeue`; a second Ctrl-C ends it at once.

    All processes end after the same batch, whichever of them got the signal. On a GPU they exchange this only at
    batches whose losses are logged, because the exchange waits for the device. Lightning's own handler communicates
    from within the signal handler, whatever the other processes are doing, and its loop does so at every batch.
    """

    #: Number of the signal that ended training; None before that.
    number: int | None = None

    def __init__(self) -> None:
        self._asked = 0

    @property
    def asked(self) -> bool:
        """Whether this process has been asked to end; the others may not know of it yet."""
        return bool(self._asked or self.number)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.on_train_start(trainer, pl_module)

    def on_train_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        # Lightning restores the previous handlers when the stage ends.
        if threading.current_thread() is threading.main_thread():
            several = trainer.world_size > 1
            signal.signal(signal.SIGINT, self._interrupt)
            for number in SIGNALS if slurm_job() else ():
                signal.signal(number, self._ask if several else self._interrupt)
            # Without the handlers that were there before, which Lightning would call as well.
            signal.signal(signal.SIGTERM, self._ask if several else trainer._signal_connector._sigterm_notifier_fn)
            if (lost := waiting()) is not None:  # between two stages
                signal.raise_signal(lost)
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = self.number or number

    def on_train_batch_end(
        self, trainer: Any, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        logged = (batch_idx + 1) % trainer.log_every_n_steps == 0 or trainer.is_last_batch
        if logged or pl_module.device.type == "cpu":
            self._agree(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._agree(trainer, pl_module)  # after validation

    def _agree(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        if trainer.world_size == 1:
            return
        asked = torch.tensor([self._asked], device=pl_module.device)
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        if number := int(asked):
            self.number = number
            trainer._signal_connector.received_sigterm = True

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.number is not None:
            if number in SIGNALS:
                return
            raise KeyboardInterrupt
        self.number = number
        if is_rank_zero() and number == signal.SIGINT:
            print("\nstopping after this batch; Ctrl-C again stops at once", file=sys.stderr)
        signal.raise_signal(signal.SIGTERM)

    def cut(self, end: SystemExit, trainer: Any, stage: str, last: Path) -> Cut:
        """The exception that ends the run, after a line on stderr that says how to resume.

        Args:
            end: the exception that Lightning raised.
            last: the stage's last checkpoint.
        """
        number = self.number or (signal.SIGTERM if isinstance(end, SIGTERMException) else signal.SIGINT)
        cut = end if isinstance(end, Cut) else end_by(number)
        if trainer.is_global_zero:
            kept = f"{last} is complete" if last.is_file() else "the stage has no checkpoint yet"
            resume = "" if cut.requeue else f"; resume with: d2m train resume={shlex.quote(str(last.parents[2]))}"
            epoch = trainer.fit_loop.epoch_progress.current
            at = f"after epoch {epoch.processed}" if epoch.processed == epoch.ready else f"in epoch {epoch.ready}"
            line = f"{signal.Signals(cut.number).name} ended stage {stage} {at} of {trainer.max_epochs}; {kept}{resume}"
            print(line, file=sys.stderr)
        cut.told = True
        return cut
