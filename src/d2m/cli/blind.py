"""``d2m blind build|score``; their arguments are conf/blind/*.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.job import job
from d2m.core.files import exit_on_signals
from d2m.core.seeds import check_seed


@job("blind build")
def build(cfg: DictConfig) -> None:
    """Build a page of questions about dances."""
    from d2m.blind.build import Look, Page, read_clips
    from d2m.blind.build import build as build_study
    from d2m.blind.design import Plan

    a: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    check_seed(a["seed"])
    exit_on_signals()
    plan = Plan(**{k: a[k] for k in ("participants", "trials", "repeats", "checks", "genre_trials")})
    page = Page(**{k: a[k] for k in ("title", "intro", "question", "watch")})
    music = Path(a["music"]) if a["music"] else None
    look = Look(**{k: a[k] for k in ("seconds", "start", "size", "draw", "sound")}, music=music)
    out = Path(a["out"])
    key_file = Path(a["key"]) if a["key"] else out.parent / f"{out.name}-key.json"
    key = build_study(read_clips(a), out, key_file, plan, page, look, a["seed"])
    print(
        f"{len(key.videos)} videos for {len(key.slots)} participants in {out}: the first opens index.html?p=1, the "
        f"second ?p=2; the key is {key_file}, keep it apart"
    )


@job("blind score")
def score(cfg: DictConfig) -> None:
    """Score the answers and write a report."""
    from d2m.blind.answers import Rules
    from d2m.blind.report import score_study, show

    check_seed(cfg.seed)
    out = Path(cfg.out)
    show(score_study(cfg.answers, Path(cfg.key), out, Rules(cfg.failures, cfg.fastest), cfg.samples, cfg.seed))
    print(f"all figures in {out}/report.json")
