"""A small system learns the embedded corpus's known properties in a minute, judged on held-out songs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from d2m.bundle.run_folder import RunFolder
from d2m.dance.generator import DanceGenerator
from d2m.data.corpus import Corpus
from d2m.toy.genres import ENERGETIC, FLOWING
from d2m.train.curriculum import run
from experiments.demo.claims import measure_claims

from .conftest import compose_train

#: Between tiny and small: enough to tell the genres apart.
SIZE = [
    "size.z_mov=32", "size.z_dan=64", "size.movement_hidden=96", "model.du_vae.optimizer.lr=4e-3",
    "model.mm_gan.optimizer.lr=1e-3",
    "model.generator.optimizer.lr=1e-3", "model.generator.lr_unit_decoder=3e-4",
]  # fmt: skip
LENGTH = {"du_vae": (8, 30, 16), "music_style": (2, 30, 32), "mm_gan": (3, 40, 16), "generator": (2, 40, 16),
          "motion_style": (2, 40, 32)}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("science")
    fit = [
        f"fit.{stage}.{key}={value}"
        for stage, values in LENGTH.items()
        for key, value in zip(("max_epochs", "steps_per_epoch", "batch_size"), values, strict=True)
    ]
    cfg = compose_train(
        folder / "corpora", *SIZE, *fit, "data.corpus.n_songs_per_genre=6", "data.corpus.seconds=24", "logger=none",
        "callbacks.dance_video=null", *(f"fit.{s}.check_val_every_n_epoch=100" for s in LENGTH),
    )  # fmt: skip
    run_dir = run(cfg, folder / "run")
    torch.set_num_threads(1)
    corpus = Corpus.open(RunFolder(run_dir).corpus())
    return measure_claims(DanceGenerator.load(run_dir / "bundle"), corpus, seeds=(0, 1))


def test_the_promised_genres_are_the_extremes(report: dict[str, Any]) -> None:
    assert (report["most_energetic"], report["least_energetic"]) == (ENERGETIC, FLOWING)
    assert len(set(report["held_out_songs"])) == 6  # one of validation and one of testing a genre


def test_energetic_songs_are_danced_to_with_more_energy(report: dict[str, Any]) -> None:
    energy = report["energy"]
    assert energy[ENERGETIC]["generated"] > 1.5 * energy[FLOWING]["generated"]


def test_the_edit_moves_energy_the_right_way(report: dict[str, Any]) -> None:
    down, up = report["edits"]
    assert down["edited"] < 0.8 * down["original"] and down["share_higher"] <= 0.25
    assert up["edited"] > 1.25 * up["original"] and up["share_higher"] >= 0.75


def test_genres_are_known_by_their_motion_and_the_edit_is_judged_by_it(report: dict[str, Any]) -> None:
    assert report["motion_style"]["balanced_accuracy"] > 0.6 > report["motion_style"]["chance"]
    for edit in report["edits"]:
        assert edit["target_probability_edited"] > edit["target_probability_original"]


def test_strength_zero_is_the_original(report: dict[str, Any]) -> None:
    assert all(e["strength_0_exact"] and e["pairs"] == 4 for e in report["edits"])


def test_units_are_reconstructed_better_than_by_baselines(report: dict[str, Any]) -> None:
    r = report["reconstruction"]
    assert r["du_vae"] < 0.9 * r["hold_last_pose"] < r["mean_pose"]
