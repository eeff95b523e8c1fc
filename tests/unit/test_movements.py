"""Movements that are encoded once: the same numbers for the same units."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from corpora import write_raw
from pytorch_lightning.plugins import Precision

from d2m.data.datamodule import DanceDataModule
from d2m.nets.composition import Composition
from d2m.nets.sizes import Sizes
from d2m.prepare.run import prepare
from d2m.train import movements
from d2m.train.movements import encode_movements, read_batch
from tests.conftest import SIZES


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DanceDataModule:
    root = tmp_path_factory.mktemp("movements")
    raw = write_raw(root / "raw", {"a": "groove", "b": "flow"}, seconds=12.0)
    return DanceDataModule(str(prepare(raw, root, [0], "mfcc", workers=1)), "sequences", batch_size=8)


@pytest.fixture(scope="module")
def net() -> Composition:
    torch.manual_seed(0)
    return Composition(Sizes(**SIZES))


def stage(net: Composition, data: object) -> Any:
    """What is asked of a module: its network, its device and its Trainer."""
    trainer = SimpleNamespace(datamodule=data, precision_plugin=Precision())
    return SimpleNamespace(net=net, device=torch.device("cpu"), trainer=trainer)


def test_the_table_says_what_the_encoder_says(
    data: DanceDataModule, net: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movements, "_CHUNK", 5)
    table = encode_movements(stage(net, data))
    assert table is not None and table.shape == (len(data.corpus.units), 2 * SIZES["z_mov"]) and not table.requires_grad
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())))
    noise = net.draw_noise(batch["units"])
    encoded, known = (read_batch(net, batch, noise, t).z_mov.parameters_cat() for t in (None, table))
    torch.testing.assert_close(known, encoded, atol=1e-5, rtol=0)
    # It is looked up, and by the number of the first unit of each sequence.
    moved = read_batch(net, batch, noise, table.roll(1, 0)).z_mov.parameters_cat()
    assert (moved - encoded).abs().max() > 1e-3


def test_no_table_where_it_would_be_too_large_or_there_is_no_corpus(
    data: DanceDataModule, net: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encode_movements(stage(net, None)) is None
    monkeypatch.setattr(movements, "MAX_BYTES", len(data.corpus.units) * 8 * SIZES["z_mov"] - 1)
    assert encode_movements(stage(net, data)) is None
