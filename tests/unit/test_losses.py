"""Adversarial terms, weights and annealing against hand-computed values."""

import math

import pytest
import torch

from d2m.nets.losses import anneal, anneal_schedule, bce_fake, bce_real, weighted_sum


def test_bce_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3.0)])  # probabilities 1/2 and 3/4
    assert bce_real(logits).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert bce_fake(logits).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_weighted_sum_multiplies_by_name() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert weighted_sum(losses, {"b": 0.1, "a": 10.0}).item() == pytest.approx(20.3)


def test_a_term_without_weight_need_not_be_computed() -> None:
    assert weighted_sum({"a": torch.tensor(2.0)}, {"a": 3.0, "b": 0.0}).item() == 6
    assert weighted_sum({}, {"a": 0.0}).item() == 0


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_term_without_weight_reaches_neither_the_sum_nor_the_gradient(bad: float) -> None:
    x = torch.tensor(2.0, requires_grad=True)
    loss = weighted_sum({"a": 3 * x, "b": bad * x}, {"a": 1.0, "b": 0.0})
    loss.backward()
    assert loss.item() == 6 and x.grad is not None and x.grad.item() == 3


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "bb": 1.0}])
def test_a_typo_in_a_weight_raises(weights: dict[str, float]) -> None:
    with pytest.raises(KeyError):
        weighted_sum({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, weights)


def test_annealing_is_the_papers_sigmoid_on_a_long_run() -> None:
    midpoint, slope = anneal_schedule(100_000)
    assert (midpoint, slope) == (15000.0, 0.0005)
    assert anneal(15000, midpoint, slope) == 0.5
    assert anneal(0, midpoint, slope) == pytest.approx(1 / (1 + math.exp(7.5)))


@pytest.mark.parametrize("total", [1, 50, 6000, 29_999])
def test_annealing_opens_within_a_short_run(total: int) -> None:
    midpoint, slope = anneal_schedule(total)
    assert midpoint == total / 2
    assert anneal(0, midpoint, slope) < 0.001 and anneal(total, midpoint, slope) > 0.999


def test_annealing_survives_extremes() -> None:
    assert anneal(10**9, 1.0, 10.0) == 1.0
    assert anneal(0, 1e12, 1.0) == pytest.approx(0.0)
