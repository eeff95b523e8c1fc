"""The noise of a batch: a function of seed, stream, epoch, batch and rank, and of nothing else."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import torch

from d2m.train.steps import step_generator


def draw(seed: int = 0, stream: str = "train", epoch: int = 0, batch: int = 0, rank: int = 0) -> tuple[float, ...]:
    module: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    return tuple(torch.randn(4, generator=step_generator(module, stream, batch, seed)).tolist())


def test_equal_keys_draw_alike_and_no_two_others_do() -> None:
    keys = list(product((0, 1, 2**63), ("train", "val", "predict"), (0, 1), range(4), (0, 1)))
    drawn = {k: draw(*k) for k in keys}
    torch.randn(3)  # the global generator has no say
    assert all(draw(*k) == v for k, v in drawn.items())
    trained = {k: v for k, v in drawn.items() if k[1] == "train"}
    assert len(set(trained.values())) == len(trained)
    # Validation is the same at every epoch, and never training's.
    assert all(v == drawn[(*k[:2], 0, *k[3:])] for k, v in drawn.items() if k[1] != "train")
    assert len(set(drawn.values())) == len(trained) + 2 * len(trained) // 2


def test_neighbours_are_not_correlated() -> None:
    rows = torch.tensor([draw(batch=i) for i in range(2000)])
    following = torch.corrcoef(torch.stack([rows[:-1].flatten(), rows[1:].flatten()]))[0, 1]
    assert abs(float(following)) < 0.05 and abs(float(rows.mean())) < 0.05 and abs(float(rows.std()) - 1) < 0.05
