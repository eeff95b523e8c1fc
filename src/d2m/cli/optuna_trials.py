"""The trials of an Optuna sweep: the next one, its worker, and its outcome."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import is_unsaid, runs_below
from d2m.cli.search_space import words
from d2m.core.errors import D2MError
from d2m.reports.runs.sweep import Trial
from d2m.train.study import JOURNAL, SeededByTrial, has_failed, open_study, tell_failed

#: Folder in which each running worker holds a lock file.
_WORKERS = ".workers"
#: Lock held while a worker chooses its trials or writes the sweep's summary.
_CHOICE = ".choice.lock"
#: A trial fails after its process has died without an error message this many times.
_ATTEMPTS = 3
_STATES = {
    TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}  # fmt: skip


class Trials:
    """The study in a sweep's folder, from the view of one of its workers.

    A trial belongs to the worker that took it. If that worker is gone and no process trains in the trial's folder,
    another worker takes it over and continues from its last checkpoint.

    Args:
        folder: of the sweep.
        fixed: overrides of every trial, key -> value.
        space: the search space, key -> distribution.
        direction: "minimize" or "maximize".
        n_trials: total of the study, over all workers.
    """

    def __init__(
        self, folder: Path, fixed: Mapping[str, str], space: Mapping[str, BaseDistribution], direction: str,
        n_trials: int,
    ) -> None:  # fmt: skip
        self.folder, self.fixed, self.space = folder, dict(fixed), dict(space)
        self.direction, self.n_trials = direction, n_trials
        self._worker = f"{platform.node()}-{os.getpid()}-{os.urandom(3).hex()}"

    @contextmanager
    def open(self, sampler: Callable[..., Any], seed: int, begin: Callable[[], object]) -> Iterator[None]:
        """Open or create the study, and be one of its workers inside the block.

        Args:
            sampler: called with ``seed``, returns an Optuna sampler.
            begin: called once the folder is known to belong to this sweep, when only the lock has been written.

        Raises:
            D2MError: the folder holds another sweep, or runs that belong to no sweep, or cannot be written.
        """
        if not (self.folder / JOURNAL).is_file() and next(runs_below(self.folder), None) is not None:
            raise D2MError(
                f"{self.folder}: holds runs, but no {JOURNAL}: it is not an Optuna sweep; choose another "
                "hydra.sweep.dir"
            )
        try:
            (self.folder / _WORKERS).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise D2MError(
                f"{self.folder}: cannot write the sweep here ({e.strerror}); choose another hydra.sweep.dir"
            ) from e
        mine = self.folder / _WORKERS / self._worker
        with FileLock(mine):
            try:
                with self.alone():
                    self.study = open_study(self.folder, self.direction, SeededByTrial(sampler, seed))
                    self._check_same()
                    begin()
                yield
            finally:
                mine.unlink(missing_ok=True)

    def take(self, n: int) -> dict[int, dict[str, str]]:
        """Up to ``n`` next trials for this worker, abandoned ones first: number -> overrides; {} if none are left."""
        taken: dict[int, dict[str, str]] = {}
        with self.alone():
            trials = self.study.get_trials(deepcopy=False)
            for trial in (t for t in trials if t.state == TrialState.RUNNING and self._abandoned(t)):
                attempts = int(trial.user_attrs.get("attempts", 1)) + 1
                if attempts > _ATTEMPTS:
                    error = f"its process ended without a word, {_ATTEMPTS} times"
                    self.tell(Trial(str(trial.number), self._folder(trial), {}, "failed", error=error))
                elif len(taken) < n and trial.params.keys() == self.space.keys():
                    self._mine(optuna.trial.Trial(self.study, trial._trial_id), attempts)
                    taken[trial.number] = self._overrides(trial.params)
                elif trial.params.keys() != self.space.keys():  # killed while it was drawn
                    error = "its process ended before it began"
                    self.tell(Trial(str(trial.number), self._folder(trial), {}, "failed", None, error, by_chance=True))
            while len(taken) < n and len(self.study.get_trials(deepcopy=False)) < self.n_trials:
                drawn = self.study.ask(self.space)
                self._mine(drawn, 1)
                taken[drawn.number] = self._overrides(drawn.params)
        return taken

    def tell(self, ended: Trial) -> None:
        """Report a trial's outcome to the study: done, pruned or failed. The trial's name is its number."""
        (trial,) = (t for t in self.study.get_trials(deepcopy=False) if t.number == int(ended.name))
        if ended.error is not None:
            optuna.trial.Trial(self.study, trial._trial_id).set_user_attr("error", ended.error)
        if ended.state == "failed":
            tell_failed(self.study, trial.number, teaches=not ended.by_chance)
        else:
            states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
            self.study.tell(trial.number, ended.value, state=states[ended.state])

    def so_far(self) -> list[Trial]:
        """All trials of the study, including those of other workers."""
        return [
            Trial(
                str(t.number), self._folder(t), words(t.params), "failed" if has_failed(t) else _STATES[t.state],
                t.value if t.state == TrialState.COMPLETE else None, t.user_attrs.get("error"),
            )
            for t in self.study.get_trials(deepcopy=False)
        ]  # fmt: skip

    def _folder(self, trial: FrozenTrial) -> Path:
        return self.folder / str(trial.number)

    def _overrides(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {**self.fixed, **words(params)}

    def _mine(self, trial: optuna.trial.Trial, attempts: int) -> None:
        trial.set_user_attr("worker", self._worker)
        trial.set_user_attr("attempts", attempts)

    def _abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker == self._worker or RunFolder(self._folder(trial)).in_use():
            return False
        held = self.folder / _WORKERS / str(worker)
        if worker is None or not held.is_file():
            return True
        try:
            with FileLock(held, timeout=0):
                return True
        except Timeout:
            return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Context in which no other worker chooses trials or summarises the sweep."""
        with FileLock(self.folder / _CHOICE):
            yield

    def _check_same(self) -> None:
        """Check that the study was created with this command's settings.

        Raises:
            D2MError: it was created with other settings.
        """
        asked = {f"{k}={v}" for k, v in self.fixed.items() if not is_unsaid(k)}
        swept = {k: json.loads(distribution_to_json(d)) for k, d in self.space.items()}
        told = {"fixed": sorted(asked), "space": swept, "direction": self.direction}
        before = self.study.user_attrs.get("sweep")
        if before is None:
            self.study.set_user_attr("sweep", told)
        elif json.loads(json.dumps(told)) != before:
            other = sorted(asked ^ set(before["fixed"]))
            other += [k for k in {*swept, *before["space"]} if swept.get(k) != before["space"].get(k)]
            named = ", ".join(other) or f"direction={before['direction']}"
            raise D2MError(
                f"{self.folder}: holds a sweep that differs in {named}; choose another hydra.sweep.dir to begin a new "
                "one"
            )
