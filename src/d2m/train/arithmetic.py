"""Arithmetic settings of a run: TF32, the GRU implementation, compiled networks. None changes what is trained."""

from __future__ import annotations

import torch
from omegaconf import DictConfig
from torch import nn

from d2m.core.errors import D2MError
from d2m.nets.gru import BACKENDS, set_backend

#: ``matmul_precision``: mantissa bits of float32 products on a GPU: 23 (float32), 10 (TF32) or 7 (bfloat16).
PRECISIONS = ("highest", "high", "medium")


def check_arithmetic(cfg: DictConfig) -> None:
    """Check that ``cfg.gru`` and ``cfg.matmul_precision`` are valid choices and ``torch_threads`` is null or above 0.

    Raises:
        D2MError: naming the key.
    """
    for key, choices in (("gru", BACKENDS), ("matmul_precision", PRECISIONS)):
        if cfg[key] not in choices:
            raise D2MError(f"{key}={cfg[key]}: choose from {', '.join(choices)}")
    if cfg.torch_threads is not None and cfg.torch_threads < 1:
        raise D2MError(f"torch_threads={cfg.torch_threads}: give a whole number of at least 1, or null")


def set_arithmetic(cfg: DictConfig) -> None:
    """Apply ``torch_threads``, ``matmul_precision`` and ``gru`` to this process."""
    if cfg.torch_threads:
        torch.set_num_threads(cfg.torch_threads)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    set_backend(cfg.gru)


def compile_layers(module: nn.Module) -> int:
    """Apply torch.compile, in place, to every sequence of layers within ``module``; returns the number of sequences.

    The layers between recurrences (linear maps, norms, activations, convolutions) can be fused; the GRUs, loops over 32
    steps, are not compiled. Parameters keep their names.
    """
    sequences = [m for m in module.modules() if isinstance(m, nn.Sequential)]
    for sequence in sequences:
        sequence.compile()
    return len(sequences)
