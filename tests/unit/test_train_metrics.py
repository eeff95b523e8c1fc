"""The accumulating metrics give over two shards what the pure functions give for all data."""

from __future__ import annotations

import pytest
import torch

from d2m.core.errors import D2MError
from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.metrics.distances import frechet_distance
from d2m.train.metrics import BalancedAccuracy, FrechetDistance


def test_frechet_distance_over_two_shards_and_uneven_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    real, made = torch.randn(50, 4, generator=generator), 1 + 2 * torch.randn(31, 4, generator=generator)
    shards = [FrechetDistance(4), FrechetDistance(4)]
    for shard, a, b in zip(shards, real.split(37), made.split(7)[:2], strict=True):
        shard.update(a, real=True)
        shard.update(b, real=False)
    shards[1].update(made[14:], real=False)
    # What dist_reduce_fx="sum" makes of two ranks.
    whole = FrechetDistance(4)
    for name, reduce in whole._reductions.items():
        setattr(whole, name, reduce(torch.stack([getattr(s, name) for s in shards])))
    whole._update_count = 1
    assert float(whole.compute()) == pytest.approx(frechet_distance(real.numpy(), made.numpy()), rel=1e-5)
    whole.reset()
    with pytest.raises(D2MError, match="0 samples"), pytest.warns(UserWarning):
        whole.compute()


def test_balanced_accuracy_over_two_shards() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, truth = torch.randn(40, 3, generator=generator), torch.randint(0, 3, (40,), generator=generator)
    shards = [BalancedAccuracy(3), BalancedAccuracy(3)]
    for shard, x, y in zip(shards, logits.split(29), truth.split(29), strict=True):
        shard.update(x, y)
    whole = BalancedAccuracy(3)
    whole.counts = whole._reductions["counts"](torch.stack([s.counts for s in shards]))
    whole._update_count = 1
    assert float(whole.compute()) == pytest.approx(float(balanced_accuracy(confusion(truth, logits.argmax(-1), 3))))
