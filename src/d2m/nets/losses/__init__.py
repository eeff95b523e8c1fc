"""Shared by the losses of all stages: terms and weights, adversarial terms, KL annealing.

The terms of a stage are pure functions in a file of its own; every weight is in conf/model/<stage>.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.errors import D2MError

S = TypeVar("S")
#: Name -> loss term, a pure function of the outputs of a stage's forward pass.
Terms = Mapping[str, Callable[[S], Tensor]]


def compute(terms: Terms[S], step: S, *, without: Collection[str] = ()) -> dict[str, Tensor]:
    """All terms of ``step`` by name, unweighted, except those in ``without``."""
    return {name: term(step) for name, term in terms.items() if name not in without}


def full_weights(
    terms: Collection[str], given: Mapping[str, float] | None, default: Mapping[str, float]
) -> dict[str, float]:
    """A weight for every term: the given one, otherwise the default, otherwise 0.

    Raises:
        D2MError: a weight for a term that does not exist.
    """
    given = given or {}
    unknown = sorted(given.keys() - set(terms))
    if unknown:
        raise D2MError(f"weights.{unknown[0]}: no such loss term; known are {', '.join(terms)}")
    return {name: float(given.get(name, default.get(name, 0.0))) for name in terms}


def unused(weights: Mapping[str, float]) -> set[str]:
    """Terms with weight 0, which need not be computed."""
    return {name for name, weight in weights.items() if weight == 0}


def bce_real(logits: Tensor) -> Tensor:
    """Binary cross-entropy of logits against "real" (1); a scalar."""
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def bce_fake(logits: Tensor) -> Tensor:
    """Binary cross-entropy of logits against "fake" (0); a scalar."""
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """sum_k weights[k] * losses[k]. Terms with weight 0 are only logged: even an infinite one does not affect the sum.

    Raises:
        KeyError: the names of losses and weights differ, so that a typo does not silently drop a term.
    """
    if not losses.keys() <= weights.keys() or any(weights[k] != 0 for k in weights.keys() - losses.keys()):
        raise KeyError(f"loss terms {sorted(losses)} and weights {sorted(weights)} do not have the same names")
    terms = [weights[k] * v for k, v in losses.items() if weights[k] != 0]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def anneal(step: int, midpoint: float, slope: float) -> float:
    """The KL weight, sigmoid(slope * (step - midpoint)), from 0 to 1.

    The reference anneals with slope 0.0005 around step 15,000 (its training loop counts batches). In a
    shorter run the KL would never take effect: see :func:`anneal_schedule`.
    """
    return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, slope * (step - midpoint)))))


def opening(step: int, total_steps: int, midpoint: float, slope: float) -> float:
    """:func:`anneal` at a batch of a run of ``total_steps``, by its :func:`anneal_schedule`."""
    return anneal(step, *anneal_schedule(total_steps, midpoint, slope))


def anneal_schedule(total_steps: int, midpoint: float = 15000.0, slope: float = 0.0005) -> tuple[float, float]:
    """(midpoint, slope) for a run of ``total_steps``: the reference's, or scaled to fit a shorter run.

    The midpoint is min(midpoint, half the run), and the slope grows in proportion, so that the curve keeps its
    shape relative to the run: 0.0006 at the start and 0.9994 at the end.
    """
    half = total_steps / 2
    if total_steps <= 0 or half >= midpoint:
        return midpoint, slope
    return half, slope * midpoint / max(half, 0.5)
