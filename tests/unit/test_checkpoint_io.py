"""A checkpoint whose writing fails leaves the one before."""

import builtins
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.train.callbacks.checkpoint_io import BEFORE, AtomicCheckpointIO, is_whole, newest_whole
from d2m.train.request import check_request


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stage" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    real = builtins.open

    def half(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        f = real(file, mode, *args, **kwargs)
        if "w" in mode:
            f.write(b"half")
            f.close()
            raise OSError(28, "No space left on device")
        return f

    monkeypatch.setattr(builtins, "open", half)
    with pytest.raises(D2MError, match=r"last\.ckpt.*No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_checkpoint_before_the_last_stays_and_stands_in(tmp_path: Path) -> None:
    last, io = tmp_path / "last.ckpt", AtomicCheckpointIO()
    for epoch in range(3):
        io.save_checkpoint({"epoch": epoch, "weights": torch.ones(500)}, last)
    io.save_checkpoint({}, tmp_path / "best.ckpt")
    assert {p.name for p in tmp_path.iterdir()} == {"last.ckpt", BEFORE, "best.ckpt"}
    assert torch.load(last.with_name(BEFORE), weights_only=True)["epoch"] == 1
    assert newest_whole(last) == last
    whole = last.read_bytes()
    flipped = whole.replace(torch.ones(8).numpy().tobytes(), torch.full((8,), 2.0).numpy().tobytes(), 1)
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", flipped):
        assert damaged != whole
        last.write_bytes(damaged)
        assert not is_whole(last) and newest_whole(last) == last.with_name(BEFORE)
    last.unlink()
    assert newest_whole(last) == last.with_name(BEFORE)
    last.with_name(BEFORE).unlink()
    assert newest_whole(last) == last


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[bool] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: (there.append((tmp_path / "best.ckpt").exists()), real(f))[1])
    AtomicCheckpointIO().save_checkpoint({}, tmp_path / "best.ckpt")
    assert there == [False]


@pytest.mark.parametrize("seed", [-1, 2**32, None])
def test_a_seed_that_is_none(seed: int | None, tmp_path: Path) -> None:
    cfg = OmegaConf.create({"seed": seed, "stages": ["du_vae"], "continue_from": {}, "init_from": {}})
    with pytest.raises(D2MError, match="seed="):
        check_request(cfg, RunFolder(tmp_path))
