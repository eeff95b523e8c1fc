"""Whether a run is finished, is what is asked for, and what it may share with the runs beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import changed_since, finished_twin, stage_signature
from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.train.callbacks.prune import SweepTrial
from d2m.train.request import starts_from
from d2m.train.stage import STAGES, Stage


@dataclass(frozen=True)
class Company:
    """The runs that a run is trained among.

    Attributes:
        beside: a folder of runs; if one of them finished the same training, this one is refused.
        reuse: a folder of runs whose stages are taken where they are the same.
        trial: of an Optuna sweep, which may give it up.
    """

    beside: Path | None = None
    reuse: Path | None = None
    trial: SweepTrial | None = None


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A config as mappings and lists, resolved."""
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    return resolved  # type: ignore[no-any-return]


def is_complete(run: RunFolder, cfg: DictConfig, stages: Sequence[Stage]) -> bool:
    """Whether a command has nothing to add to a finished run: its stages are done, with this config, and so is the
    bundle of this style mode."""
    if not run.is_finished() or not all(run.is_done(s.name) for s in stages):
        return False
    before, now = run.config(), json.loads(json.dumps(plain(cfg)))
    if not before or changed_since(before, now, [s.name for s in stages]):
        return False
    released = any(s.dances and run.is_done(s.name) for s in STAGES.values())
    return before.get("style_mode") == now.get("style_mode") and (run.bundle.is_dir() or not released)


def check_done_stages(cfg: DictConfig, run: RunFolder, corpus: Corpus) -> None:
    """See that what is asked for is what the run's finished stages were trained with: nothing trains them again, and
    the bundle would say what is not true.

    Raises:
        D2MError: another setting of a finished stage, or another corpus.
    """
    done = [s for s in STAGES if run.is_done(s)]
    before = run.config()
    if not done or not before:
        return
    changed = changed_since(before, json.loads(json.dumps(plain(cfg))), done)
    told = run.facts().get("corpus_digest")
    if told not in (None, corpus.digest):
        changed["the corpus"] = [str(told)[:12], corpus.digest[:12]]
    if not changed:
        return
    key, (was, asked) = next(iter(changed.items()))
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    stage = next((s for s in done if f".{s}." in key), done[-1])
    raise D2MError(
        f"{key}={asked}{more}: stage {stage} of {run.path} was trained to its end with {was}; leave it out, train "
        f"another run, or train the stage further in a new one: continue_from.{stage}={run.checkpoint(stage)}"
    )


def check_not_trained(run: RunFolder, wanted: str, beside: Path) -> None:
    """See that no finished run beside this one is the same training.

    Raises:
        D2MError: one is, and it is named.
    """
    twin = finished_twin(beside, wanted, but=run.path)
    if twin is not None:
        raise D2MError(f"{twin}: has trained this already (same config, corpus and code); use it, or give rerun=true")


def sign_stage(cfg: DictConfig, stage: Stage, run: RunFolder, corpus: Corpus, code: str) -> str | None:
    """The signature of a stage that is trained next; None if it was begun under another one, or starts from files that
    are not there."""
    starts = {s.name: path for s, path in starts_from(cfg, stage, run).items()}
    if given := cfg.continue_from.get(stage.name):
        starts = {f"continue_from.{stage.name}": Path(given)}
    if not all(path.is_file() for path in starts.values()):
        return None
    signed = stage_signature(plain(cfg), stage.name, starts, corpus.digest, code)
    begun = run.progress_path(stage.name).exists()
    return signed if not begun or run.facts().get("stage_signatures", {}).get(stage.name) == signed else None
