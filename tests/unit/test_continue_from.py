"""continue_from: a stage continues from another run's checkpoint, or fails with one line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.cli.import_original import main
from d2m.cli.overrides import prepare_overrides
from d2m.core.errors import D2MError
from d2m.train.build import build_module
from d2m.train.checkpoints import check_continues, warm_start
from d2m.train.request import check_request, start_checkpoint
from d2m.train.stage import MM_GAN, MUSIC_STYLE
from tests.original_files import SIZES, arguments, write

CONF = str(Path(__file__).parents[2] / "conf")
WIDTHS = [f"size.{k}={v}" for k, v in SIZES.items() if k not in ("n_genres", "n_features")]
#: As docs/original-weights.md has it: the paper's networks and losses.
FIT = ["experiment=paper", *WIDTHS]


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", prepare_overrides(["stages=[mm_gan]", *overrides]))


@pytest.fixture(scope="module")
def resume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    write(folder / "in")
    main(arguments(folder / "in", folder / "out"))
    return folder / "out" / "resume"


def test_it_stands_for_the_warm_start(resume: Path, tmp_path: Path) -> None:
    given = config(f"continue_from.mm_gan={resume}/mm_gan/last.ckpt")
    assert check_request(given, RunFolder(tmp_path)) == [MM_GAN]
    assert start_checkpoint(given, MM_GAN, RunFolder(tmp_path)) == resume / "mm_gan/last.ckpt"
    assert start_checkpoint(config(), MM_GAN, RunFolder(tmp_path)) is None


def test_the_runs_own_checkpoint_goes_first(resume: Path, tmp_path: Path) -> None:
    own = RunFolder(tmp_path).checkpoint("mm_gan")
    own.parent.mkdir(parents=True)
    own.touch()
    assert (
        start_checkpoint(config(f"continue_from.mm_gan={resume}/mm_gan/last.ckpt"), MM_GAN, RunFolder(tmp_path)) == own
    )


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("continue_from.mm_gan=nowhere.ckpt", r"nowhere\.ckpt: no such file"),
        ("continue_from.du_vae=nowhere.ckpt", "du_vae is not among"),
    ],
)
def test_a_wrong_request_is_named(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(D2MError, match=says):
        check_request(config(override), RunFolder(tmp_path))


def test_it_must_fit_the_config_and_the_genres(resume: Path, tmp_path: Path) -> None:
    path = resume / "mm_gan/last.ckpt"
    check_continues(build_module(config(*FIT), MM_GAN, SIZES["n_genres"]), path, MM_GAN, 10)
    with pytest.raises(D2MError, match=r"tensor 'net\.music_style\.classifier\.2\.bias' has shape \(4,\)"):
        check_continues(build_module(config(*FIT), MM_GAN, 3), path, MM_GAN, 10)
    with pytest.raises(D2MError, match="does not fit stage mm_gan"):
        check_continues(build_module(config(*FIT), MM_GAN, 4), resume / "du_vae/last.ckpt", MM_GAN, 10)


@pytest.mark.parametrize("older", [False, True])
def test_a_checkpoint_of_another_style_network_names_the_choice(resume: Path, tmp_path: Path, older: bool) -> None:
    """Whose hparams say so, or are older than the choice."""
    paths = {}
    for stage in (MUSIC_STYLE, MM_GAN):
        content = torch.load(resume / stage.name / "last.ckpt", weights_only=True)
        sizes = content["hyper_parameters"]["sizes"]
        assert sizes.pop("style_network") == "gru"
        content["hyper_parameters"]["sizes"] = sizes if older else {**sizes, "style_network": "gru"}
        torch.save(content, paths.setdefault(stage, tmp_path / f"{stage.name}.ckpt"))
    genres = torch.load(paths[MUSIC_STYLE], weights_only=True).get("genres", list("abcd"))
    module = build_module(config(*WIDTHS), MM_GAN, len(genres))
    says = "style network is 'gru', the config's 'statistics'; give model/music_style=paper"
    with pytest.raises(D2MError, match=says) as told:
        warm_start(module, MM_GAN, {MUSIC_STYLE: paths[MUSIC_STYLE]}, genres)
    assert "\n" not in str(told.value)
    with pytest.raises(D2MError, match=says):
        check_continues(module, paths[MM_GAN], MM_GAN, 10)
    warm_start(build_module(config(*FIT), MM_GAN, len(genres)), MM_GAN, {MUSIC_STYLE: paths[MUSIC_STYLE]}, genres)


def test_it_needs_epochs_to_go(resume: Path) -> None:
    module = build_module(config(*FIT), MM_GAN, SIZES["n_genres"])
    with pytest.raises(D2MError, match=r"already trained 3 epochs; set fit\.mm_gan\.max_epochs above that"):
        check_continues(module, resume / "mm_gan/last.ckpt", MM_GAN, 3)


def test_weights_alone_are_no_training(resume: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(resume / "mm_gan/last.ckpt", weights_only=True)
    torch.save({"state_dict": checkpoint["state_dict"]}, tmp_path / "w.ckpt")
    module = build_module(config(*FIT), MM_GAN, SIZES["n_genres"])
    with pytest.raises(D2MError, match="no training state to continue"):
        check_continues(module, tmp_path / "w.ckpt", MM_GAN, 10)
