"""continue_from: a stage goes on from another run's checkpoint, or says in one line why not."""

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
from d2m.train.checkpoints import check_continues
from d2m.train.curriculum import build_module
from d2m.train.request import check_request, start_checkpoint
from d2m.train.stage import MM_GAN
from tests.original_files import SIZES, arguments, write

CONF = str(Path(__file__).parents[2] / "conf")
FIT = [f"size.{k}={v}" for k, v in SIZES.items() if k not in ("n_genres", "n_features")]


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
