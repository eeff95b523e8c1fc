"""``d2m study extract|fit|means|report``; their arguments are conf/study/*.yaml."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.seeds import check_seed

#: Defaults of arguments that only some of the commands have.
_DEFAULTS: dict[str, Any] = {"music": None, "corpus": None, "latents": None, "window": None, "draws": 8}


@job("study extract")
def extract(cfg: DictConfig) -> None:
    """Extract latents of songs."""
    _run("extract", cfg)


@job("study fit")
def fit(cfg: DictConfig) -> None:
    """Fit a direction to latents of songs."""
    _run("fit", cfg)


@job("study means")
def means(cfg: DictConfig) -> None:
    """Write a bundle with other genre means."""
    _run("means", cfg)


@job("study report")
def report(cfg: DictConfig) -> None:
    """Write the full latent report on these songs."""
    _run("report", cfg)


def _run(name: str, cfg: DictConfig) -> None:
    """Run one command and print what it wrote.

    Raises:
        D2MError: a value out of range, or raised by the command.
    """
    from d2m.reports.study import COMMANDS

    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    given: dict[str, Any] = _DEFAULTS | plain
    _check_ranges(given)
    print(COMMANDS[name](given))
    if given.get("logger") == "wandb":
        from d2m.train.callbacks.artifacts import log_study_outputs

        print(log_study_outputs(name, given))


def _check_ranges(given: dict[str, Any]) -> None:
    """Raises D2MError if a value is out of its range."""
    check_seed(given["seed"])
    for key in ("permutations", "edits", "dances"):
        if given.get(key, 0) < 0:
            raise D2MError(f"{key}={given[key]}: give a whole number of at least 0")
    if (given.get("axis") or 0) < 0:
        raise D2MError(f"axis={given['axis']}: give a whole number of at least 0; 0 is the axis of largest variance")
    if given.get("logger", "none") not in ("none", "wandb"):
        raise D2MError(f"logger={given['logger']}: choose none or wandb")
