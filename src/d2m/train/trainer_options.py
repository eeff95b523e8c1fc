"""Options of Lightning's Trainer that the curriculum sets itself or relies on, and the allowed values of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from d2m.core.errors import D2MError

#: Option -> what to give instead.
ELSEWHERE = {
    "max_epochs": "fit.STAGE.max_epochs",
    "check_val_every_n_epoch": "fit.STAGE.check_val_every_n_epoch",
    "min_epochs": "fit.STAGE.max_epochs; no stage stops early",
    "max_steps": "fit.STAGE.max_epochs and fit.STAGE.steps_per_epoch; a batch of a GAN is several steps",
    "min_steps": "fit.STAGE.max_epochs and fit.STAGE.steps_per_epoch; no stage stops early",
    "max_time": "fit.STAGE.max_epochs, or end the command with SIGTERM (timeout 2h d2m train ...), which resume=... "
    "goes on from",
    "callbacks": "callbacks=GROUP or callbacks.NAME",
    "logger": "logger=wandb|tensorboard|csv|none",
    "default_root_dir": "hydra.run.dir",
    "enable_progress_bar": "callbacks.progress_bar",
    "enable_model_summary": "callbacks.progress_bar",
    "enable_checkpointing": "callbacks.checkpoint_every_n_epochs; stages resume from their checkpoints",
    "plugins": "nothing; checkpoints are written by d2m's own",
    "use_distributed_sampler": "nothing; the sampler knows its rank",
    "overfit_batches": "repeat_batches, or debug=overfit",
    "reload_dataloaders_every_n_epochs": "nothing; every epoch draws new batches",
}


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_devices(value: Any) -> bool:
    """A number of processes; -1 or "auto" for all devices; or a list of GPU indices."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and all(_is_whole(v, 0) for v in value)
    return value in (-1, "auto") or _is_whole(value, 1)


def _is_limit(value: Any, least: int) -> bool:
    """A number of batches, or a share of all batches."""
    return _is_whole(value, least) or (isinstance(value, float) and (value > 0 or least == 0) and 0 <= value <= 1)


_ACCELERATORS, _PROFILERS = ("auto", "cpu", "gpu", "cuda", "mps"), ("simple", "advanced", "pytorch")
#: The first seven are current names, the rest Lightning's older ones.
_PRECISIONS = (
    "auto", "32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64", "32", "bf16", "16"
)  # fmt: skip
#: Option -> check of its value, and the allowed values in words. None means Lightning's default.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "limit_train_batches": (
        lambda v: _is_limit(v, 1), "a whole number of at least 1 or a share above 0, or fit.STAGE.steps_per_epoch"
    ),
    "limit_val_batches": (lambda v: _is_limit(v, 0), "a whole number of at least 0 or a share from 0.0 to 1.0"),
    "val_check_interval": (
        lambda v: _is_limit(v, 1), "a whole number of at least 1 or a share above 0, or "
        "fit.STAGE.check_val_every_n_epoch"
    ),
    "accumulate_grad_batches": (lambda v: _is_whole(v, 1), "a whole number of at least 1, or fit.STAGE.batch_size"),
    "log_every_n_steps": (lambda v: _is_whole(v, 1), "a whole number of at least 1"),
    "num_sanity_val_steps": (lambda v: _is_whole(v, -1), "a whole number of at least 0, or -1 for all"),
    "gradient_clip_val": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v > 0, "a number above 0, or "
        "model.STAGE.clip for the stages that clip each network by itself"
    ),
    "devices": (_is_devices, "a whole number of at least 1, auto, or the numbers of GPUs, [0,1]"),
    "num_nodes": (lambda v: _is_whole(v, 1), "a whole number of at least 1"),
    "accelerator": (lambda v: v in _ACCELERATORS, f"one of {', '.join(_ACCELERATORS)}"),
    "deterministic": (lambda v: v in (True, False, "warn"), "true, false or warn"),
    "fast_dev_run": (lambda v: _is_whole(v, 0) or isinstance(v, bool), "true, false or a number of batches"),
    "benchmark": (lambda v: isinstance(v, bool), "true or false"),
    "profiler": (lambda v: not isinstance(v, str) or v in _PROFILERS, f"one of {', '.join(_PROFILERS)}"),
    "precision": (lambda v: str(v) in _PRECISIONS, f"one of {', '.join(_PRECISIONS[:7])}"),
    "gradient_clip_algorithm": (lambda v: v in ("norm", "value"), "norm or value"),
}  # fmt: skip


def check_options(options: Iterable[str] | Mapping[str, Any]) -> None:
    """Refuse options that the curriculum sets itself, and values that Lightning rejects or that would train nothing.

    Raises:
        D2MError: naming the key to use.
    """
    for key in options:
        if key in ELSEWHERE:
            raise D2MError(f"trainer.{key}: give {ELSEWHERE[key]}")
    if not isinstance(options, Mapping):
        return
    for key, (is_right, words) in _VALUES.items():
        value = options.get(key)
        if value is not None and not is_right(value):
            raise D2MError(f"trainer.{key}={value}: give {words}")
    if options.get("gradient_clip_algorithm") and not options.get("gradient_clip_val"):
        raise D2MError(
            "trainer.gradient_clip_algorithm: clips nothing by itself; give trainer.gradient_clip_val as well"
        )
