"""How a run computes what it computes: TF32, which GRU, compiled networks. None of it changes what is trained."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import nn

from d2m.core.errors import D2MError
from d2m.nets.gru import BACKENDS, set_backend

#: ``matmul_precision``: float32 products on a GPU, from 23 bits of mantissa to TF32's 10 and bfloat16's 7.
PRECISIONS = ("highest", "high", "medium")


def check_arithmetic(cfg: DictConfig) -> None:
    """See that ``cfg.gru`` and ``cfg.matmul_precision`` exist, and that there is a thread.

    Raises:
        D2MError: naming the key.
    """
    for key, choices in (("gru", BACKENDS), ("matmul_precision", PRECISIONS)):
        if cfg[key] not in choices:
            raise D2MError(f"{key}={cfg[key]}: choose from {', '.join(choices)}")
    if cfg.torch_threads is not None and cfg.torch_threads < 1:
        raise D2MError(f"torch_threads={cfg.torch_threads}: give a whole number of at least 1, or null")


def set_arithmetic(cfg: DictConfig) -> None:
    """Make this process compute as ``cfg`` says: ``torch_threads``, ``matmul_precision``, ``gru``."""
    if cfg.torch_threads:
        torch.set_num_threads(cfg.torch_threads)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    set_backend(cfg.gru)


def compile_layers(module: nn.Module) -> int:
    """torch.compile, in place, of the layers in sequence within ``module``; returns how many such sequences there are.

    What lies between recurrences (linear maps, norms, activations, convolutions) can be fused; the GRUs, loops
    over 32 steps, stay as they are. Parameters keep their names.
    """
    sequences = [m for m in module.modules() if isinstance(m, nn.Sequential)]
    for sequence in sequences:
        sequence.compile()
    return len(sequences)
