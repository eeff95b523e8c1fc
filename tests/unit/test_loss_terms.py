"""Loss terms: conf lists every weight, an unknown name is an error, and a new term is added in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from d2m.core.errors import D2MError
from d2m.nets.losses import du_vae, full_weights, generator, mm_gan, weighted_sum
from d2m.train.build import build_module
from d2m.train.modules.du_vae import DUVAEModule
from d2m.train.modules.mm_gan import MMGANModule
from d2m.train.stage import STAGES
from tests.conftest import SIZES

CONF = Path(__file__).parents[2] / "conf"
TERMS = {
    "du_vae": du_vae.TERMS,
    "mm_gan": {**mm_gan.DISCRIMINATOR, **mm_gan.GENERATOR, **mm_gan.STYLE},
    "generator": generator.TERMS,
}
DEFAULTS = {"du_vae": du_vae.DEFAULT, "mm_gan": mm_gan.DEFAULT, "generator": generator.DEFAULT}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", ["size=tiny", *overrides])


@pytest.mark.parametrize("stage", TERMS)
def test_conf_shows_the_weight_of_every_term(stage: str) -> None:
    weights = OmegaConf.load(CONF / "model" / f"{stage}.yaml").weights
    assert set(weights) == set(TERMS[stage])


@pytest.mark.parametrize("stage", TERMS)
def test_the_defaults_in_python_are_those_of_experiment_paper(stage: str) -> None:
    paper = dict(composed("experiment=paper").model[stage].weights)
    assert paper == full_weights(TERMS[stage], None, DEFAULTS[stage])
    assert DEFAULTS[stage].keys() <= TERMS[stage].keys()


@pytest.mark.parametrize("stage", TERMS)
def test_an_unknown_weight_names_the_known_ones(stage: str) -> None:
    from hydra.errors import InstantiationException

    with pytest.raises(InstantiationException) as told:
        build_module(composed(f"+model.{stage}.weights.recom=1"), STAGES[stage], 3, 28)
    said = told.value.__cause__
    assert isinstance(said, D2MError) and "\n" not in str(said)
    assert "weights.recom: no such loss term" in str(said) and all(name in str(said) for name in TERMS[stage])


def test_a_gan_loss_is_one_function_and_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known, computed, logged and weighted with no other line changed."""
    monkeypatch.setitem(mm_gan.GENERATOR, "feature_matching", lambda s: s.dance.mov.mu.square().mean())  # type: ignore[arg-type]
    cfg = composed("+model.mm_gan.weights.feature_matching=3")
    torch.manual_seed(0)
    m = build_module(cfg, STAGES["mm_gan"], 3, 28)
    assert isinstance(m, MMGANModule) and m.g_weights["feature_matching"] == 3.0
    assert m.annealed_weights(0, 100)["feature_matching"] == 3.0
    units = torch.randn(2, 3, 32, 28)
    noise = m.net.draw_noise(units)
    real = m.net.read_real(units, torch.randn(2, 30, 28), noise)
    for poses in (True, False):
        assert m.generator_phase(real, noise, poses)["feature_matching"] > 0
    # A run whose config is older than the term has it without weight.
    assert MMGANModule(SIZES).g_weights["feature_matching"] == 0.0


@pytest.mark.parametrize("train", [True, False])
def test_stage_1_computes_no_term_without_weight(train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> torch.Tensor:
        raise AssertionError("velocity was computed")

    monkeypatch.setitem(du_vae.TERMS, "velocity", refuse)  # type: ignore[index]
    m = DUVAEModule(SIZES, weights={"recon": 0.0}).train(train)
    units = torch.randn(4, 32, 28)
    losses = m.losses({"units1": units, "units2": units}, m.net.draw_noise(units))
    assert ("recon" in losses) == (not train)  # validation monitors it
    assert weighted_sum(losses, m.weights).isfinite()
