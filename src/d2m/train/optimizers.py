"""Optimisers from plain mappings, and their learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class

from d2m.core.errors import D2MError

#: Defaults: the paper's, and that of the style stages; conf/model/*.yaml overrides them.
ADAM = {"_target_": "torch.optim.Adam", "lr": 2e-4, "fused": True}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 1e-2, "fused": True}

_ONE_OF = "not an optimizer; give a class of torch.optim, such as torch.optim.AdamW"


def build_optimizer(options: Mapping[str, Any], parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """The optimiser that ``_target_`` names, with the other entries as its arguments.

    Options are a plain mapping, so that checkpoints that hold them as an hparam load with ``weights_only=True``.

    Args:
        options: ``_target_`` (a dotted class name) and arguments, e.g. :data:`ADAM`.
        parameters: tensors, or groups, which may have their own learning rates.

    Raises:
        D2MError: no such class, or arguments that it does not take.
    """
    arguments = {k: v for k, v in options.items() if k != "_target_"}
    target = str(options.get("_target_"))
    try:
        kind = get_class(target)
    except (ImportError, AttributeError, ValueError, TypeError) as e:
        raise D2MError(f"optimizer._target_={target}: {_ONE_OF}{_near(target)}") from e
    if not issubclass(kind, torch.optim.Optimizer):
        raise D2MError(f"optimizer._target_={target}: {_ONE_OF}")
    try:
        return kind(parameters, **arguments)  # type: ignore[no-any-return]
    except (ValueError, TypeError, RuntimeError) as e:
        reason = " ".join(str(e).split())[:200]
        raise D2MError(f"optimizer: {target} cannot be built with {arguments} ({reason})") from e


def _near(target: str) -> str:
    known = {name.lower(): name for name in dir(torch.optim) if isinstance(getattr(torch.optim, name), type)}
    near = get_close_matches(target.rpartition(".")[2].lower(), known, n=1)
    return f"; did you mean torch.optim.{known[near[0]]}?" if near else ""


def cosine_decay(
    module: pl.LightningModule, optimizers: Sequence[torch.optim.Optimizer], final: float, names: Sequence[str]
) -> list[dict[str, Any]]:
    """One scheduler per optimizer: its learning rates fall along half a cosine to ``final`` times their initial values.

    For Lightning's ``configure_optimizers``. Steps are batches; under manual optimisation call :func:`step_schedulers`.

    Args:
        final: final learning rate as a share of the initial one.
        names: of the learning rates in the logs, one per optimizer; a prefix if its groups have names ("name" in the
            group).
    """

    def factor(batch: int) -> float:
        if batch == 0:
            # Called while the optimizers are built. Asking for the number of batches would make Lightning set up the
            # loader before it knows a checkpoint's position in the epoch.
            return 1.0
        batches = max(1, round(float(module.trainer.estimated_stepping_batches)))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(batch, batches) / batches))

    schedulers = (torch.optim.lr_scheduler.LambdaLR(o, factor) for o in optimizers)
    return [{"scheduler": s, "interval": "step", "name": n} for s, n in zip(schedulers, names, strict=True)]


def step_schedulers(module: pl.LightningModule) -> None:
    """Advance the schedules by one batch under manual optimisation, except those of optimizers that never step."""
    schedulers = module.lr_schedulers()
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers] if schedulers else []:
        groups = scheduler.optimizer.param_groups
        # Gradients rather than optimizer state: plain SGD has none.
        if any(p.grad is not None for group in groups for p in group["params"]):
            scheduler.step()  # type: ignore[call-arg]
