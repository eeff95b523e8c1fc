"""Build a stage's module, Trainer and callbacks from the config; check that all stages can be built before training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
    RichModelSummary,
)
from pytorch_lightning.loggers import Logger

from d2m.bundle.passport import slurm_job
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.machine import best_precision
from d2m.data.corpus import Corpus
from d2m.nets.sizes import Sizes
from d2m.train.callbacks.averaging import averaging_of
from d2m.train.callbacks.checkpoint_io import AtomicCheckpointIO, is_whole
from d2m.train.callbacks.ending import LastCheckpoint
from d2m.train.callbacks.guard import BatchCounter, StopOnNaN
from d2m.train.callbacks.pace import nothing_said
from d2m.train.callbacks.progress import GenreNames
from d2m.train.checkpoints import check_averages, check_continues, read_checkpoint, warm_start
from d2m.train.processes import use_together
from d2m.train.request import check_processes, check_space, check_trainer, start_checkpoint, starts_from
from d2m.train.requeue import cluster_environment
from d2m.train.stage import Stage

#: trainer.precision -> dtype of the weights, if not float32.
_TRUE = {"64-true": torch.float64, "64": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}


def build_module(
    cfg: DictConfig, stage: Stage, n_genres: int, n_features: int = Sizes.n_features
) -> pl.LightningModule:
    """The stage's LightningModule with fresh weights; its widths come from the config and the corpus.

    The weights already have the dtype of ``trainer.precision``. Lightning converts them only after restoring a
    checkpoint, whose values it thereby rounds.
    """
    sizes = {"n_genres": n_genres, "n_features": n_features}
    # convert="all", not recursive: hparams stay plain numbers and dicts (the optimizer too), so that checkpoints load
    # with weights_only=True.
    module: pl.LightningModule = instantiate(cfg.model[stage.name], sizes=sizes, _convert_="all", _recursive_=False)
    return module.to(_TRUE.get(str(cfg.trainer.precision), torch.float32))


def build_trainer(
    cfg: DictConfig, stage: Stage, run: RunFolder, callbacks: list[Callback], logger: list[Logger] | bool
) -> pl.Trainer:
    """The stage's Trainer from ``cfg.trainer`` and ``cfg.fit[stage]``.

    Raises:
        D2MError: Lightning refuses the options.
    """
    options = copy.deepcopy(cfg.trainer)
    if options.precision == "auto":
        options.precision = best_precision(options.accelerator)
    use_together()
    # Raised by Lightning's own use of torch, once per stage: the user cannot fix it.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    if slurm_job() is None:  # outside a job the hint is wrong: login nodes and workstations can have srun too
        warnings.filterwarnings("ignore", message=r"The `srun` command is available")
    fit = cfg.fit[stage.name]
    try:
        trainer: pl.Trainer = instantiate(
            options,
            max_epochs=fit.max_epochs,
            check_val_every_n_epoch=fit.check_val_every_n_epoch,
            # Our sampler is rank-aware: each process reads its own rows of every batch.
            use_distributed_sampler=False,
            default_root_dir=str(run.checkpoint(stage.name).parent),
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO(), *cluster_environment()],
            enable_progress_bar=cfg.callbacks.progress_bar,
            enable_model_summary=False,  # it is one of the callbacks
        )
    except HydraException as e:
        raise D2MError(f"{_refused_option(options)}: {' '.join(str(e.__cause__ or e).split())}") from e
    return trainer


def _refused_option(options: DictConfig) -> str:
    """The device option that this machine lacks, and what to give instead; "trainer" if it is neither."""
    if options.accelerator in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
        return f"trainer.accelerator={options.accelerator}: there is none here; give trainer=cpu"
    if options.devices != "auto" and (not isinstance(options.devices, int) or options.devices < 1):
        return f"trainer.devices={options.devices}: on a CPU give a number of processes"
    return "trainer"


def build_callbacks(cfg: DictConfig, stage: Stage, run: RunFolder, corpus: Corpus, with_logger: bool) -> list[Callback]:
    """Checkpoints, guards, progress and, for the stages that dance, every callback of ``cfg.callbacks``."""
    last = run.checkpoint(stage.name)
    callbacks: list[Callback] = [
        BatchCounter(),
        StopOnNaN(stage.name, run.checkpoint(stage.name).with_name("not_finite.pt")),
        GenreNames(corpus.genres),
        ModelCheckpoint(
            last.parent, filename="best", monitor=stage.monitor, mode=stage.mode, enable_version_counter=False
        ),
        # Separate from "best", which is only saved after validation: a killed job should lose at most one epoch.
        LastCheckpoint(last, cfg.callbacks.checkpoint_every_n_epochs),
        *averaging_of(cfg.callbacks.ema, stage.name),
    ]
    if with_logger:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    if cfg.callbacks.progress_bar:
        callbacks.append(RichModelSummary(max_depth=2))
    if stage.dances:
        configured = [node for node in cfg.callbacks.values() if isinstance(node, DictConfig) and "_target_" in node]
        callbacks += [
            instantiate(node, _partial_=True)(stage=stage.name, run=run, corpus=corpus) for node in configured
        ]
    return callbacks


def check_optimizers(module: pl.LightningModule, stage: Stage) -> None:
    """Check that a stage's optimizers can be built.

    Args:
        module: on the meta device; afterwards its tensors are allocated on the CPU, uninitialised.

    Raises:
        D2MError: naming the key.
    """
    try:
        # Not on the meta device, which has no fused optimizers.
        module.to_empty(device="cpu").configure_optimizers()
    except D2MError as e:
        raise D2MError(f"model.{stage.name}.{e}") from e


def check_stages(cfg: DictConfig, stages: Sequence[Stage], run: RunFolder, corpus: Corpus) -> None:
    """Check that every stage can be built and accepts the Trainer's options, before the first one is trained.

    Raises:
        D2MError: naming the option, the key or the checkpoint.
    """
    parameters = 0
    for stage in stages:
        with torch.device("meta"):  # sizes and options, without the memory
            module = build_module(cfg, stage, len(corpus.genres), corpus.n_features)
        callbacks = build_callbacks(cfg, stage, run, corpus, with_logger=False)
        check_optimizers(module, stage)
        with nothing_said():
            trainer = build_trainer(cfg, stage, run, callbacks, logger=False)
        check_trainer(trainer, module, stage, cfg.fit[stage.name].steps_per_epoch)
        check_processes(trainer, stage, cfg.fit[stage.name].batch_size)
        given, start = cfg.continue_from.get(stage.name), start_checkpoint(cfg, stage, run)
        decay = cfg.callbacks.ema.get(stage.name)
        own = start is not None and start.parent == run.checkpoint(stage.name).parent and not run.is_done(stage.name)
        if start is not None and own and is_whole(start):  # a damaged one is reported when the stage begins
            check_averages(read_checkpoint(start), start, stage, decay)
        if given and start == Path(given):
            check_continues(module, Path(given), stage, cfg.fit[stage.name].max_epochs, corpus.genres, decay)
        for source, path in starts_from(cfg, stage, run).items():
            # A checkpoint that this run has yet to finish is read later.
            if path.is_file() and (path != run.checkpoint(source.name) or run.is_done(source.name)):
                warm_start(module, stage, {source: path}, corpus.genres)
        if not run.is_done(stage.name):
            copies = 4 / 3 if cfg.callbacks.ema.get(stage.name) else 1.0  # with the average
            parameters += round(copies * sum(p.numel() for p in module.parameters()))
    check_space(run, parameters)
