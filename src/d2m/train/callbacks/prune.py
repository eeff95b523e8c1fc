"""Gives hopeless trials of an Optuna sweep up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from d2m.core.errors import Pruned


@dataclass(frozen=True)
class SweepTrial:
    """Which trial of which sweep a run is.

    Attributes:
        folder: of the sweep.
        number: of the trial; it trains in ``folder/number``.
        pruner: of Optuna; None never gives up.
    """

    folder: Path
    number: int
    pruner: Any = None


class Prune(pl.Callback):
    """Tells the study the monitored value after every validation, and ends a trial that the pruner gives up.

    The step that trials are compared at is the epoch. A stage's last epoch is never pruned: the trial is complete.

    Args:
        trial: in the study of its folder.
        monitor: of the last stage; those before it are not compared.
    """

    def __init__(self, trial: SweepTrial, monitor: str) -> None:
        self.trial, self.monitor = trial, monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        value, epoch = trainer.callback_metrics.get(self.monitor), trainer.current_epoch + 1
        if value is None:
            return
        if self._report(float(value), epoch) and epoch != trainer.max_epochs:
            raise Pruned(f"{self.monitor} {float(value):.4g} after epoch {epoch}: earlier trials were better by then")

    def _report(self, value: float, epoch: int) -> bool:
        import optuna

        from d2m.train.study import open_study

        study = open_study(self.trial.folder, pruner=self.trial.pruner)
        (mine,) = (t for t in study.get_trials(deepcopy=False) if t.number == self.trial.number)
        if mine.state != optuna.trial.TrialState.RUNNING or not math.isfinite(value):
            return False  # resumed by hand after its end; a loss that is not finite ends the run by itself
        trial = optuna.trial.Trial(study, mine._trial_id)
        if epoch not in mine.intermediate_values:  # a trial that is gone on with may repeat its last epochs
            trial.report(value, step=epoch)
        return bool(trial.should_prune())
