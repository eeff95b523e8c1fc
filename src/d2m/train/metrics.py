"""Metrics that are correct under DDP: torchmetrics wrappers that accumulate counts and moments over batches and ranks.

The formulas are in :mod:`d2m.metrics`; this module only accumulates.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.metrics.distances import Moments, frechet_of_gaussians


class BalancedAccuracy(Metric):
    """:func:`d2m.metrics.classification.balanced_accuracy` over all batches and ranks, in [0, 1]; nan if there are
    none."""

    higher_is_better = True
    counts: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(n_classes, n_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, truth: Tensor) -> None:
        """Logits (b, c) and labels (b,)."""
        self.counts += confusion(truth, logits.argmax(-1), logits.shape[-1])

    def compute(self) -> Tensor:
        return balanced_accuracy(self.counts).float()


class FrechetDistance(Metric):
    """:func:`d2m.metrics.distances.frechet_distance` of two streams of features; at least 0, lower is better.

    Holds a count, a sum (d,) and a sum of outer products (d, d) for each stream, in double precision; memory does not
    grow with the number of samples.
    """

    higher_is_better = False

    def __init__(self, n_features: int) -> None:
        super().__init__()
        for name in ("real", "generated"):
            self.add_state(f"{name}_n", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{name}_total", torch.zeros(n_features, dtype=torch.float64), dist_reduce_fx="sum")
            outer = torch.zeros(n_features, n_features, dtype=torch.float64)
            self.add_state(f"{name}_outer", outer, dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Features (b, d) of one of the streams."""
        x, name = features.detach().double(), "real" if real else "generated"
        for part, more in zip(("n", "total", "outer"), (float(len(x)), x.sum(0), x.T @ x), strict=True):
            setattr(self, f"{name}_{part}", getattr(self, f"{name}_{part}") + more)

    def compute(self) -> Tensor:
        """Raises:
        D2MError: fewer than two samples of a stream.
        """
        sides = []
        for name in ("real", "generated"):
            n, total, outer = (getattr(self, f"{name}_{part}").cpu().numpy() for part in ("n", "total", "outer"))
            sides.append(Moments(float(n), total, outer).gaussian())
        distance = frechet_of_gaussians(*sides[0], *sides[1])
        return torch.tensor(distance, dtype=torch.float32, device=self.device)
