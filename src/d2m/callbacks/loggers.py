"""Loggers for one stage of a run. W&B is online where the machine is logged in, else offline; never a prompt."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from d2m.runtime import is_rank_zero


def wandb_mode() -> str:
    """ "online", "offline" or "disabled": what WANDB_MODE says, else online only where a key is at hand."""
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return asked
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return "online" if netrc.netrc().authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


def wandb_logger(run_dir: str, stage: str, hparams: dict[str, Any], project: str = "d2m") -> Logger:
    """One W&B run per stage, grouped by the run's folder; the same run again when a stage is resumed."""
    folder = Path(run_dir)
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    name = "/".join(folder.absolute().parts[-2:])  # of a sweep the folder's own name is a number
    logger = WandbLogger(
        project=project,
        name=f"{name}-{stage}",
        group=name,
        job_type=stage,
        id=_run_id(folder, stage),
        resume="allow",
        save_dir=str(folder),
        mode=wandb_mode(),
        config=hparams,
        settings=_quiet_settings(),
    )
    return logger


def _quiet_settings() -> Any:
    import wandb

    return wandb.Settings(silent=True, console="off")


def _run_id(folder: Path, stage: str) -> str:
    """Stable over resumes and processes, different for every run folder."""
    marker = folder / ".wandb_id"
    mine = folder / f".wandb_id-{os.getpid()}"
    mine.write_text(os.urandom(4).hex())
    with suppress(FileExistsError):  # of several processes the first one's counts, whole
        os.link(mine, marker)
    mine.unlink()
    return f"{marker.read_text().strip()}-{stage}"


def close_loggers(loggers: Iterable[Logger], status: str) -> None:
    """Finalise them, also on a crash: W&B's next run would else write into this one."""
    loggers = list(loggers)
    for logger in loggers:
        logger.finalize("success" if status == "success" else "failed")
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        if wandb.run is not None:
            wandb.finish(exit_code=0 if status == "success" else 1)


def define_batch_axis(logger: Logger) -> None:
    """Make the batch counter W&B's x axis: ``global_step`` counts optimizer steps, three or more a batch in the GAN."""
    if isinstance(logger, WandbLogger):
        logger.experiment.define_metric("*", step_metric="batch")


def tensorboard_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> Logger:
    """Event files under ``<run>/tensorboard/<stage>``."""
    return TensorBoardLogger(save_dir=run_dir, name="tensorboard", version=stage, default_hp_metric=False)


def csv_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> Logger:
    """``<run>/csv/<stage>/metrics.csv``; where a stage is resumed, what it had logged is kept as metrics.1.csv, ..."""
    metrics = Path(run_dir) / "csv" / stage / "metrics.csv"
    if metrics.exists() and is_rank_zero():  # Lightning would delete it
        earlier = len(list(metrics.parent.glob("metrics.*.csv")))
        metrics.rename(metrics.with_name(f"metrics.{earlier + 1}.csv"))
    return CSVLogger(save_dir=run_dir, name="csv", version=stage)


def no_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> bool:
    """Lightning's "no logger"."""
    return False


def log_video(logger: Logger, key: str, path: Path, batch: int, caption: str) -> None:
    """An encoded mp4 to W&B as a file (tensors make its encoder hang), to TensorBoard as a note of where it lies."""
    if isinstance(logger, WandbLogger):
        import wandb

        logger.experiment.log({key: wandb.Video(str(path), caption=caption, format="mp4"), "batch": batch})
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(key, f"{caption}: {path}", global_step=batch)
