"""The motion classifier: it learns planted classes, never sees music, and is optional in a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m.bundle import FILES, MOTION_STYLE, read_bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.dance.encoding import space_of
from d2m.dance.generator import DanceGenerator
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.edits.request import EditRequest, build_edit
from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.nets.blocks import windows
from d2m.nets.motion_style import MotionStyle
from d2m.nets.sizes import MotionSizes
from d2m.train.modules.motion_style import read_motion_style
from d2m.train.release import motion_style_accuracy


def test_balanced_accuracy_counts_classes_alike() -> None:
    truth = torch.tensor([0] * 8 + [1] * 2)
    assert float(balanced_accuracy(confusion(truth, torch.zeros_like(truth), 3))) == 0.5  # class 2 does not occur
    assert float(balanced_accuracy(confusion(truth, truth, 3))) == 1.0
    assert bool(balanced_accuracy(torch.zeros(3, 3)).isnan())


def test_windows_cover_a_dance_and_keep_its_beats() -> None:
    frames = torch.arange(96.0)[None, :, None].expand(2, 96, 28)
    cut = windows(frames, 32)
    assert cut.shape == (2, 5, 32, 28) and cut[0, :, 0, 0].tolist() == [0, 16, 32, 48, 64]
    assert windows(frames[:, :33], 32)[0, :, 0, 0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="31 frames"):
        windows(frames[:, :31], 32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    from d2m.toy.embedded import prepare_embedded

    folder = tmp_path_factory.mktemp("corpus")
    return Corpus.open(prepare_embedded(str(folder), n_songs_per_genre=6, seconds=16.0, yaws=(0.0, 45.0)))


def test_it_learns_the_genres_of_real_units_it_never_saw(corpus: Corpus) -> None:
    data = DanceDataModule(str(corpus.folder), "units", batch_size=32, steps_per_epoch=60, shift=(10.0, 4.0))
    torch.manual_seed(0)
    net = MotionStyle(MotionSizes(len(corpus.genres), 32))
    adam = torch.optim.AdamW(net.parameters(), 3e-3)
    for raw in data.train_dataloader():
        assert raw.keys() == {"genre", "units", "shift"}  # no music
        batch = data.on_after_batch_transfer(raw)
        assert batch["units"].shape == (32, 32, 28)
        loss = sum(torch.nn.functional.cross_entropy(x, batch["genre"]) for x in net(batch["units"]))
        adam.zero_grad()
        loss.backward()
        adam.step()
    found = motion_style_accuracy(net.eval(), corpus, corpus.normalizer)
    assert found["songs"] == 6 and found["chance"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"] > 0.6 and found["guide_balanced_accuracy"] > 0.6
    assert found["balanced_accuracy_songs"] >= found["balanced_accuracy"] - 0.2


def test_validation_units_are_not_shifted(corpus: Corpus) -> None:
    data = DanceDataModule(str(corpus.folder), "units", batch_size=8)
    raw = next(iter(data.val_dataloader()))
    assert bool((raw["shift"] == 0).all())
    plain = corpus.normalizer.normalize_poses(raw["units"].numpy())
    np.testing.assert_allclose(data.on_after_batch_transfer(raw)["units"].numpy(), plain, atol=1e-5)


# --- in a bundle ---------------------------------------------------------------------------------------------


def test_it_is_one_more_sealed_file_and_the_latent_space_stays(tiny_bundle: Path, judged_bundle: Path) -> None:
    assert {p.name for p in judged_bundle.iterdir()} == {*FILES, MOTION_STYLE}
    old, new = DanceGenerator.load(tiny_bundle), DanceGenerator.load(judged_bundle)
    assert old.motion_style is None and new.motion_style is not None
    assert new.motion_style_held_out["balanced_accuracy"] == 0.75
    assert space_of(old) == space_of(new)


@pytest.mark.parametrize("how", ["missing", "altered"])
def test_a_broken_classifier_is_named(judged_bundle: Path, tmp_path: Path, how: str) -> None:
    broken = shutil.copytree(judged_bundle, tmp_path / "b")
    path = broken / MOTION_STYLE
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(D2MError, match=rf"{MOTION_STYLE}: {how}"):
        DanceGenerator.load(broken)


def test_tensors_and_config_come_together(judged_bundle: Path, tmp_path: Path) -> None:
    a = read_bundle(judged_bundle)
    config = {k: v for k, v in a.config.items() if k != "format"}
    with pytest.raises(ValueError, match="or neither"):
        write_bundle(
            tmp_path / "b", config=config, state=a.state, normalizer=a.normalizer, genres=a.genres,
            genre_means=a.genre_means, provenance={}, card="",
        )  # fmt: skip


def test_genre_of_motion_is_a_distribution_of_any_long_enough_dance(judged_bundle: Path) -> None:
    g = DanceGenerator.load(judged_bundle)
    poses = 30 * np.random.default_rng(0).normal(size=(77, 14, 2))
    p = g.genre_of_motion(poses)
    assert p.keys() == set(g.genres) and sum(p.values()) == pytest.approx(1, abs=1e-5)
    for bad in (poses[:31], poses[:, :13], poses.reshape(77, 28)):
        with pytest.raises(D2MError, match="poses of shape"):
            g.genre_of_motion(bad)


def test_without_a_classifier_one_line_says_what_to_train(tiny_bundle: Path, judged_bundle: Path) -> None:
    request = EditRequest.of({"name": "optimise", "source": "drive", "target": "flow"})
    with pytest.raises(D2MError, match=r"train one with stages=\[") as told:
        build_edit(request, DanceGenerator.load(tiny_bundle))
    assert "\n" not in str(told.value)
    g = DanceGenerator.load(judged_bundle)
    assert build_edit(request, g) is not None
    for bad, words in (
        ({"target": "polka"}, "polka"), ({"steps": -1}, r"edit\.steps"), ({"steps": 1.5}, r"edit\.steps"),
        ({"rate": 0}, r"edit\.rate"), ({"weights": {"contnet": 1}}, "contnet"),
        ({"weights": {"content": -1}}, r"weights\.content"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=words):
            build_edit(EditRequest.of({"name": "optimise", "source": "drive", "target": "flow", **bad}), g)


def test_what_is_no_checkpoint_of_the_stage_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    torch.save({"hyper_parameters": {}, "state_dict": {}}, other)
    for path in (tmp_path / "none.ckpt", other):
        with pytest.raises(D2MError, match=r"not a checkpoint of stage motion_style"):
            read_motion_style(path)
