"""A checkpoint whose writing fails leaves the one before."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.train.callbacks.checkpoint_io import AtomicCheckpointIO
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


@pytest.mark.parametrize("seed", [-1, 2**32, None])
def test_a_seed_that_is_none(seed: int | None, tmp_path: Path) -> None:
    cfg = OmegaConf.create({"seed": seed, "stages": ["du_vae"], "continue_from": {}, "init_from": {}})
    with pytest.raises(D2MError, match="seed="):
        check_request(cfg, RunFolder(tmp_path))
