"""The curriculum: every stage with its own Lightning Trainer, each warm-started from the ones before, then a bundle."""

from __future__ import annotations

import copy
import logging
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
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

from d2m.bundle import sha256
from d2m.bundle.passport import Passport
from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import signature
from d2m.core.errors import D2MError, Pruned
from d2m.core.files import write_json
from d2m.core.machine import best_precision, code_digest, git_revision, is_rank_zero, versions
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.nets.sizes import Sizes
from d2m.train.arithmetic import compile_layers, set_arithmetic
from d2m.train.callbacks.artifacts import Lineage, log_bundle
from d2m.train.callbacks.averaging import averaging_of
from d2m.train.callbacks.checkpoint_io import BEFORE, AtomicCheckpointIO
from d2m.train.callbacks.ending import LastCheckpoint, Signals
from d2m.train.callbacks.guard import BatchCounter, StopOnNaN
from d2m.train.callbacks.loggers import close_loggers, no_logger, say_upload, stage_loggers, wandb_id
from d2m.train.callbacks.pace import PaceBar, note, silence_advertisements
from d2m.train.callbacks.progress import GenreNames, Progress
from d2m.train.callbacks.prune import Prune, SweepTrial
from d2m.train.checkpoints import begin, check_continues, check_style_network, read_checkpoint
from d2m.train.identity import Company, check_done_stages, check_not_trained, is_complete, plain, sign_stage
from d2m.train.processes import lost, no_process_left, trained, use_together
from d2m.train.release import write_release
from d2m.train.request import (
    check_front_end,
    check_processes,
    check_request,
    check_space,
    check_trainer,
    start_checkpoint,
    starts_from,
)
from d2m.train.requeue import cluster_environment
from d2m.train.reuse import shared
from d2m.train.stage import STAGES, Stage
from d2m.train.timing import build_pace

#: trainer.precision -> what weights are kept in, if not in float32.
_TRUE = {"64-true": torch.float64, "64": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}


def build_module(
    cfg: DictConfig, stage: Stage, n_genres: int, n_features: int = Sizes.n_features
) -> pl.LightningModule:
    """The stage's LightningModule with fresh weights; widths are those of the config and of the corpus.

    In the precision that Lightning would convert it to: only after it has restored a checkpoint, and rounded it.
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
    fit = cfg.fit[stage.name]
    try:
        trainer: pl.Trainer = instantiate(
            options,
            max_epochs=fit.max_epochs,
            check_val_every_n_epoch=fit.check_val_every_n_epoch,
            # The sampler is rank-aware itself: each process reads its rows of every batch.
            use_distributed_sampler=False,
            default_root_dir=str(run.checkpoint(stage.name).parent),
            callbacks=callbacks,
            logger=logger,
            plugins=[AtomicCheckpointIO(), *cluster_environment()],
            enable_progress_bar=cfg.callbacks.progress_bar,
            enable_model_summary=cfg.callbacks.progress_bar,
        )
    except HydraException as e:
        raise D2MError(f"trainer: {' '.join(str(e.__cause__ or e).split())}") from e
    return trainer


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
        # Apart from "best": that one waits for validation, a killed job should lose an epoch at most.
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


def check_stages(cfg: DictConfig, stages: Sequence[Stage], run: RunFolder, corpus: Corpus) -> None:
    """See that every stage can be built and takes the Trainer's options, before the first one is trained.

    Raises:
        D2MError: naming the option, the key or the checkpoint.
    """
    parameters = 0
    for stage in stages:
        with torch.device("meta"):  # sizes and options, without the memory
            module = build_module(cfg, stage, len(corpus.genres), corpus.n_features)
        callbacks = build_callbacks(cfg, stage, run, corpus, with_logger=False)
        trainer = build_trainer(cfg, stage, run, callbacks, logger=False)
        check_trainer(trainer, module, stage, cfg.fit[stage.name].steps_per_epoch)
        check_processes(trainer, stage, cfg.fit[stage.name].batch_size)
        given = cfg.continue_from.get(stage.name)
        if given and start_checkpoint(cfg, stage, run) == Path(given):
            check_continues(module, Path(given), stage, cfg.fit[stage.name].max_epochs, corpus.genres)
        for source, path in starts_from(cfg, stage, run).items():
            # One that is trained here first is read when it is whole.
            if path.is_file() and (path != run.checkpoint(source.name) or run.is_done(source.name)):
                checkpoint = read_checkpoint(path, corpus.genres if source.knows_genres else None)
                if source.hears:
                    check_style_network(module, checkpoint, path)
        if not run.is_done(stage.name):
            copies = 4 / 3 if cfg.callbacks.ema.get(stage.name) else 1.0  # with the average
            parameters += round(copies * sum(p.numel() for p in module.parameters()))
    check_space(run, parameters)


def train_stage(
    cfg: DictConfig,
    stage: Stage,
    run: RunFolder,
    corpus_dir: Path,
    passport: Passport,
    after: Sequence[Stage] = (),
    signed: str | None = None,
    trial: SweepTrial | None = None,
) -> None:
    """Train one stage, or resume it from its last checkpoint; its result is ``checkpoints/<stage>/last.ckpt``.

    Args:
        after: the stages that follow.
        signed: the stage's signature.
        trial: of an Optuna sweep, which may give the stage up.

    Raises:
        D2MError: a checkpoint does not fit, or a loss is not finite.
        Cut: a signal ended it.
        Pruned: the sweep gave it up.
    """
    passport.update(stage=stage.name)
    corpus = Corpus.open(corpus_dir)
    last = run.checkpoint(stage.name)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    module = build_module(cfg, stage, len(corpus.genres), corpus.n_features)
    module.noise = cfg.noise  # type: ignore[assignment]
    if cfg.compile:
        compile_layers(module)
    start, before = begin(module, cfg, stage, run, corpus)
    progress = Progress(run.progress_path(stage.name), before)
    fit = cfg.fit[stage.name]
    data = DanceDataModule(
        root=str(corpus_dir), kind=stage.items, batch_size=fit.batch_size, seed=cfg.seed,
        steps_per_epoch=fit.steps_per_epoch, shift=tuple(cfg.data.shift),
        span_features=module.hparams.get("span", False), augment=module.hparams.get("augment"),
        repeat_batches=cfg.repeat_batches, val_split="val" if cfg.repeat_batches is None else "train",
    )  # fmt: skip
    # A partial: instantiate would build what the config among the hparams describes.
    make_logger = instantiate(cfg.logger, _partial_=True)
    loggers = stage_loggers(make_logger, run.path, stage.name, plain(cfg), csv=not cfg.trainer.fast_dev_run)
    for logger in loggers:
        logger.log_hyperparams({"stage": stage.name, "warm_start": progress.warm_start})
    if wandb := wandb_id(loggers):
        passport.add_wandb(stage.name, wandb)
    callbacks = [*build_callbacks(cfg, stage, run, corpus, with_logger=bool(loggers)), progress]
    inputs = {s.name: p for s, p in starts_from(cfg, stage, run).items()}
    if cfg.continue_from.get(stage.name):
        inputs = {stage.name: Path(cfg.continue_from[stage.name])}
    pace, signals = build_pace(cfg, stage, run, corpus, after), Signals()
    callbacks += [Lineage(stage.name, run, corpus_dir, inputs), signals, pace]
    if cfg.callbacks.progress_bar:
        callbacks.append(PaceBar(pace))
    if trial is not None:
        callbacks.append(Prune(trial, stage.monitor))
    trainer = build_trainer(cfg, stage, run, callbacks, loggers or False)
    status = "failed"
    try:
        trainer.fit(module, data, ckpt_path=None if start is None else str(start), weights_only=True)
        status = "success"
    except SystemExit as e:
        cut = signals.cut(e, trainer, stage.name, last)
        status = cut.state
        raise cut from e
    except Pruned:
        status = "success"
        raise
    except D2MError as e:
        note(f"error: {e}", logging.ERROR, only_to_file=True)
        raise
    except RuntimeError as e:
        if trainer.world_size == 1 or not lost(e):
            raise
        if not trainer.is_global_zero:  # one line is enough
            raise SystemExit(1) from e
        raise D2MError(
            f"stage {stage.name}: another process of this run is gone (its own output says why); d2m train "
            f"resume={shlex.quote(str(run.path))} goes on"
        ) from e
    finally:
        # Not the trainer's: under fast_dev_run it has a dummy, and W&B's run would continue into the next stage.
        close_loggers(loggers, status, say=False)
    if trainer.is_global_zero:
        last.with_name(BEFORE).unlink(missing_ok=True)
        if not last.exists():  # fast_dev_run keeps no checkpoints
            last.parent.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(last, weights_only=False)
        facts = {"checkpoint_sha256": sha256(last), "precision": str(trainer.precision), "seed": cfg.seed}
        facts |= {"signature": signed} if signed is not None and not trainer.fast_dev_run else {}  # type: ignore[attr-defined]
        write_json(run.done_path(stage.name), {**progress.facts(trainer), **facts})
    trainer.strategy.barrier()


def run(cfg: DictConfig, run_dir: Path, overrides: Sequence[str] = (), company: Company | None = None) -> Path:
    """The whole job: corpus, stages, bundle. Returns the run's folder.

    Args:
        overrides: what the run was started with, for run.json: by it a later command knows the run again.
        company: the runs that it is trained among.

    Raises:
        D2MError: anything the user can fix.
    """
    silence_advertisements()
    folder = RunFolder(run_dir)
    stages = check_request(cfg, folder)
    if is_complete(folder, cfg, stages):
        if is_rank_zero():
            print(f"{folder.path}: finished already, with this config; nothing to train")
        return run_dir
    set_arithmetic(cfg)
    first = is_rank_zero()
    facts = {"overrides": list(overrides), "stages": [s.name for s in stages], "versions": versions()}
    with (
        folder.lock() if first else nullcontext(),
        Passport(folder, facts, writes=first) as passport,
        no_process_left(),
    ):
        try:
            _run(cfg, folder, stages, passport, company or Company())
        finally:
            if first:
                say_upload(folder.path)
    return run_dir


def _run(cfg: DictConfig, run: RunFolder, stages: Sequence[Stage], passport: Passport, company: Company) -> None:
    corpus_dir = Path(instantiate(cfg.data.corpus))
    corpus = Corpus.open(corpus_dir)
    check_front_end(cfg, corpus, stages)
    check_done_stages(cfg, run, corpus)
    check_stages(cfg, stages, run, corpus)
    code = code_digest()
    signed = signature(plain(cfg), corpus.digest, code)
    if company.beside is not None:
        check_not_trained(run, signed, company.beside)
    if is_rank_zero():
        facts = {"corpus": str(corpus_dir), "corpus_digest": corpus.digest, "git": git_revision()}
        passport.identify(plain(cfg), signed, **facts)
    for i, stage in enumerate(stages):
        if run.is_done(stage.name):
            continue
        after = [s for s in stages[i + 1 :] if not run.is_done(s.name)]
        wanted = sign_stage(cfg, stage, run, corpus, code)
        if is_rank_zero():
            passport.update(
                stage=stage.name, stage_signatures={**run.facts().get("stage_signatures", {}), stage.name: wanted}
            )
        trial = company.trial if stage is stages[-1] else None
        with shared(run, stage.name, wanted, company.reuse) as lender:
            if lender is None:
                train_stage(cfg, stage, run, corpus_dir, passport, after, wanted, trial)
    trained()
    if not is_rank_zero():
        return
    passport.update(stage="bundle")
    released = next((s for s in reversed(STAGES.values()) if s.dances and run.is_done(s.name)), None)
    if released is not None:
        bundle = write_release(cfg, run, corpus_dir, released)
        make_logger = no_logger if cfg.trainer.fast_dev_run else instantiate(cfg.logger, _partial_=True)
        log_bundle(make_logger, bundle, run, corpus_dir, {released.name: run.checkpoint(released.name)}, plain(cfg))
    write_json(run.metrics_path, {s: run.done(s) for s in STAGES if run.is_done(s)})
