"""The curriculum: stages with a Lightning Trainer each, warm-started from earlier stages, then a bundle."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from d2m.bundle import sha256
from d2m.bundle.passport import Begun, Passport
from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import signature
from d2m.core.errors import D2MError, Pruned
from d2m.core.files import write_json
from d2m.core.machine import code_digest, git_revision, is_rank_zero, versions
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.train.arithmetic import compile_layers, set_arithmetic
from d2m.train.build import build_callbacks, build_module, build_trainer, check_stages
from d2m.train.callbacks.artifacts import Lineage, log_bundle
from d2m.train.callbacks.checkpoint_io import BEFORE
from d2m.train.callbacks.ending import Signals
from d2m.train.callbacks.loggers import close_loggers, no_logger, say_upload, stage_loggers, wandb_id
from d2m.train.callbacks.pace import PaceBar, note, silence_advertisements
from d2m.train.callbacks.progress import Progress
from d2m.train.callbacks.prune import Prune, SweepTrial
from d2m.train.checkpoints import begin
from d2m.train.identity import Company, check_done_stages, check_not_trained, is_complete, plain, sign_stage
from d2m.train.processes import lost, no_process_left, trained
from d2m.train.release import write_release
from d2m.train.request import check_front_end, check_request, starts_from
from d2m.train.requeue import heed
from d2m.train.reuse import shared
from d2m.train.stage import STAGES, Stage
from d2m.train.timing import build_pace


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
        trial: of an Optuna sweep, which may stop the stage early.

    Raises:
        D2MError: a checkpoint does not fit, or a loss is not finite.
        Cut: a signal ended it.
        Pruned: the sweep stopped it.
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
    # A partial: instantiate would also instantiate the targets inside the config that is passed as hparams.
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
        if not trainer.is_global_zero:  # rank zero prints the line
            raise SystemExit(1) from e
        raise D2MError(
            f"stage {stage.name}: another process of this run is gone (its own output says why); resume with: "
            f"d2m train resume={shlex.quote(str(run.path))}"
        ) from e
    finally:
        # Not the trainer's: fast_dev_run replaces them with a dummy, and W&B's run would continue into the next stage.
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


def run(
    cfg: DictConfig, run_dir: Path, overrides: Sequence[str] = (), company: Company | None = None,
    begun: Begun | None = None,
) -> Path:  # fmt: skip
    """The whole job: corpus, stages, bundle. Returns the run's folder.

    Args:
        overrides: the run's own, stored in run.json, by which a later command recognises the run.
        company: the runs beside it, to compare with and to share stages with.
        begun: the folder of a new run, if it is locked already; None: it is locked here.

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
    with ExitStack() if begun is None else begun.take_over() as held:
        if begun is None:
            held.enter_context(folder.lock() if first else nullcontext())
            passport = held.enter_context(Passport(folder, facts, writes=first))
        else:
            passport = begun.passport
            passport.update(**facts)
        passport.update(stage="corpus")
        held.enter_context(no_process_left())
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
        if run.has_trained() and run.facts().get("code", code) != code:
            note(
                f"{run.path}: d2m's source code has changed since the last session; the run goes on with the new code, "
                "without a signature (no other run is taken for the same)",
                logging.WARNING,
            )
        facts = {"corpus": str(corpus_dir), "corpus_digest": corpus.digest, "git": git_revision(), "code": code}
        passport.identify(plain(cfg), signed, **facts)
    for i, stage in enumerate(stages):
        heed()
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
    heed()
    passport.update(stage="bundle")
    released = next((s for s in reversed(STAGES.values()) if s.dances and run.is_done(s.name)), None)
    if released is not None:
        bundle = write_release(cfg, run, corpus_dir, released)
        make_logger = no_logger if cfg.trainer.fast_dev_run else instantiate(cfg.logger, _partial_=True)
        log_bundle(make_logger, bundle, run, corpus_dir, {released.name: run.checkpoint(released.name)}, plain(cfg))
    write_json(run.metrics_path, {s: run.done(s) for s in STAGES if run.is_done(s)})
