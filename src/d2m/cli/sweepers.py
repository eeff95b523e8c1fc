"""Hydra sweepers for grids and for Optuna: failing trials do not end a sweep, and every sweep ends with a summary.

They are registered in ``hydra_plugins.d2m_sweepers``, because Hydra only searches there.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from d2m.bundle.passport import reason
from d2m.bundle.run_folder import SWEEP, RunFolder
from d2m.cli.resume import differing
from d2m.cli.trial_outcomes import finish, judged_by, outcome
from d2m.core.errors import D2MError
from d2m.reports.runs.read import read_run
from d2m.reports.runs.sweep import Trial
from d2m.train.objective import check_objective
from d2m.train.stage import in_order

#: Error of a trial without an objective value.
_UNMEASURED = "its objective was never measured; validate at least once: fit.STAGE.check_val_every_n_epoch"
#: Interval at which runs that outlived a failed launcher are checked.
_LOOK_SECONDS = 5.0


def check_whole(config: DictConfig, swept: Iterable[str]) -> None:
    """Check that a sweep's stages and objective are valid, unless they are swept: otherwise every trial would be
    refused.

    Args:
        config: of the sweep. swept: keys in which its trials differ.

    Raises:
        D2MError: they are invalid.
    """
    if "stages" in config and "stages" not in swept:
        in_order(list(config.stages))
        if "objective" not in swept:
            check_objective(config)


def check_same_sweep(folder: Path, jobs: Sequence[Sequence[str]]) -> None:
    """Check that the runs in a sweep's folder were started with the same overrides as its jobs.

    Raises:
        D2MError: they belong to another sweep, whose sweep.json would be overwritten.
    """
    for n, job in enumerate(jobs):
        if other := differing(RunFolder(folder / str(n)), job):
            raise D2MError(
                f"{folder}: holds another sweep, whose run {n} differs in {', '.join(other)}; choose another "
                "hydra.sweep.dir to begin a new one"
            )


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper (all combinations, in the given order) with another treatment of failed trials.

    A sweep that is called again with its ``hydra.sweep.dir`` continues: finished runs are not trained again, and those
    that another process trains are left to it. The exit code is 1 if a trial failed.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        # Not super().__init__(): it refers to Hydra's class by name, which Hydra's plugin search may have replaced.
        self.overrides = None
        self.batch_index, self.max_batch_size, self.params = 0, max_batch_size, params or {}
        self.hydra_context = self.config = self.launcher = None

    def sweep(self, arguments: list[str]) -> Any:
        """Raises SystemExit(1) at the end if a trial failed."""
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        swept = {o.get_key_element() for o in overrides if o.is_sweep_override()}
        self.overrides = self.split_arguments(overrides, self.max_batch_size)
        check_whole(self.config, swept)
        trains = "stages" in self.config  # only train has an objective
        if trains and self.config.resume is None:
            check_same_sweep(Path(self.config.hydra.sweep.dir), [job for batch in self.overrides for job in batch])
        folder = begin_folder(self.config)
        trials: list[Trial] = []
        while not self.is_done():
            batch = self.get_job_batch()
            self.validate_batch_is_legal(batch)
            with cut_short(folder):
                runs = [RunFolder(folder / str(len(trials) + i)) for i in range(len(batch))]
                returns = launch(self.launcher, batch, len(trials), runs)
            for job, run, returned in zip(batch, runs, returns, strict=True):
                params = dict(pair.split("=", 1) for pair in job if pair.split("=", 1)[0] in swept)
                trials.append(outcome(run.path.name, run, params, returned) if trains else
                              Trial(run.path.name, run.path, params, *_ended(returned)))  # fmt: skip
            if trains:
                trials = [_again(trial) for trial in trials]
                finish(folder, self.config, trials, out=self.is_done())
        failed = [t for t in trials if t.state == "failed"]
        if failed and not trains:
            for trial in failed:
                print(f"job {trial.name} failed: {trial.error}", file=sys.stderr)
        if failed:
            raise SystemExit(1)


def _again(trial: Trial) -> Trial:
    """A trial, read again if another process trained it when its turn came and has ended by now."""
    run = RunFolder(trial.folder)
    return trial if trial.state != "running" or _goes_on(run) else outcome(trial.name, run, trial.params, None)


def _ended(returned: JobReturn | None) -> tuple[str, None, str | None]:
    if returned is not None and returned.status == JobStatus.COMPLETED:
        return "done", None, None
    return "failed", None, "its job was lost" if returned is None else reason(returned._return_value)


@contextmanager
def cut_short(folder: Path) -> Iterator[None]:
    """Context that prints how to continue if a signal ends the sweep."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        named = shlex.quote(str(folder))
        print(f"the same command with hydra.sweep.dir={named} goes on with the sweep", file=sys.stderr)
        raise


def begin_folder(config: DictConfig) -> Path:
    """Create the sweep's folder, with the file by which ``d2m runs`` recognises a sweep."""
    folder = Path(config.hydra.sweep.dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / SWEEP)
    except OSError as e:
        raise D2MError(f"{folder}: cannot write the sweep here ({e.strerror}); choose another hydra.sweep.dir") from e
    return folder


def launch(
    launcher: Any, batch: Sequence[Sequence[str]], first: int, runs: Sequence[RunFolder]
) -> Sequence[JobReturn | None]:
    """Launch a batch of jobs and return their results. If the launcher itself fails, as it does if a cluster loses a
    job, wait for the jobs that still run, and return None for each.

    Args:
        first: number of the first job.
        runs: the jobs' folders.
    """
    try:
        returns: Sequence[JobReturn | None] = launcher.launch(batch, initial_job_idx=first)
    except D2MError:
        raise
    except Exception as e:
        print(f"the launcher failed: {reason(e)}; what the trials came to is read from their folders", file=sys.stderr)
        while any(_goes_on(run) for run in runs):
            time.sleep(_LOOK_SECONDS)
        return [None] * len(batch)
    return returns


def _goes_on(run: RunFolder) -> bool:
    """Whether a run is being trained, or its job waits to go on with it."""
    told = read_run(run, run.path.parent)
    if told.state == "requeued":
        from d2m.train.requeue import is_queued

        return is_queued(str(told.facts.get("slurm_job")))
    return told.state == "running"


class OptunaSweeper(Sweeper):
    """Sweeps with Optuna's samplers and pruners, over keys given as ``KEY=interval(LOW,HIGH)``, ``KEY=choice(A,B)``,
    ...

    The study is stored in the sweep's folder: the same command with the same ``hydra.sweep.dir``, run concurrently (as
    another worker) or later, works on the same study. The exit code is 1 if a trial of this command failed.

    Args:
        n_trials: total of the study, over all workers.
        n_jobs: number of trials launched together.
        direction: "minimize" or "maximize"; None: the direction in which the objective improves.
        seed: of the sampler.
        sampler: called with ``seed``, returns an Optuna sampler.
        pruner: an Optuna pruner; None never prunes.
        params: key -> its sweep, as on the command line; overridden by the same key there.
        default_params: used instead if neither ``params`` nor the command line sweeps anything.

    Raises:
        D2MError: a number below 1, or an unknown direction.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        direction: str | None,
        seed: int,
        sampler: Any,
        pruner: Any = None,
        params: Mapping[str, str] | None = None,
        default_params: Mapping[str, str] | None = None,
    ) -> None:
        for name, value in (("n_trials", n_trials), ("n_jobs", n_jobs)):
            if not isinstance(value, int) or value < 1:
                raise D2MError(f"hydra.sweeper.{name}={value}: give a whole number of at least 1")
        if direction not in (None, "minimize", "maximize"):
            raise D2MError(f"hydra.sweeper.direction={direction}: choose minimize or maximize, or leave it out")
        self.n_trials, self.n_jobs, self.direction, self.seed = n_trials, n_jobs, direction, seed
        self.sampler, self.pruner = sampler, pruner
        self.params, self.default_params = dict(params or {}), dict(default_params or {})

    def _check_sampler(self) -> None:
        try:
            self.sampler(seed=0)
        except (TypeError, ValueError) as e:
            raise D2MError(
                f"hydra.sweeper.sampler: {' '.join(str(e).split())}; see Optuna's documentation of it"
            ) from e

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Raises SystemExit(1) at the end if a trial failed."""
        assert self.config is not None and self.hydra_context is not None
        from d2m.cli.optuna_trials import Trials
        from d2m.cli.search_space import split

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides(arguments)
        params = self.params
        if not params and not any(o.is_sweep_override() for o in given):
            params = self.default_params
        fixed, space = split([*parser.parse_overrides([f"{k}={v}" for k, v in params.items()]), *given])
        if not space:
            raise D2MError("nothing to sweep: give KEY=interval(LOW,HIGH), KEY=choice(A,B), KEY=range(A,B) or KEY=A,B")
        self._check_sampler()
        check_whole(self.config, space)
        _, mode = judged_by(self.config)
        direction = self.direction or {"min": "minimize", "max": "maximize"}[mode]
        config = self.config
        trials = Trials(Path(config.hydra.sweep.dir), fixed, space, direction, self.n_trials)
        failed = 0
        with trials.open(self.sampler, self.seed, lambda: begin_folder(config)):
            while batch := trials.take(self.n_jobs):
                jobs = [[*(f"{k}={v}" for k, v in overrides.items()), f"hydra.sweep.subdir={n}"]
                        for n, overrides in batch.items()]  # fmt: skip
                with cut_short(trials.folder):
                    runs = [RunFolder(trials.folder / str(n)) for n in batch]
                    returns = launch(self.launcher, jobs, min(batch), runs)
                for n, run, returned in zip(batch, runs, returns, strict=True):
                    ended = outcome(str(n), run, {}, returned)
                    if ended.state == "done" and ended.value is None:
                        ended = replace(ended, state="failed", error=_UNMEASURED)
                    if ended.state != "running":  # another process trains it
                        trials.tell(ended)
                    failed += ended.state == "failed"
                with trials.alone():
                    finish(trials.folder, self.config, trials.so_far(), out=False)
            with trials.alone():  # otherwise another worker's newer sweep.json might be overwritten
                finish(trials.folder, self.config, trials.so_far())
        if failed:
            raise SystemExit(1)
