"""The curriculum: every stage with its own Lightning Trainer, each warm-started from the ones before, then a bundle."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
    RichModelSummary,
    RichProgressBar,
)
from pytorch_lightning.loggers import Logger

from d2m.bundle import sha256
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import best_precision, git_revision, is_rank_zero, versions
from d2m.core.seeds import check_seed
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.nets.sizes import Sizes
from d2m.train.callbacks.artifacts import Lineage, log_bundle
from d2m.train.callbacks.checkpoint_io import AtomicCheckpointIO
from d2m.train.callbacks.guard import BatchCounter, StopOnNaN
from d2m.train.callbacks.loggers import close_loggers, no_logger
from d2m.train.release import write_release
from d2m.train.steps import load_networks

#: In the order in which they are trained: the motion classifier first of what it may judge.
STAGES = ("du_vae", "music_style", "motion_style", "mm_gan", "generator")
#: What a run says of itself: revision, versions, stages, corpus.
RUN = "run.json"
#: stage -> {stage it starts from: {its network here: network there}}
_NET = ("initial_pose_encoder", "initial_pose_decoder", "movement_encoder", "unit_decoder")
_ALL = (*_NET, "music_style", "dance_encoder", "dance_decoder", "style_to_dance", "style_regressor")
WARM_STARTS: dict[str, dict[str, dict[str, str]]] = {
    "du_vae": {},
    "music_style": {},
    "mm_gan": {"du_vae": {f"net.{n}": f"net.{n}" for n in _NET}, "music_style": {"net.music_style": "net"}},
    "generator": {"mm_gan": {f"net.{n}": f"net.{n}" for n in _ALL}},
    "motion_style": {},
}
#: What "best" means: (monitored value, mode). The curriculum goes on from "last": a GAN has no meaningful best.
MONITORS = {
    "du_vae": ("val/recon", "min"),
    "music_style": ("val/accuracy", "max"),
    "mm_gan": ("val/recon", "min"),
    "generator": ("val/loss", "min"),
    "motion_style": ("val/balanced_accuracy", "max"),
}


def run_corpus(run_dir: Path) -> Path:
    """The prepared corpus that a run trained on.

    Raises:
        D2MError: no run, or one that did not get that far.
    """
    try:
        return Path(json.loads((run_dir / RUN).read_text())["corpus"])
    except (OSError, ValueError, KeyError) as e:
        raise D2MError(f"{run_dir}: no run of train.py here; give the folder that holds {RUN} and bundle") from e


def checkpoint_path(run_dir: Path, stage: str) -> Path:
    """Where a stage's last checkpoint lies."""
    return run_dir / "checkpoints" / stage / "last.ckpt"


def start_checkpoint(cfg: DictConfig, stage: str, run_dir: Path) -> Path | None:
    """What a stage goes on from, optimizers included: its own last checkpoint, else ``continue_from``, else None."""
    last = checkpoint_path(run_dir, stage)
    if last.exists():
        return last
    return Path(cfg.continue_from[stage]) if cfg.continue_from.get(stage) else None


def is_done(run_dir: Path, stage: str) -> bool:
    """Whether a stage of a run was trained to its end."""
    return checkpoint_path(run_dir, stage).with_name("done.json").exists()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A Lightning checkpoint, with ``weights_only=True``.

    Raises:
        D2MError: missing or unreadable.
    """
    if not path.is_file():
        raise D2MError(f"{path}: no such checkpoint; give the path of a stage's last.ckpt")
    try:
        ckpt: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        ckpt["state_dict"]
    except Exception as e:  # torch raises many kinds for a bad file
        raise D2MError(f"{path}: not a readable checkpoint; give the path of a stage's last.ckpt") from e
    return ckpt


def check_request(cfg: DictConfig, run_dir: Path) -> list[str]:
    """The stages to train, in order.

    Raises:
        D2MError: an unknown stage, or one whose start is neither trained here nor given; or a seed that is none.
    """
    check_seed(cfg.seed)
    asked = list(cfg.stages)
    unknown = [s for s in asked if s not in STAGES]
    if unknown or not asked:
        raise D2MError(f"stages={asked}: choose from {', '.join(STAGES)}")
    for stage, path in cfg.continue_from.items():
        if path and stage not in asked:
            raise D2MError(f"continue_from.{stage}: {stage} is not among stages={asked}; add it, or use init_from")
        if path and not Path(path).is_file():
            raise D2MError(f"continue_from.{stage}={path}: no such file; give the path of the stage's last.ckpt")
    for stage in asked:
        if cfg.continue_from.get(stage):
            continue  # that checkpoint holds every network of the stage
        for needed in WARM_STARTS[stage]:
            given = cfg.init_from.get(needed)
            if given and not Path(given).is_file():
                raise D2MError(f"init_from.{needed}={given}: no such file; give the path of a stage's last.ckpt")
            if needed not in asked and not given and not is_done(run_dir, needed):
                raise D2MError(f"stage {stage} starts from {needed}: add it to stages, or give init_from.{needed}=CKPT")
    return [s for s in STAGES if s in asked]


def build_module(cfg: DictConfig, stage: str, n_genres: int, n_features: int = Sizes.n_features) -> pl.LightningModule:
    """The stage's LightningModule with fresh weights; widths are those of the config and of the corpus."""
    sizes = {"n_genres": n_genres, "n_features": n_features}
    # convert="all", not recursive: hparams stay plain numbers and dicts (the optimizer too), so that checkpoints load
    # with weights_only=True.
    module: pl.LightningModule = instantiate(cfg.model[stage], sizes=sizes, _convert_="all", _recursive_=False)
    return module


def warm_start(module: pl.LightningModule, cfg: DictConfig, stage: str, run_dir: Path) -> dict[str, str]:
    """Copy the networks that this stage starts from; returns checkpoint -> sha256.

    Raises:
        D2MError: a checkpoint does not hold them or holds other sizes.
    """
    used = {}
    for source, names in WARM_STARTS[stage].items():
        path = Path(cfg.init_from.get(source) or checkpoint_path(run_dir, source))
        state = read_checkpoint(path)["state_dict"]
        try:
            for here, there in names.items():
                load_networks(module, state, here, there)
        except (KeyError, RuntimeError) as e:
            detail = " ".join(str(e).split())
            raise D2MError(f"{path}: does not fit stage {stage} as its {source} ({detail[:300]})") from e
        used[f"{source}: {path.name}"] = sha256(path)
    return used


def check_continues(module: pl.LightningModule, path: Path, stage: str, max_epochs: int) -> None:
    """See that a checkpoint of another run can be gone on with.

    Raises:
        D2MError: it is of another stage or of other sizes, or its epochs are as many as ``max_epochs`` already.
    """
    checkpoint = read_checkpoint(path)
    found = {k: tuple(v.shape) for k, v in checkpoint["state_dict"].items()}
    wanted = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise D2MError(
                f"{path}: does not fit stage {stage}: tensor '{name}' has shape {found.get(name, 'none')}, the config "
                f"and the corpus's genres ask for {wanted.get(name, 'none')}"
            )
    try:
        done = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["total"]["processed"])
    except (KeyError, TypeError, ValueError) as e:
        raise D2MError(f"{path}: holds no training to go on with; use init_from.{stage}") from e
    if 0 < max_epochs <= done:
        raise D2MError(f"{path}: has {done} epochs behind it; give fit.{stage}.max_epochs above that")


def build_trainer(cfg: DictConfig, stage: str, run_dir: Path, callbacks: list[Callback], logger: Any) -> pl.Trainer:
    """The stage's Trainer from ``cfg.trainer`` and ``cfg.fit[stage]``."""
    options = copy.deepcopy(cfg.trainer)
    if options.precision == "auto":
        options.precision = best_precision(options.accelerator)
    if stage == "mm_gan" and str(options.strategy) in ("ddp", "ddp_spawn", "ddp_fork"):
        # Its three updates touch different networks.
        options.strategy = f"{options.strategy}_find_unused_parameters_true"
    fit = cfg.fit[stage]
    trainer: pl.Trainer = instantiate(
        options,
        max_epochs=fit.max_epochs,
        check_val_every_n_epoch=fit.check_val_every_n_epoch,
        # The sampler is rank-aware itself, so that a batch is a function of (seed, epoch, rank).
        use_distributed_sampler=False,
        # A folder per stage: a SLURM requeue's checkpoint must not be taken for the next stage's.
        default_root_dir=str(checkpoint_path(run_dir, stage).parent),
        callbacks=callbacks,
        logger=logger,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=cfg.callbacks.progress_bar,
        enable_model_summary=cfg.callbacks.progress_bar,
    )
    return trainer


def build_callbacks(cfg: DictConfig, stage: str, run_dir: Path, corpus: Corpus, with_logger: bool) -> list[Callback]:
    """Checkpoints, guards, progress and, for the composing stages, dances to a fixed validation song."""
    monitor, mode = MONITORS[stage]
    where: dict[str, Any] = {"dirpath": checkpoint_path(run_dir, stage).parent, "enable_version_counter": False}
    callbacks: list[Callback] = [
        BatchCounter(),
        StopOnNaN(),
        ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **where),
        # Apart from "best": that one waits for validation, a killed job should lose an epoch at most.
        ModelCheckpoint(
            filename="last", every_n_epochs=cfg.callbacks.checkpoint_every_n_epochs,
            save_on_train_epoch_end=True, **where,
        ),
    ]  # fmt: skip
    if with_logger:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    if cfg.callbacks.progress_bar:
        callbacks += [RichProgressBar(), RichModelSummary(max_depth=2)]
    if stage in ("mm_gan", "generator") and cfg.callbacks.get("dance_video"):
        make_video = instantiate(cfg.callbacks.dance_video, _partial_=True)
        callbacks.append(make_video(out=str(run_dir / "videos"), corpus=corpus))
    if stage in ("mm_gan", "generator") and cfg.callbacks.get("latent"):
        make_study = instantiate(cfg.callbacks.latent, _partial_=True)
        own = str(checkpoint_path(run_dir, "motion_style")) if is_done(run_dir, "motion_style") else None
        judge = cfg.callbacks.latent.motion_style or own
        callbacks.append(make_study(stage=stage, out=str(run_dir / "latent"), corpus=corpus, motion_style=judge))
    return callbacks


def stage_inputs(cfg: DictConfig, stage: str, run_dir: Path) -> dict[str, Path]:
    """stage -> checkpoint that ``stage`` is made from, for the lineage."""
    if cfg.continue_from.get(stage):
        return {stage: Path(cfg.continue_from[stage])}
    return {s: Path(cfg.init_from.get(s) or checkpoint_path(run_dir, s)) for s in WARM_STARTS[stage]}


def train_stage(cfg: DictConfig, stage: str, run_dir: Path, corpus_dir: Path) -> None:
    """Train one stage, or go on with it from its last checkpoint; its result is ``checkpoints/<stage>/last.ckpt``."""
    corpus = Corpus.open(corpus_dir)
    last = checkpoint_path(run_dir, stage)
    start = start_checkpoint(cfg, stage, run_dir)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    module = build_module(cfg, stage, len(corpus.genres), corpus.n_features)
    fit = cfg.fit[stage]
    sources = {} if start else warm_start(module, cfg, stage, run_dir)
    if start is not None and start != last:
        check_continues(module, start, stage, fit.max_epochs)
        sources = {f"continue_from: {start.name}": sha256(start)}
    data = DanceDataModule(
        root=str(corpus_dir), stage=stage, batch_size=fit.batch_size, seed=cfg.seed,
        steps_per_epoch=fit.steps_per_epoch, shift=tuple(cfg.data.shift),
    )  # fmt: skip
    plain = OmegaConf.to_container(cfg, resolve=True)
    # A partial: instantiate would build what the config among the hparams describes.
    make_logger = instantiate(cfg.logger, _partial_=True)
    logger: Logger | bool = make_logger(run_dir=str(run_dir), stage=stage, hparams={"config": plain})
    if isinstance(logger, Logger):
        logger.log_hyperparams({"stage": stage, "warm_start": sources})
    callbacks = build_callbacks(cfg, stage, run_dir, corpus, isinstance(logger, Logger))
    callbacks.append(Lineage(stage, run_dir, corpus_dir, last, stage_inputs(cfg, stage, run_dir)))
    trainer = build_trainer(cfg, stage, run_dir, callbacks, logger)
    started = time.monotonic()
    status = "failed"
    try:
        trainer.fit(module, data, ckpt_path=None if start is None else str(start), weights_only=True)
        status = "interrupted" if trainer.interrupted else "success"
    finally:
        # Not the trainer's: under fast_dev_run it has a dummy, and W&B's run would go on into the next stage.
        close_loggers([logger] if isinstance(logger, Logger) else [], status)
    if status == "interrupted":
        raise KeyboardInterrupt
    if trainer.is_global_zero:
        if not last.exists():  # fast_dev_run keeps no checkpoints
            last.parent.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(last)
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}
        write_json(
            last.with_name("done.json"),
            {"metrics": metrics, "seconds": time.monotonic() - started, "warm_start": sources,
             "checkpoint_sha256": sha256(last), "precision": str(trainer.precision), "seed": cfg.seed},
        )  # fmt: skip
    trainer.strategy.barrier()


def run(cfg: DictConfig, run_dir: Path) -> Path:
    """The whole job: corpus, stages, bundle. Returns the run's folder.

    Raises:
        D2MError: whatever the user can mend.
    """
    if cfg.torch_threads:
        torch.set_num_threads(cfg.torch_threads)
    torch.set_float32_matmul_precision("high")
    stages = check_request(cfg, run_dir)
    facts: dict[str, Any] = {"git": git_revision(), "versions": versions(), "stages": stages}
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if is_rank_zero():
            write_json(run_dir / RUN, facts)
    except OSError as e:
        raise D2MError(f"{run_dir}: cannot write the run here ({e.strerror}); choose another hydra.run.dir") from e
    corpus_dir = Path(instantiate(cfg.data.corpus))
    if is_rank_zero():
        write_json(run_dir / RUN, {**facts, "corpus": str(corpus_dir)})
    for stage in stages:
        if not is_done(run_dir, stage):
            train_stage(cfg, stage, run_dir, corpus_dir)
    trained = [s for s in ("generator", "mm_gan") if is_done(run_dir, s)]
    if trained and is_rank_zero():
        bundle = write_release(cfg, run_dir, corpus_dir, trained[0])
        make_logger = no_logger if cfg.trainer.fast_dev_run else instantiate(cfg.logger, _partial_=True)
        log_bundle(
            make_logger, bundle, run_dir, corpus_dir,
            {trained[0]: checkpoint_path(run_dir, trained[0])},
        )  # fmt: skip
    if is_rank_zero():
        write_json(run_dir / "metrics.json", collect_metrics(run_dir))
    return run_dir


def objective(run_dir: Path, stages: Sequence[str]) -> float | None:
    """What a sweeper optimises: the last trained stage's monitored value; None where it was never validated."""
    stage = [s for s in STAGES if s in stages][-1]
    if not is_done(run_dir, stage):
        return None
    done = json.loads(checkpoint_path(run_dir, stage).with_name("done.json").read_text())
    value = done["metrics"].get(MONITORS[stage][0])
    return None if value is None else float(value)


def collect_metrics(run_dir: Path) -> dict[str, Any]:
    """Last values of every stage that is done."""
    found = {}
    for stage in STAGES:
        if is_done(run_dir, stage):
            found[stage] = json.loads(checkpoint_path(run_dir, stage).with_name("done.json").read_text())
    return found
