"""Pruning: stops unpromising trials of an Optuna sweep early."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from d2m.core.errors import Pruned


@dataclass(frozen=True)
class SweepTrial:
    """The sweep's trial that a run belongs to.

    Attributes:
        folder: of the sweep.
        number: of the trial; it trains in ``folder/number``.
        pruner: Optuna's; None never prunes.
    """

    folder: Path
    number: int
    pruner: Any = None


class Prune(pl.Callback):
    """Reports the monitored value to the study after every validation, and ends the trial if the pruner says so.

    Trials are compared by epoch. A stage's last epoch is never pruned, since the trial is complete by then.

    Args:
        trial: in the study of its folder.
        monitor: metric of the last stage; earlier stages are not compared.
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
            return False  # resumed by hand after its end, or not finite: a non-finite loss ends the run anyway
        trial = optuna.trial.Trial(study, mine._trial_id)
        if epoch not in mine.intermediate_values:  # a resumed trial may repeat its last epochs
            trial.report(value, step=epoch)
        return bool(trial.should_prune())
