"""bfloat16 on the recorded batches: every loss term of stage 1 and stage 2 within 1 % of float32's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from parity_recording import needs_recording
from parity_training import du_vae, mm_gan, stage1_batch, stage2_batch
from torch import Tensor

from d2m.nets import products

pytestmark = needs_recording


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def assert_near(low: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    assert low.keys() == exact.keys()
    off = {k: abs(float(low[k] / exact[k] - 1)) for k in exact}
    assert max(off.values()) < 0.01, off
    assert max(off.values()) > 0, "float32 throughout"


@pytest.mark.parametrize("native", [True, False])
def test_parity_bf16_stage1_losses(native: bool, imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_has_bf16", lambda: native)
    module, (batch, noise) = du_vae(imported), stage1_batch()
    exact = module.losses(batch, noise)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        low = module.losses(batch, noise)
    assert_near(low, exact)


@pytest.mark.parametrize("native", [True, False])
def test_parity_bf16_stage2_losses(native: bool, imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_has_bf16", lambda: native)
    module, (batch, noise) = mm_gan(imported), stage2_batch()

    def losses() -> dict[str, Tensor]:
        real = module.net.read_real(batch["units"], batch["features"], noise)
        branches = module.branches(real, noise)
        return {
            **module.discriminator_phase(real, noise, branches),
            **module.generator_phase(real, noise, branches=branches),
            **module.style_phase(real, noise),
        }

    exact = losses()
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        low = losses()
    assert_near(low, exact)
