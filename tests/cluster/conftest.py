"""A SLURM on this machine, started for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("slurm.sh")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which its commands, and d2m, are called."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason='pip install -e ".[slurm]"')
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("SLURM is installed and started by root, on Debian")
    try:
        subprocess.run(["bash", str(SCRIPT), "install"], check=True, capture_output=True, text=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as e:
        pytest.skip(f"SLURM cannot be installed here: {getattr(e, 'stderr', '') or e}")
    folder = tmp_path_factory.mktemp("slurm")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))}
    try:
        try:
            subprocess.run(
                ["bash", str(SCRIPT), "up", str(folder)], check=True, capture_output=True, text=True, timeout=60
            )
        except subprocess.SubprocessError as e:  # a container that forbids it
            pytest.skip(f"SLURM cannot be started here: {getattr(e, 'stderr', '') or e}")
        yield {
            **kept, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "COLUMNS": "200",
        }  # fmt: skip
    finally:
        subprocess.run(["bash", str(SCRIPT), "down", str(folder)], check=False, timeout=60)
