"""What a command needs to know of clusters before it trains: their launcher, and one folder for many processes."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable

from omegaconf import OmegaConf

from d2m.core.errors import D2MError


def register_token() -> None:
    """``${token:}`` in a config: four random digits, the same for the config's life.

    Cached in it, as Hydra's ``now`` is: a job that a launcher sends to another machine has the same.
    """
    OmegaConf.register_new_resolver("token", lambda: os.urandom(2).hex(), use_cache=True, replace=True)


def check_launcher(overrides: Iterable[str]) -> None:
    """See that ``launcher=slurm`` can submit jobs from here.

    Raises:
        D2MError: its extra is not installed, or SLURM is not there.
    """
    if "launcher=slurm" not in [o.lstrip("+") for o in overrides]:
        return
    if importlib.util.find_spec("submitit") is None:
        raise D2MError('launcher=slurm: needs the extra slurm; pip install -e ".[slurm]"')
    if shutil.which("sbatch") is None:
        raise D2MError("launcher=slurm: there is no sbatch here; call it on a login node of the cluster")


def check_one_folder(named: bool, overrides: Iterable[str]) -> None:
    """See that processes started by somebody else, srun or torchrun, have one folder.

    Args:
        named: ``hydra.run.dir`` is given, or a run is resumed.

    Raises:
        D2MError: each would name one by its own clock.
    """
    several = any(int(os.environ.get(k) or 1) > 1 for k in ("WORLD_SIZE", "SLURM_NTASKS"))
    if several and not named and not any(o.startswith("launcher=") for o in overrides):
        raise D2MError("several processes of one run: give hydra.run.dir=FOLDER, which is the same for all of them")
