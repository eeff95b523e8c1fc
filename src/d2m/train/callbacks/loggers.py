"""Loggers for one stage of a run. W&B is online if the machine is logged in, else offline; it never prompts."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from d2m.bundle.run_folder import RunFolder
from d2m.core.machine import is_rank_zero
from d2m.draw.video import video_gif
from d2m.train.callbacks.pace import note

#: Longest name of a run, group or artifact that W&B's server accepts.
NAME_LIMIT = 128
#: Longest tag.
TAG_LIMIT = 64
#: How long a run may wait for W&B's server before it continues offline.
CONNECT_SECONDS = 30.0
#: How often W&B writes an offline run to disk; a killed job loses at most this (W&B's default: 15 s).
FLUSH_SECONDS = 1.0
#: Marks a WANDB_DATA_DIR set by us: the next run of this process may change it.
_STAGED = "D2M_WANDB_STAGED"


def within_limit(name: str, limit: int = NAME_LIMIT) -> str:
    """A name that W&B's server accepts: one that is too long is cut and gets a digest of the whole."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 11]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def wandb_mode() -> str:
    """ "online", "offline" or "disabled": WANDB_MODE if set, else online if W&B finds an API key; never prompts."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    os.environ.pop("WANDB_MODE", None)  # W&B itself refuses an empty one
    import wandb

    try:
        logged_in = wandb.login(prompt=False, verify=False)
    except wandb.errors.Error as e:
        print(f"W&B cannot log in ({str(e).splitlines()[0][:120]}); this run is logged offline")
        logged_in = False
    return "online" if logged_in else "offline"


def wandb_logger(
    run_dir: str, stage: str, hparams: dict[str, Any], project: str = "d2m", tags: Sequence[str] = ()
) -> Logger:
    """One W&B run per stage, grouped by the run's folder; a resumed stage continues its W&B run.

    Args:
        tags: in addition to those of :func:`run_tags`.
    """
    folder = Path(run_dir)
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    _stage_artifacts_in(folder / "wandb" / "staged")
    name = "/".join(folder.absolute().parts[-2:])  # a trial's folder name alone is a number

    def make(mode: str, suffix: str = "") -> WandbLogger:
        return PatientWandbLogger(
            project=project, name=within_limit(f"{name}-{stage}"), group=within_limit(name), job_type=stage,
            id=_run_id(folder, stage) + suffix, resume="allow",
            tags=[*run_tags(folder), *(within_limit(str(t), TAG_LIMIT) for t in tags)],
            save_dir=str(folder), mode=mode, config=hparams, settings=_quiet_settings(),
        )  # fmt: skip

    mode = wandb_mode()
    if mode == "online" and is_rank_zero():
        import wandb

        logger = make(mode)
        try:
            logger.experiment  # noqa: B018 (connects)
            return logger
        except wandb.errors.Error as e:
            print(f"W&B cannot be reached ({str(e).splitlines()[0][:120]}); this run is logged offline")
            wandb.teardown()
            return make("offline", "-offline")  # W&B's service may still hold the first id
    return make(mode)


def run_tags(folder: Path) -> list[str]:
    """``run:NAME``, for a sweep's trial preceded by ``sweep:NAME``: W&B's tables can be filtered by them."""
    name, sweep = folder.absolute().name, RunFolder(folder.absolute()).sweep
    if sweep is not None:
        return [within_limit(f"sweep:{sweep.name}", TAG_LIMIT), within_limit(f"run:{sweep.name}/{name}", TAG_LIMIT)]
    return [within_limit(f"run:{name}", TAG_LIMIT)]


def _stage_artifacts_in(folder: Path) -> None:
    """Keep an offline run's pending uploads in the run's folder, not in the home folder, unless the user has set it."""
    if os.environ.get("WANDB_DATA_DIR") in (None, "", os.environ.get(_STAGED)):
        os.environ["WANDB_DATA_DIR"] = os.environ[_STAGED] = str(folder.absolute())


def _quiet_settings() -> Any:
    import wandb

    return wandb.Settings(
        silent=True, console="off", init_timeout=CONNECT_SECONDS, x_transaction_log_flush_interval=FLUSH_SECONDS
    )


def _service_errors() -> tuple[type[Exception], ...]:
    """What W&B raises if its service has ended."""
    from wandb.sdk.mailbox import HandleAbandonedError

    return ConnectionError, HandleAbandonedError


@contextmanager
def _service_may_be_gone() -> Iterator[None]:
    """Turn connection errors into a note: clusters signal all processes of a job, which ends W&B's service at once.

    The run itself ends only after the batch; what was logged until then is on disk.
    """
    try:
        yield
    except _service_errors() as e:
        reason = " ".join(str(e).split()) or type(e).__name__
        note(f"W&B's service has ended ({reason}); W&B has the curves up to here", logging.WARNING)


class PatientWandbLogger(WandbLogger):
    """Lightning's logger, but training continues if W&B's service has ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, even of the None that Lightning hands on

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with _service_may_be_gone():
            super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        with _service_may_be_gone():
            super().finalize(status)


def _run_id(folder: Path, stage: str) -> str:
    """The W&B id of a stage: the same in all sessions and processes, different for every run folder."""
    marker = folder / ".wandb_id"
    mine = folder / f".wandb_id-{os.getpid()}"
    mine.write_text(os.urandom(4).hex())
    try:  # the first of several processes wins
        os.link(mine, marker)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not marker.exists():
            mine.replace(marker)
    mine.unlink(missing_ok=True)
    return f"{marker.read_text().strip()}-{stage}"


def close_loggers(loggers: Iterable[Logger], status: str, say: bool = True) -> None:
    """Finalise them, even after a crash: otherwise the next W&B run of this process would write into this one.

    Args:
        status: success, failed, killed or requeued.
        say: print how to upload an offline run; False if :func:`say_upload` will do so for all stages.
    """
    loggers = list(loggers)
    for logger in loggers:
        logger.finalize("success" if status == "success" else "failed")
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        if wandb.run is not None:
            if say and wandb.run.settings.mode == "offline":
                folder = Path(wandb.run.dir).parent
                print(f"W&B is offline: {folder}; upload it with: wandb sync {folder}")
            try:
                if status == "requeued":  # W&B shows "preempted" until the job continues, not "failed"
                    wandb.run.mark_preempting()
                wandb.finish(exit_code=0 if status == "success" else 1)
            except _service_errors():
                with suppress(ConnectionError):
                    wandb.teardown()


def say_upload(folder: Path) -> None:
    """Print one line on how to upload the offline W&B runs of all stages, if there are any."""
    if next(folder.glob("wandb/offline-run-*"), None) is not None:
        print(f"W&B was offline; to upload: wandb sync {shlex.quote(str(folder))}/wandb/offline-run-*")


def define_batch_axis(logger: Logger) -> None:
    """Make the batch counter W&B's x axis: ``global_step`` counts optimizer steps, at least three per GAN batch."""
    if isinstance(logger, WandbLogger):
        logger.experiment.define_metric("*", step_metric="batch")


def tensorboard_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> Logger:
    """Event files under ``<run>/tensorboard/<stage>``."""
    return TensorBoardLogger(save_dir=run_dir, name="tensorboard", version=stage, default_hp_metric=False)


def csv_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> Logger:
    """``<run>/csv/<stage>/metrics.csv``; if a stage is resumed, its earlier log is kept as metrics.1.csv, ..."""
    metrics = Path(run_dir) / "csv" / stage / "metrics.csv"
    if metrics.exists() and is_rank_zero():  # Lightning would delete it
        earlier = len(list(metrics.parent.glob("metrics.*.csv")))
        metrics.rename(metrics.with_name(f"metrics.{earlier + 1}.csv"))
    # Lightning warns that it will delete what is in the folder: only metrics.csv, which is kept above.
    warnings.filterwarnings("ignore", message=r"Experiment logs directory .* is not empty")
    return CSVLogger(save_dir=run_dir, name="csv", version=stage)


def no_logger(run_dir: str, stage: str, hparams: dict[str, Any]) -> bool:
    """No logger except the CSV files."""
    return False


def stage_loggers(
    make: Callable[..., Logger | bool], run_dir: Path, stage: str, config: Mapping[str, Any], csv: bool = True
) -> list[Logger]:
    """The configured logger of a stage, and always the CSV logger, so that curves can be read without a server.

    Args:
        make: the factory in the config's ``logger``; still needs ``run_dir``, ``stage`` and ``hparams``.
        config: the resolved config, for the logger to show.
        csv: False in a fast_dev_run, which logs nothing.
    """
    made = make(run_dir=str(run_dir), stage=stage, hparams={"config": config})
    loggers = [made] if isinstance(made, Logger) else []
    if csv and not any(isinstance(logger, CSVLogger) for logger in loggers):
        loggers.append(csv_logger(str(run_dir), stage, {}))
    return loggers


def wandb_id(loggers: Iterable[Logger]) -> str | None:
    """The id of the W&B run among them; None if there is none."""
    return next((str(logger.version) for logger in loggers if isinstance(logger, WandbLogger)), None)


def log_video(logger: Logger, key: str, path: Path, batch: int, caption: str) -> None:
    """Log an encoded mp4: to W&B as a file (given tensors, its encoder hangs); to TensorBoard, which cannot show mp4,
    as an animated GIF with the mp4's path as text."""
    if isinstance(logger, WandbLogger):
        import wandb

        with _service_may_be_gone():
            logger.experiment.log({key: wandb.Video(str(path), caption=caption, format="mp4"), "batch": batch})
    elif isinstance(logger, TensorBoardLogger):
        from tensorboard.compat.proto.summary_pb2 import Summary

        gif, (width, height) = video_gif(path)
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
        writer = logger.experiment.file_writer
        writer.add_summary(Summary(value=[Summary.Value(tag=key, image=image)]), batch)
        logger.experiment.add_text(key, f"{caption}: {path}", global_step=batch)


def log_study(
    logger: Logger,
    key: str,
    scalars: Mapping[str, float],
    figures: Mapping[str, Path],
    rows: Sequence[Mapping[str, Any]],
    step: int,
) -> None:
    """Log numbers to every logger, figures to W&B and TensorBoard, the table with its videos to W&B, all at one step.

    Args:
        key: prefix of figures and of ``KEY/table``.
        scalars: including "batch", W&B's x axis.
        figures: name -> PNG.
        rows: mappings with the same keys; "video" is the path of an encoded mp4.
    """
    if isinstance(logger, WandbLogger):
        import wandb

        table = wandb.Table(columns=list(rows[0]) if rows else [])
        for row in rows:
            table.add_data(*(wandb.Video(str(v), format="mp4") if k == "video" else v for k, v in row.items()))
        images = {f"{key}/{name}": wandb.Image(str(path)) for name, path in figures.items()}
        with _service_may_be_gone():
            logger.experiment.log({**scalars, **images, f"{key}/table": table, "trainer/global_step": step})
        return
    logger.log_metrics(dict(scalars), step=step)
    if isinstance(logger, TensorBoardLogger):
        import matplotlib.image

        batch = int(scalars["batch"])
        for name, path in figures.items():
            pixels = matplotlib.image.imread(path)[..., :3]
            logger.experiment.add_image(f"{key}/{name}", pixels, global_step=batch, dataformats="HWC")
        if rows:
            lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
            cells = ([f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)
            lines += ["| " + " | ".join(row) + " |" for row in cells]
            logger.experiment.add_text(f"{key}/table", "\n".join(lines), global_step=batch)
