"""``d2m train``: the curriculum, stage by stage; its arguments are conf/train.yaml."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from d2m.bundle.passport import Begun, begun
from d2m.bundle.run_folder import RunFolder
from d2m.cli.cluster import launched_processes
from d2m.cli.job import job, restart_as_this_job
from d2m.cli.resume import check_same_run
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero
from d2m.train.early import watch_parent
from d2m.train.trainer_options import check_options

if TYPE_CHECKING:
    from d2m.train.callbacks.prune import SweepTrial


def check_data_root(data: DictConfig) -> None:
    """Check that the data folder exists; corpora that need none have no ``data.root``.

    Raises:
        D2MError: it is not given or does not exist.
    """
    if "root" not in data:
        return
    roots = list(data.root) if isinstance(data.root, ListConfig) else [data.root]
    if not data.root:
        raise D2MError(f"data={data.name} needs data.root=FOLDER")
    for root in roots:
        if not Path(str(root)).exists():
            raise D2MError(f"data.root={root}: no such folder; give data.root=FOLDER (data={data.name})")


@contextmanager
def own_processes() -> Iterator[None]:
    """Clear what Lightning's launcher sets in the environment: a sweep's next job would connect to ended processes."""
    before = {k: os.environ.get(k) for k in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE")}
    try:
        yield
    finally:
        if before["LOCAL_RANK"] is None and "LOCAL_RANK" in os.environ:
            import torch.distributed

            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            for key, value in before.items():
                os.environ.pop(key, None)
                if value is not None:
                    os.environ[key] = value


@job("train")
def train(cfg: DictConfig) -> float | None:
    """Train; returns the value that a sweeper optimises, see ``objective`` in conf/train.yaml."""
    from hydra.core.hydra_config import HydraConfig

    watch_parent()
    folder, overrides = RunFolder(Path(HydraConfig.get().runtime.output_dir)), list(HydraConfig.get().overrides.task)
    with shown(cfg, folder, overrides) as new:
        return _train(cfg, folder, overrides, new)


@contextmanager
def shown(cfg: DictConfig, folder: RunFolder, overrides: list[str]) -> Iterator[Begun | None]:
    """Make a new run visible to ``d2m runs ls`` at once: loading the training libraries takes seconds. A folder that
    already holds a run is left to the curriculum, which checks whether there is anything to train."""
    if not is_rank_zero() or folder.facts_path.exists() or folder.has_trained():
        yield None
        return
    with begun(folder, {"overrides": overrides, "stages": list(cfg.stages)}) as new:
        yield new


def runs_beside(cfg: DictConfig, folder: RunFolder) -> Path | None:
    """The folder of runs to compare with: a training that one of them finished is not repeated. None: no comparison.

    Only runs in folders named by d2m itself are compared: users who resume, name the folder, sweep or try one batch
    repeat a training on purpose.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    named = any(o.startswith("hydra.run.dir=") for o in hydra.overrides.hydra)
    if cfg.rerun or cfg.resume is not None or named or hydra.mode != RunMode.RUN or cfg.trainer.fast_dev_run:
        return None
    return folder.path.parent


def one_process(cfg: DictConfig) -> bool:
    """Whether a single process trains: several would each have to wait while the first one searches other folders."""
    return str(cfg.trainer.devices) == "1" and cfg.trainer.get("num_nodes", 1) == 1 and launched_processes() == 1


def runs_to_share(cfg: DictConfig, folder: RunFolder) -> Path | None:
    """The folder of runs whose identical stages are reused: in a sweep, by default the sweep's folder.

    Raises:
        D2MError: ``reuse=true`` for several processes.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    swept = HydraConfig.get().mode == RunMode.MULTIRUN
    if not (swept if cfg.reuse is None else cfg.reuse) or cfg.rerun or cfg.trainer.fast_dev_run:
        return None
    if one_process(cfg):
        return folder.path.parent
    if cfg.reuse:
        raise D2MError("reuse=true: needs trainer.devices=1, in one process; give init_from.STAGE=RUN/.../last.ckpt")
    return None


def sweep_trial(cfg: DictConfig, folder: RunFolder) -> SweepTrial | None:
    """The trial of an Optuna sweep that this job is; None if it is not one, if its objective is not a metric that
    stages report, or if several processes train."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from hydra.utils import instantiate

    from d2m.train.callbacks.prune import SweepTrial

    hydra = HydraConfig.get()
    target = str(hydra.sweeper.get("_target_", ""))
    if hydra.mode != RunMode.MULTIRUN or not target.endswith(".OptunaSweeper"):
        return None
    if cfg.objective is not None or not one_process(cfg):
        return None
    pruner = hydra.sweeper.get("pruner")
    return SweepTrial(folder.path.parent, int(folder.path.name), None if pruner is None else instantiate(pruner))


def _train(cfg: DictConfig, folder: RunFolder, overrides: list[str], new: Begun | None) -> float | None:
    check_options(cfg.trainer)
    check_data_root(cfg.data)
    # Imported late, so that the errors above are reported at once.
    from hydra.utils import instantiate

    from d2m.train.callbacks.artifacts import log_objective
    from d2m.train.curriculum import run as run_curriculum
    from d2m.train.identity import Company
    from d2m.train.objective import check_objective, objective
    from d2m.train.requeue import Cut, Requeue, heed

    check_objective(cfg)

    if is_rank_zero() and cfg.resume is None:
        check_same_run(folder, overrides)
    company = Company(runs_beside(cfg, folder), runs_to_share(cfg, folder), sweep_trial(cfg, folder))
    restart_as_this_job()
    with Requeue(folder), own_processes():
        try:
            heed()
            run_curriculum(cfg, folder.path, overrides, company, new)
            if not is_rank_zero():
                return None
            print(f"run: {folder.path}" + (f"\nbundle: {folder.bundle}" if folder.bundle.exists() else ""))
            value = objective(cfg, folder)
        except (KeyboardInterrupt, Cut) as e:  # between two stages, or in the evaluation
            if is_rank_zero() and not getattr(e, "told", False):
                name = signal.Signals(getattr(e, "number", signal.SIGINT)).name
                resume = f"; resume with: d2m train resume={shlex.quote(str(folder.path))}"
                print(f"{name} ended the run{'' if getattr(e, 'requeue', False) else resume}", file=sys.stderr)
            raise
    if cfg.objective is not None and value is not None:
        log_objective(instantiate(cfg.logger, _partial_=True), folder, str(cfg.objective), value)
    return value
