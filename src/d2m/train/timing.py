"""How many samples a run's stages train on, and the pace callback of one of them."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.data.corpus import Corpus
from d2m.data.sampling import Items
from d2m.train.callbacks.pace import Pace
from d2m.train.stage import STAGES, Stage


def n_samples(cfg: DictConfig, stage: Stage, corpus: Corpus) -> int:
    """Number of samples a stage trains on, over all its epochs."""
    fit = cfg.fit[stage.name]
    epoch = fit.steps_per_epoch * fit.batch_size if fit.steps_per_epoch else Items(corpus, stage.items, "train").size
    return int(fit.max_epochs * epoch)


def build_pace(cfg: DictConfig, stage: Stage, run: RunFolder, corpus: Corpus, after: Sequence[Stage]) -> Pace:
    """The stage's pace callback, which takes the stages before and after it into account."""
    finished = [s for s in STAGES.values() if run.is_done(s.name) and s.name in cfg.fit]
    slowest = [run.done(s.name).get("seconds", 0.0) / n_samples(cfg, s, corpus) for s in finished]
    samples_after = sum(n_samples(cfg, s, corpus) for s in after)
    size = cfg.fit[stage.name].batch_size
    return Pace(stage.name, size, samples_after, max(slowest, default=0.0), shown=cfg.callbacks.progress_bar)
