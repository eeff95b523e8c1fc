"""The machine: devices, precision, provenance, and ranks of processes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from d2m.core.errors import D2MError

if TYPE_CHECKING:  # imported where it is used: a command should know its rank before torch is loaded
    import torch

#: Variables that are 0 in the first process of a job, for every launcher.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "numpy", "librosa", "scikit-learn")


def check_device(device: torch.device | str) -> None:
    """Check that ``device`` is usable.

    Raises:
        D2MError: an unknown name, or a device that this torch or machine lacks.
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        here = "cpu and cuda" if torch.cuda.is_available() else "cpu"
        raise D2MError(f"device={device}: not available; this machine has {here}") from e


def best_precision(accelerator: str = "auto") -> str:
    """ "bf16-mixed" if the hardware multiplies bfloat16 natively, else "32-true".

    A CPU counts if it has AVX512-BF16 or AMX; emulation is slower than float32.
    """
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


@cache
def _cpu_facts() -> str:
    """Maker, model and flags of the CPU, in the system's own words."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 natively: AVX512-BF16 or AMX."""
    return "avx512_bf16" in _cpu_facts() or "amx_bf16" in _cpu_facts()


def git_revision(folder: Path | None = None) -> str:
    """Commit of the code, "-dirty" if tracked files changed; "unknown" outside a checkout."""
    folder = folder or Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


@cache
def code_digest() -> str:
    """Digest of the program's own source files. Unlike a revision, it changes with every edit and needs no checkout.

    Within a process it never changes: edits made during a sweep do not affect the running program.
    """
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    releases = {"python": platform.python_version()}
    for name in ("d2m", *_PACKAGES):
        try:
            releases[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return releases


def is_rank_zero() -> bool:
    """Whether this process is the first of its job, according to its launcher's environment variables.

    torchrun: RANK, LOCAL_RANK, GROUP_RANK. SLURM: SLURM_PROCID. LSF: JSM_NAMESPACE_RANK. Lightning's own launcher sets
    no RANK; there, NODE_RANK and LOCAL_RANK decide.
    """
    return all(int(os.environ.get(k, "0") or 0) == 0 for k in _RANKS)
