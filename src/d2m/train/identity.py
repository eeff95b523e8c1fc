"""Identity of a run: whether it is finished, matches the request, and what it may share with neighbouring runs."""

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
    """The neighbouring runs that a run is compared with or shares stages with.

    Attributes:
        beside: a folder of runs; if one of them finished the same training, this one is refused.
        reuse: a folder of runs whose finished stages are reused if they are the same.
        trial: of an Optuna sweep, which may stop the run early.
    """

    beside: Path | None = None
    reuse: Path | None = None
    trial: SweepTrial | None = None


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A config as plain dicts and lists, interpolations resolved."""
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    return resolved  # type: ignore[no-any-return]


def is_complete(run: RunFolder, cfg: DictConfig, stages: Sequence[Stage]) -> bool:
    """Whether a command has nothing left to do in a run: its stages are done, with this config, and its bundle exists
    in this style mode."""
    if not run.is_finished() or not all(run.is_done(s.name) for s in stages):
        return False
    before, now = run.config(), json.loads(json.dumps(plain(cfg)))
    if not before or changed_since(before, now, [s.name for s in stages]):
        return False
    released = any(s.dances and run.is_done(s.name) for s in STAGES.values())
    return before.get("style_mode") == now.get("style_mode") and (run.bundle.is_dir() or not released)


def check_done_stages(cfg: DictConfig, run: RunFolder, corpus: Corpus) -> None:
    """Check that the config matches what the run's finished stages were trained with: they are not trained again, so
    the bundle would record wrong settings.

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
    stage = next((s for s in done if f".{s}." in f"{key}."), done[-1])
    raise D2MError(
        f"{key}={asked}{more}: stage {stage} of {run.path} was trained to its end with {was}; leave it out, train "
        f"another run, or train the stage further in a new one: continue_from.{stage}={run.checkpoint(stage)}"
    )


def check_not_trained(run: RunFolder, wanted: str, beside: Path) -> None:
    """Check that no finished run in a folder has done the same training.

    Raises:
        D2MError: one has; the message names it.
    """
    twin = finished_twin(beside, wanted, but=run.path)
    if twin is not None:
        raise D2MError(f"{twin}: has trained this already (same config, corpus and code); use it, or give rerun=true")


def sign_stage(cfg: DictConfig, stage: Stage, run: RunFolder, corpus: Corpus, code: str) -> str | None:
    """The signature of the stage to be trained next; None if it was begun under another one or its start is missing."""
    starts = {s.name: path for s, path in starts_from(cfg, stage, run).items()}
    if given := cfg.continue_from.get(stage.name):
        starts = {f"continue_from.{stage.name}": Path(given)}
    if not all(path.is_file() for path in starts.values()):
        return None
    signed = stage_signature(plain(cfg), stage.name, starts, corpus.digest, code)
    begun = run.progress_path(stage.name).exists()
    return signed if not begun or run.facts().get("stage_signatures", {}).get(stage.name) == signed else None
