"""Metrics of classifiers that give frequent and rare classes equal weight."""

from __future__ import annotations

import torch
from torch import Tensor


def confusion(truth: Tensor, predicted: Tensor, n_classes: int) -> Tensor:
    """Labels (n,), (n,) of int64 -> counts (n_classes, n_classes): rows are the truth."""
    # Not bincount, which makes the host wait for a GPU.
    counts = torch.zeros(n_classes**2, dtype=torch.int64, device=truth.device)
    return counts.index_add_(0, truth * n_classes + predicted, torch.ones_like(truth)).view(n_classes, n_classes)


def balanced_accuracy(counts: Tensor) -> Tensor:
    """Counts (c, c), rows the truth -> mean over the classes that occur of the share recognised; chance is 1 / c.

    nan if nothing was counted.
    """
    rows = counts.double()
    total = rows.sum(1)
    return (rows.diagonal() / total)[total > 0].mean()
