"""Checks of a training request before anything is trained: stages, starting checkpoints, Trainer options."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CPUAccelerator

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.machine import is_rank_zero
from d2m.core.seeds import check_seed
from d2m.data.corpus import Corpus
from d2m.music.front_ends import front_end
from d2m.music.front_ends.augment import check_augment
from d2m.nets.music_style import check_style_mode
from d2m.train.arithmetic import check_arithmetic
from d2m.train.callbacks.averaging import check_decay
from d2m.train.callbacks.checkpoint_io import newest_whole
from d2m.train.callbacks.pace import note
from d2m.train.model_options import check_model
from d2m.train.stage import STAGES, Stage, in_order
from d2m.train.steps import NOISE
from d2m.train.trainer_options import check_options


def start_checkpoint(cfg: DictConfig, stage: Stage, run: RunFolder) -> Path | None:
    """The checkpoint a stage resumes from, with optimizer states: its own newest intact one, else ``continue_from``,
    else None. If all of its own are damaged, its last one, which is refused when it is read."""
    last = newest_whole(run.checkpoint(stage.name))
    if last.exists():
        return last
    given = cfg.continue_from.get(stage.name)
    return Path(given) if given else None


def starts_from(cfg: DictConfig, stage: Stage, run: RunFolder) -> dict[Stage, Path]:
    """Stage -> the checkpoint that ``stage`` is warm-started from: ``init_from``'s, else the run's own."""
    if cfg.continue_from.get(stage.name):
        return {}
    return {STAGES[s]: Path(cfg.init_from.get(s) or run.checkpoint(s)) for s in stage.warm_starts}


def check_request(cfg: DictConfig, run: RunFolder) -> list[Stage]:
    """The stages to train, in order.

    A stage in ``init_from`` is not trained: the given checkpoint replaces it. Nor is a stage trained that no remaining
    stage starts from: with ``init_from.mm_gan`` or ``continue_from.mm_gan``, du_vae is skipped. One printed line lists
    the skipped stages.

    Raises:
        D2MError: an unknown stage; one whose start is neither trained here nor given; a missing file; two starts for
            one stage; nothing left to train; an invalid seed, style mode or training length.
    """
    check_seed(cfg.seed)
    check_style_mode(cfg.style_mode)
    asked = in_order(cfg.stages)
    check_options(cfg.trainer)
    check_strategy(str(cfg.trainer.get("strategy", "auto")))
    if cfg.noise not in NOISE:
        raise D2MError(f"noise={cfg.noise}: choose from {', '.join(NOISE)}")
    check_arithmetic(cfg)
    _check_data(cfg)
    names = {s.name for s in asked}
    replaced = _given(cfg, "init_from")
    continued = _given(cfg, "continue_from")
    for name in continued:
        if name in replaced:
            raise D2MError(
                f"init_from.{name} and continue_from.{name}: give only one; init_from starts "
                "from it, continue_from trains it further"
            )
        if name not in names:
            raise D2MError(
                f"continue_from.{name}: {name} is not among stages={sorted(names)}; add it, or use init_from"
            )
        _check_file(cfg, "continue_from", name)
    kept = [s for s in asked if s.name not in replaced]
    # Last stage first: stages that only dropped stages would start from are dropped as well.
    for stage in reversed(asked):
        fed = [s for s in asked if stage.name in s.warm_starts]
        feeds = any(s in kept and s.name not in continued for s in fed)
        if fed and not feeds and stage in kept and stage.name not in continued:
            kept.remove(stage)
    dropped = [s.name for s in asked if s not in kept]
    if not kept:
        raise D2MError(
            f"init_from.{dropped[-1]} replaces training {dropped[-1]}, so nothing is left to train; to train "
            f"it further, give continue_from.{dropped[-1]}"
        )
    for name in replaced:
        if not any(name in s.warm_starts and s.name not in continued for s in kept):
            trained = ", ".join(s.name for s in kept)
            raise D2MError(f"init_from.{name}: none of the stages to train ({trained}) starts from it; omit it")
        _check_file(cfg, "init_from", name)
    if dropped and is_rank_zero():
        stand_ins = ", ".join([f"init_from.{n}" for n in replaced] + [f"continue_from.{n}" for n in continued])
        print(f"not trained here: {', '.join(dropped)} ({stand_ins})")
    for stage in kept:
        _check_fit(cfg, stage)
        check_model(stage.name, OmegaConf.to_container(cfg.model[stage.name], resolve=True))  # type: ignore[arg-type]
        if stage.name in continued:
            continue  # that checkpoint holds every network of the stage
        for needed in stage.warm_starts:
            if needed not in replaced and STAGES[needed] not in kept and not run.is_done(needed):
                raise D2MError(
                    f"stage {stage.name} starts from {needed}: add it to stages, or give init_from.{needed}=CKPT"
                )
    return kept


def _given(cfg: DictConfig, key: str) -> list[str]:
    given = {name: path for name, path in cfg[key].items() if path}
    for name in given:
        if name not in STAGES:
            raise D2MError(f"{key}.{name}: no such stage; choose from {', '.join(STAGES)}")
    return [str(name) for name in given]


def _check_file(cfg: DictConfig, key: str, name: str) -> None:
    if not Path(cfg[key][name]).is_file():
        raise D2MError(f"{key}.{name}={cfg[key][name]}: no such file; give the path of the stage's last.ckpt")


def _check_data(cfg: DictConfig) -> None:
    repeated = cfg.repeat_batches
    if repeated is not None and repeated < 1:
        raise D2MError(f"repeat_batches={repeated}: give a whole number of at least 1, or null")
    shift = list(cfg.data.shift)
    if len(shift) != 2 or not all(isinstance(s, int | float) and 0 <= s < math.inf for s in shift):
        raise D2MError(f"data.shift={shift}: give two numbers of at least 0, [x,y], in pixels")


def _check_fit(cfg: DictConfig, stage: Stage) -> None:
    for key, value in cfg.fit[stage.name].items():
        if value is None and key == "steps_per_epoch":
            continue  # as many as there are items
        if not isinstance(value, int) or value < 1:
            raise D2MError(f"fit.{stage.name}.{key}={value}: give a whole number of at least 1")
    check_decay(stage.name, cfg.callbacks.ema.get(stage.name))
    every = cfg.callbacks.checkpoint_every_n_epochs
    if not isinstance(every, int) or every < 1:
        raise D2MError(f"callbacks.checkpoint_every_n_epochs={every}: give a whole number of at least 1")


def check_front_end(cfg: DictConfig, corpus: Corpus, stages: Sequence[Stage]) -> None:
    """Check that a given corpus has the features that the config asks for, and that they can be augmented.

    Raises:
        D2MError: other features, or an augmentation that they do not support.
    """
    wanted = cfg.data.get("front_end")
    if cfg.data.name == "corpus" and wanted not in (None, corpus.front_end):
        raise D2MError(
            f"{corpus.folder}: its front end is '{corpus.front_end}', data.front_end={wanted}; prepare it with "
            f"front_end={wanted}, or give data.front_end={corpus.front_end}"
        )
    augmented = [s.name for s in stages if cfg.model[s.name].get("augment")]
    for stage in stages:
        if stage.items == "sequences" and (cfg.model[stage.name].get("augment") or {}).get("tempo", 1) != 1:
            raise D2MError(f"model.{stage.name}.augment.tempo: the dance would not follow the music; leave it at 1")
    for name in augmented:
        try:
            check_augment(front_end(corpus.front_end), dict(cfg.model[name].augment))
        except D2MError as e:
            off = " ".join(f"model.{n}.augment=null" for n in augmented)
            raise D2MError(f"model.{name}: {e}: give {off}") from e


def check_space(run: RunFolder, parameters: int) -> None:
    """Check that the disk can hold the checkpoints of the stages to train.

    Args:
        parameters: total number over all stages. A checkpoint holds each in float32, with Adam's two moments; a stage
            keeps three checkpoints (last, before, best) while writing a fourth.

    Raises:
        D2MError: it cannot.
    """
    there = next(folder for folder in (run.path, *run.path.absolute().parents) if folder.is_dir())
    needed, free = parameters * 4 * 3 * 4, shutil.disk_usage(there).free
    if free < needed:
        raise D2MError(
            f"{run.path}: {free / 1e6:.0f} MB free, the checkpoints may take {needed / 1e6:.0f} MB; free space, or "
            "choose another hydra.run.dir"
        )


def check_strategy(strategy: str) -> None:
    """Check that all stages support a strategy.

    Raises:
        D2MError: it shards the optimizer; it cannot do so with the several optimizers of a stage.
    """
    if strategy not in ("auto", "single_device", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        raise D2MError(f"trainer.strategy={strategy}: stages have several optimizers; use auto or ddp")


def check_processes(trainer: pl.Trainer, stage: Stage, batch_size: int) -> None:
    """Check that a stage's batches can be divided among the Trainer's processes; warn if there are more than cores.

    Raises:
        D2MError: they cannot; or validation is limited to a share of its batches, which several processes cannot do.
    """
    n = trainer.world_size
    if batch_size % n:
        raise D2MError(
            f"fit.{stage.name}.batch_size={batch_size}: the batch of all processes together; give a multiple of {n}, "
            "their number"
        )
    share = trainer.limit_val_batches
    if n > 1 and isinstance(share, float) and 0 < share < 1:
        raise D2MError(f"trainer.limit_val_batches={share}: with {n} processes give a number of batches")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if trainer.num_devices > cores and isinstance(trainer.accelerator, CPUAccelerator):
        _warn_of_cores(trainer.num_devices, cores)


@cache
def _warn_of_cores(processes: int, cores: int) -> None:
    if is_rank_zero():
        warning = f"trainer.devices={processes}: more processes than the {cores} cores that this job may use"
        note(f"{warning}; they will wait for each other", logging.WARNING)


def check_trainer(trainer: pl.Trainer, module: pl.LightningModule, stage: Stage, n_batches: int | None = None) -> None:
    """Check that a stage supports the Trainer's options.

    Args:
        n_batches: per epoch, if the config gives it.

    Raises:
        D2MError: options that its updates would ignore, or that Lightning would refuse when the stage begins.
    """
    if trainer.gradient_clip_val and "clip" in module.hparams:
        raise D2MError(
            f"trainer.gradient_clip_val: stage {stage.name} clips each network by itself; use model.{stage.name}.clip"
        )
    interval = trainer.val_check_interval
    if isinstance(interval, int) and trainer.check_val_every_n_epoch and n_batches and interval > n_batches:
        raise D2MError(
            f"trainer.val_check_interval={interval}: stage {stage.name} has {n_batches} batches an epoch; leave it out "
            f"and use fit.{stage.name}.check_val_every_n_epoch"
        )
    if module.automatic_optimization:
        return
    if trainer.accumulate_grad_batches != 1:
        raise D2MError(
            f"trainer.accumulate_grad_batches: stage {stage.name} makes several updates per batch; "
            f"use fit.{stage.name}.batch_size"
        )
    if str(trainer.precision).startswith("16"):
        raise D2MError(
            f"trainer.precision={trainer.precision}: stage {stage.name} would clip scaled gradients; "
            "use bf16-mixed or 32-true"
        )
