"""``d2m train``: the curriculum, stage by stage; its arguments are conf/train.yaml."""

from __future__ import annotations

import os
import shlex
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
    """See that the folder of the data is there; corpora that need none have no ``data.root``.

    Raises:
        D2MError: it is not given, or is not there.
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
    """Clear what Lightning's launcher leaves, or a sweep's next job would talk to processes that have ended."""
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
    """Returns what a sweeper optimises, see conf/train.yaml's objective."""
    from hydra.core.hydra_config import HydraConfig

    watch_parent()
    folder, overrides = RunFolder(Path(HydraConfig.get().runtime.output_dir)), list(HydraConfig.get().overrides.task)
    with shown(cfg, folder, overrides) as new:
        return _train(cfg, folder, overrides, new)


@contextmanager
def shown(cfg: DictConfig, folder: RunFolder, overrides: list[str]) -> Iterator[Begun | None]:
    """Let ``d2m runs ls`` show a new run at once: loading the libraries that train takes seconds. A folder that holds
    a run is looked at first, by whoever knows whether there is anything to train."""
    if not is_rank_zero() or folder.facts_path.exists() or folder.has_trained():
        yield None
        return
    with begun(folder, {"overrides": overrides, "stages": list(cfg.stages)}) as new:
        yield new


def runs_beside(cfg: DictConfig, folder: RunFolder) -> Path | None:
    """The folder whose finished runs are not trained once more; None if there is nothing to compare.

    Only a run in a folder that d2m named itself is compared: whoever resumes, names the folder, sweeps or tries one
    batch knows what is trained.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    named = any(o.startswith("hydra.run.dir=") for o in hydra.overrides.hydra)
    if cfg.rerun or cfg.resume is not None or named or hydra.mode != RunMode.RUN or cfg.trainer.fast_dev_run:
        return None
    return folder.path.parent


def one_process(cfg: DictConfig) -> bool:
    """Whether one process trains: several would each have to wait for what the first one finds in other folders."""
    return str(cfg.trainer.devices) == "1" and cfg.trainer.get("num_nodes", 1) == 1 and launched_processes() == 1


def runs_to_share(cfg: DictConfig, folder: RunFolder) -> Path | None:
    """The folder of runs whose stages are taken where they are the same: by default, in a sweep, that of the sweep.

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
    """Which trial of an Optuna sweep this job is; None if it is none, its objective is not what stages report, or
    several processes train."""
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
    # Late: what is wrong above is told at once.
    from hydra.utils import instantiate

    from d2m.train.callbacks.artifacts import log_objective
    from d2m.train.curriculum import run as run_curriculum
    from d2m.train.identity import Company
    from d2m.train.objective import check_objective, objective
    from d2m.train.requeue import Requeue, heed

    check_objective(cfg)

    if is_rank_zero() and cfg.resume is None:
        check_same_run(folder, overrides)
    company = Company(runs_beside(cfg, folder), runs_to_share(cfg, folder), sweep_trial(cfg, folder))
    restart_as_this_job()
    with Requeue(), own_processes():
        try:
            heed()
            run_curriculum(cfg, folder.path, overrides, company, new)
        except KeyboardInterrupt:  # between two stages
            if is_rank_zero():
                print(f"d2m train resume={shlex.quote(str(folder.path))} goes on", file=sys.stderr)
            raise
    if not is_rank_zero():
        return None
    print(f"run: {folder.path}" + (f"\nbundle: {folder.bundle}" if folder.bundle.exists() else ""))
    value = objective(cfg, folder)
    if cfg.objective is not None and value is not None:
        log_objective(instantiate(cfg.logger, _partial_=True), folder, str(cfg.objective), value)
    return value
