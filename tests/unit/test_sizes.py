"""Sizes: one record of any widths, checked when it is read; files from before it still load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from d2m.bundle import read_bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.nets.losses import weighted_sum
from d2m.nets.music_style import NETWORKS
from d2m.nets.sizes import CHOICES, MotionSizes, Sizes, sizes_in
from d2m.train.modules.generator import GeneratorModule
from d2m.train.modules.mm_gan import MMGANModule
from d2m.train.modules.motion_style import MotionStyleModule, read_motion_style
from d2m.train.modules.music_style import MusicStyleModule
from d2m.train.release import read_composition
from tests.conftest import SIZES

#: No width is that of another, of the paper or of the corpora here.
ODD = {**SIZES, "n_features": 17, "style": 9, "discriminator_hidden": 22, "style_network": "statistics"}


def test_it_travels_as_a_plain_dict() -> None:
    sizes = Sizes.from_dict(ODD)
    assert sizes.to_dict() == ODD and Sizes.from_dict(json.loads(json.dumps(sizes.to_dict()))) == sizes


def test_dicts_of_eight_widths_have_the_old_features_and_style() -> None:
    old = Sizes.from_dict(SIZES)
    assert (old.n_features, old.style) == (28, 30) and len(SIZES) == 8
    assert (old.discriminator_hidden, old.style_network) == (1024, "gru")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"z_foo": 3}, "unknown z_foo; known are n_genres, z_ini"),
        ({"z_mov": None}, "z_mov=None"),
        ({"z_mov": 0}, "z_mov=0; give a whole number of at least 1"),
        ({"z_mov": 2.0}, r"z_mov=2\.0"),
        ({"z_mov": True}, "z_mov=True"),
        ({"z_mov": "8"}, "z_mov='8'"),
        ({"style": -1}, "style=-1"),
        ({"style_network": "lstm"}, "style_network='lstm'; choose from gru, statistics"),
    ],
)
def test_what_is_no_record_of_sizes_is_one_line(change: dict[str, Any], says: str) -> None:
    with pytest.raises(D2MError, match=says) as told:
        Sizes.from_dict({**SIZES, **change})
    assert "\n" not in str(told.value)


def test_a_missing_width_is_named() -> None:
    with pytest.raises(D2MError, match="z_dan missing"):
        Sizes.from_dict({k: v for k, v in SIZES.items() if k != "z_dan"})
    with pytest.raises(D2MError, match="is not a mapping"):
        Sizes.from_dict([1, 2])  # type: ignore[arg-type]


# --- any width ------------------------------------------------------------------------------------------------


def test_composition_trains_at_any_width() -> None:
    torch.manual_seed(0)
    m = MMGANModule(ODD)
    units, features = torch.randn(2, 3, 32, 28), torch.randn(2, 30, 17)
    noise = m.net.draw_noise(units)
    assert noise.audio.shape == (2, 9)
    real = m.net.read_real(units, features, noise)
    assert real.style.shape == (2, 9) and real.audio.shape == (2, 17)
    losses = {
        **m.discriminator_phase(real, noise), **m.generator_phase(real, noise), **m.style_phase(real, noise),
    }  # fmt: skip
    total = weighted_sum(losses, {**m.d_weights, **m.g_weights, **m.style_weights})
    total.backward()
    assert total.isfinite() and m.movement_discriminator.audio[0].weight.grad.shape == (30, 17)


def test_a_song_of_other_features_is_danced_to() -> None:
    module = GeneratorModule(ODD).eval()
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    dances = module.predict_step({"features": torch.randn(2, 100, 17)}, 0)
    assert dances.shape == (2, 100, 28)
    noise = DanceNoise.draw(module.net.sizes, 2, 2, 1, torch.Generator().manual_seed(0))
    assert noise.audio.shape == (2, 2, 1, 9)


def test_the_music_style_stage_takes_other_features() -> None:
    module = MusicStyleModule(ODD)
    assert module.net(torch.randn(2, 30, 17)).shape == (2, 3) and module.net.style(torch.randn(2, 30, 17)).shape[1] == 9


# --- files from before ------------------------------------------------------------------------------------------


def test_old_hparams_hold_each_width_on_its_own(tmp_path: Path) -> None:
    """As every checkpoint before docs/adr/0052-sizes.md has them."""
    module = MMGANModule(SIZES)
    path = tmp_path / "last.ckpt"
    hparams = {**SIZES, "lr": 1e-3, "lr_unit_decoder": 0.0, "weights": {"g_mov": 0.1}, "seed": 0}
    torch.save({"hyper_parameters": hparams, "state_dict": module.state_dict()}, path)
    net, _ = read_composition(path)
    assert net.sizes == Sizes.from_dict(SIZES)
    assert sizes_in(hparams) == SIZES and sizes_in({"sizes": ODD}) == ODD

    judge = MotionStyleModule(SIZES, hidden=8)
    old = {"n_genres": 3, "hidden": 8, "lr": 2e-3, "weight_decay": 1e-2}
    for hparams in (old, dict(judge.hparams)):
        torch.save({"hyper_parameters": hparams, "state_dict": judge.state_dict()}, path)
        assert read_motion_style(path, 3).sizes == MotionSizes(3, 8)
    with pytest.raises(D2MError, match="classifies 3 genres, but the corpus has 4"):
        read_motion_style(path, 4)


def resealed(bundle: Path, out: Path, sizes: Any) -> Path:
    a = read_bundle(bundle)
    config = {k: v for k, v in a.config.items() if k != "format"}
    return write_bundle(
        out, config={**config, "sizes": sizes}, state=a.state, normalizer=a.normalizer, genres=a.genres,
        genre_means=a.genre_means, provenance={}, card="",
    )  # fmt: skip


def test_an_old_bundle_dances(tiny_bundle: Path, tmp_path: Path) -> None:
    old = resealed(tiny_bundle, tmp_path / "old", SIZES)
    assert DanceGenerator.load(old).net.sizes == DanceGenerator.load(tiny_bundle).net.sizes


@pytest.mark.parametrize("sizes", [{**SIZES, "z_foo": 4}, {**SIZES, "z_dan": 0}, {"z_dan": 8}, None, [8]])
def test_a_resealed_bundle_of_wrong_sizes_is_one_line(tiny_bundle: Path, tmp_path: Path, sizes: Any) -> None:
    broken = resealed(tiny_bundle, tmp_path / "b", sizes)
    with pytest.raises(D2MError, match=r"config\.json: sizes: ") as told:
        DanceGenerator.load(broken)
    assert "\n" not in str(told.value)


def test_every_style_network_can_be_named() -> None:
    assert CHOICES["style_network"] == tuple(NETWORKS)
