"""An Optuna study on disk, in a sweep's folder: trial N trains in subfolder N, beside the journal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState

#: The study's record in the sweep's folder; workers append to it.
JOURNAL = "study.journal"
#: Name of the journal's only study.
_NAME = "sweep"
#: Optuna constraint that is violated by trials that failed because of their own values.
_TRAINS = "trains"


class SeededByTrial(BaseSampler):
    """A sampler whose draws for trial N depend only on the seed, N and the trials told so far.

    A single seed for the sampler would repeat the same draws in every worker and every session of a sweep. As long as
    all trials have failed, draws are random: TPE would draw near the failed trial it happens to rank first.

    Args:
        make: builds a sampler from ``seed``.
    """

    def __init__(self, make: Callable[..., BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._sampler: BaseSampler = RandomSampler(seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        digest = hashlib.sha256(f"{self._seed} {trial.number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        self._sampler = self._make(seed=seed)
        if isinstance(self._sampler, TPESampler) and not study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE,)
        ):
            self._sampler = RandomSampler(seed)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)


def tell_failed(study: optuna.Study, number: int, teaches: bool) -> None:
    """Report a failed trial to its study.

    Optuna's samplers ignore trials in the state FAIL and would keep drawing such values. A trial that failed because of
    its own values is therefore reported as PRUNED with a violated constraint, which ranks it below all others.

    Args:
        teaches: whether its own values made it fail, rather than the machine.
    """
    (trial,) = (t for t in study.get_trials(deepcopy=False) if t.number == number)
    if teaches:
        Trial(study, trial._trial_id).set_constraint(_TRAINS, 1.0)
    study.tell(number, state=TrialState.PRUNED if teaches else TrialState.FAIL)


def has_failed(trial: FrozenTrial) -> bool:
    """Whether a trial failed, in either of the two ways of :func:`tell_failed`."""
    return trial.state == TrialState.FAIL or trial.constraints.get(_TRAINS, 0.0) > 0


class _Journal(JournalFileBackend):
    """Optuna's journal, which removes half a line from its end before it appends.

    A full disk or a power failure can leave half a line. Optuna ignores it as long as it is the last one, but cannot
    read the study any more once another line follows.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._one_writer = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), lock_obj=self._one_writer)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._one_writer.acquire()
        try:
            with open(self._path, "rb+") as f:
                f.seek(max(f.seek(0, os.SEEK_END) - 1, 0))
                if f.read() not in (b"", b"\n"):
                    f.seek(0)
                    f.truncate(f.read().rfind(b"\n") + 1)
        finally:
            self._one_writer.release()
        super().append_logs(logs)


def open_study(
    folder: Path, direction: Any = None, sampler: BaseSampler | None = None, pruner: BasePruner | None = None
) -> optuna.Study:
    """The study of a sweep's folder.

    Args:
        direction: "minimize" or "maximize", to create the study if there is none; None: it must exist.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(_Journal(folder / JOURNAL))
    chosen: dict[str, Any] = {"sampler": sampler or RandomSampler(), "pruner": pruner or NopPruner()}
    if direction is None:
        return optuna.load_study(study_name=_NAME, storage=storage, **chosen)
    return optuna.create_study(study_name=_NAME, storage=storage, direction=direction, load_if_exists=True, **chosen)


def importances(rows: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    """Parameter -> share of the values' variance that it explains (fANOVA, Hutter et al. 2014), largest first.

    Args:
        rows: parameters as override strings, and the trial's value. Constant parameters are left out.

    Returns:
        {} if there are fewer than four rows, or if all values or all parameters are the same.
    """
    keys = [k for k in dict.fromkeys(k for params, _ in rows for k in params) if len({p.get(k) for p, _ in rows}) > 1]
    if len(rows) < 4 or not keys or len({value for _, value in rows}) == 1:
        return {}
    columns = {key: _column([str(params.get(key, "")) for params, _ in rows]) for key in keys}
    study = optuna.create_study()
    for i, (_, value) in enumerate(rows):
        params = {key: values[i] for key, (values, _) in columns.items()}
        distributions = {key: distribution for key, (_, distribution) in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {k: float(v) for k, v in optuna.importance.get_param_importances(study, evaluator=evaluator).items()}


def _column(values: list[str]) -> tuple[list[Any], BaseDistribution]:
    try:
        numbers = [float(v) for v in values]
        return numbers, FloatDistribution(min(numbers), max(numbers), log=min(numbers) > 0)
    except ValueError:
        return values, CategoricalDistribution(sorted(set(values)))
