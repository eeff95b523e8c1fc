"""Clusters, before training starts: checks of the launcher, and one run folder for all processes."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable

from omegaconf import OmegaConf

from d2m.core.errors import D2MError


def register_token() -> None:
    """Register ``${token:}``: four random digits, constant for the life of a config. Cached in the config like Hydra's
    ``now``, so that a job sent to another machine has the same.
    """
    OmegaConf.register_new_resolver("token", lambda: os.urandom(2).hex(), use_cache=True, replace=True)


def launched_processes() -> int:
    """How many processes torchrun or srun has started for this job; 1 if neither was used."""
    return max(int(os.environ.get(k) or 1) for k in ("WORLD_SIZE", "SLURM_NTASKS"))


def check_launcher(overrides: Iterable[str]) -> None:
    """Check that ``launcher=slurm`` can submit jobs from here.

    Raises:
        D2MError: its extra is not installed, or there is no SLURM.
    """
    if "launcher=slurm" not in [o.lstrip("+") for o in overrides]:
        return
    if importlib.util.find_spec("submitit") is None:
        raise D2MError('launcher=slurm: needs the extra slurm; pip install -e ".[slurm]"')
    if shutil.which("sbatch") is None:
        raise D2MError("launcher=slurm: there is no sbatch here; call it on a login node of the cluster")


def check_one_folder(named: bool, overrides: Iterable[str]) -> None:
    """Check that processes started by srun or torchrun share one run folder.

    Args:
        named: ``hydra.run.dir`` is given, or a run is resumed.

    Raises:
        D2MError: it is not: each process would name a folder by its own clock.
    """
    if launched_processes() > 1 and not named and not any(o.startswith("launcher=") for o in overrides):
        raise D2MError("several processes of one run: give hydra.run.dir=FOLDER, which is the same for all of them")
