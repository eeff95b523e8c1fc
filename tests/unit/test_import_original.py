"""The import of the reference's checkpoints: sizes from shapes, every tensor in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from d2m.bundle import read_bundle
from d2m.cli.import_original import main
from d2m.dance.generator import DanceGenerator
from d2m.original.names import STATS_FILES
from tests.original_files import SIZES, arguments, modules, write, write_stats


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write(folder)
    return folder


@pytest.mark.parametrize("sizes", [SIZES, {**SIZES, "n_genres": 2, "z_ini": 10, "z_mov": 16, "z_dan": 3}])
def test_sizes_and_weights_come_from_the_files(tmp_path: Path, sizes: dict[str, int]) -> None:
    write(tmp_path / "in", sizes)
    main(arguments(tmp_path / "in", tmp_path / "out"))
    bundle = read_bundle(tmp_path / "out")
    # What the original has no choice of is the paper's.
    assert bundle.config["sizes"] == {**sizes, "discriminator_hidden": 1024, "style_network": "gru"}
    _, two = modules(sizes)
    assert bundle.state.keys() == two.net.state_dict().keys()
    assert all(torch.equal(v, bundle.state[k]) for k, v in two.net.state_dict().items())
    assert bundle.genres == tuple(f"genre_{i}" for i in range(sizes["n_genres"])) and bundle.genre_means == {}


def test_it_dances_as_the_reference_heard_and_moved(source: Path, tmp_path: Path) -> None:
    main(arguments(source, tmp_path / "out", genres="ballet,zumba,hiphop,other"))
    generator = DanceGenerator.load(tmp_path / "out")
    assert (generator.front_end, generator.style_mode, generator.motion_threshold) == ("legacy", "legacy", 50.0)
    assert generator.genres == ("ballet", "zumba", "hiphop", "other")
    features = np.random.default_rng(0).normal(size=(100, 28)).astype(np.float32)
    z = generator.encode(features, torch.Generator().manual_seed(0))
    assert generator.decode(z.sample, 100, torch.Generator().manual_seed(0)).isfinite().all()


@pytest.mark.parametrize("which", ["stage1", "stage2"])
def test_both_unit_decoders_are_offered_and_training_goes_on_from_stage_2s(
    source: Path, tmp_path: Path, which: str
) -> None:
    main(arguments(source, tmp_path / "out", unit_decoder=which))
    bundle, own = read_bundle(tmp_path / "out"), dict(zip(("stage1", "stage2"), modules(), strict=True))
    key = "unit_decoder.head.0.weight"
    assert torch.equal(bundle.state[key], own[which].state_dict()[f"net.{key}"])
    assert bundle.provenance["unit_decoder"] == which and f"{which}'s" in (bundle.folder / "CARD.md").read_text()
    resume = torch.load(tmp_path / "out/resume/mm_gan/last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(resume[f"net.{key}"], own["stage2"].state_dict()[f"net.{key}"])


def test_stage_2s_unit_decoder_is_the_default(source: Path, tmp_path: Path) -> None:
    main(arguments(source, tmp_path / "out"))
    assert read_bundle(tmp_path / "out").provenance["unit_decoder"] == "stage2"


def test_statistics_become_the_normalizer(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stats = write_stats(tmp_path / "stats")
    main(arguments(source, tmp_path / "out", stats=stats))
    assert capsys.readouterr().err == ""
    normalizer = read_bundle(tmp_path / "out").normalizer
    fields = ("pose_mean", "pose_std", "feature_mean", "feature_std")
    for file, name in zip(STATS_FILES, fields, strict=True):
        np.testing.assert_array_equal(getattr(normalizer, name), np.load(stats / file).astype(np.float32))


def test_without_statistics_it_is_the_identity_and_says_so(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments(source, tmp_path / "out"))
    warning = capsys.readouterr().err
    assert warning.startswith("warning: no stats=") and warning.count("\n") == 1
    bundle = read_bundle(tmp_path / "out")
    assert not bundle.normalizer.pose_mean.any() and (bundle.normalizer.feature_std == 1).all()
    assert bundle.provenance["warnings"]


def test_stages_of_two_trainings_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, other = write(tmp_path / "a", seed=0), write(tmp_path / "b", seed=1)
    main(arguments(tmp_path / "a", tmp_path / "out", stage2=other["stage2"]))
    assert "different movement encoder" in capsys.readouterr().err and mine


def test_float64_and_half_become_float32(tmp_path: Path) -> None:
    paths = write(tmp_path / "in")
    style = torch.load(paths["style"], weights_only=True)
    torch.save({k: v.double() for k, v in style.items()}, paths["style"])
    main(arguments(tmp_path / "in", tmp_path / "out"))
    assert {v.dtype for v in read_bundle(tmp_path / "out").state.values()} == {torch.float32}


def test_an_old_bundle_is_replaced(source: Path, tmp_path: Path) -> None:
    for which in ("stage1", "stage2"):
        main(arguments(source, tmp_path / "out", unit_decoder=which))
    assert read_bundle(tmp_path / "out").provenance["unit_decoder"] == "stage2"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
