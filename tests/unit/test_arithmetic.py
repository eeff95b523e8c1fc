"""A config's arithmetic settings reach torch and the GRUs; compiled layers compute the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from omegaconf import OmegaConf

from d2m.core.errors import D2MError
from d2m.nets import gru
from d2m.nets.du_vae import UnitDecoder
from d2m.train import arithmetic


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    threads, precision, backend = torch.get_num_threads(), torch.get_float32_matmul_precision(), gru._backend
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    gru._backend = backend


def test_the_config_reaches_torch_and_the_grus() -> None:
    cfg = OmegaConf.create({"torch_threads": None, "matmul_precision": "medium", "gru": "torch"})
    arithmetic.check_arithmetic(cfg)
    arithmetic.set_arithmetic(cfg)
    assert torch.get_float32_matmul_precision() == "medium" and gru._backend == "torch"


@pytest.mark.parametrize(
    ("key", "choices"), [("gru", "auto, own, torch"), ("matmul_precision", "highest, high, medium")]
)
def test_an_unknown_choice_is_one_line(key: str, choices: str) -> None:
    cfg = OmegaConf.create({"gru": "auto", "matmul_precision": "high", key: "fast"})
    with pytest.raises(D2MError, match=f"^{key}=fast: choose from {choices}$"):
        arithmetic.check_arithmetic(cfg)


def test_compiled_layers_compute_the_same_under_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Sequential, "compile", lambda self: compiled.append(self))
    torch.manual_seed(0)
    net = UnitDecoder(2, 4, 8)
    names = set(net.state_dict())
    assert arithmetic.compile_layers(net) == 1 and compiled == [net.head] and set(net.state_dict()) == names
    # The traced graph of the layers, without the C++ compiler behind it.
    x = torch.randn(5, 3, 8)
    torch.testing.assert_close(torch.compile(net.head, backend="eager")(x), net.head(x))
