"""edit=optimise on a tiny trained chain: in Python, and as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from d2m.bundle import read_bundle, write_bundle
from d2m.dance.generator import DanceGenerator
from d2m.dance.together import dance_to
from d2m.edits.request import EditRequest, build_edit
from tests.commands import called

from .conftest import assert_one_line


@pytest.fixture(scope="module")
def song(a_song: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    wave, rate = soundfile.read(a_song)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, wave[: 4 * rate], rate)
    return path


def test_the_target_becomes_likelier_than_by_arithmetic(tiny_run: Path) -> None:
    generator = DanceGenerator.load(tiny_run / "bundle")
    edit = build_edit(EditRequest("optimise", "drive", "flow", options={"steps": 30, "rate": 0.1}), generator)
    features = np.random.default_rng(0).normal(size=(96, generator.net.sizes.n_features)).astype(np.float32)
    beats = np.arange(0.2, 6, 0.5)
    dance = dance_to(generator, features, beats, 90, seed=0, edit=edit, warp=False)
    facts = dance.edit_facts
    likely = {k: facts[k]["target_probability"]["guide"] for k in ("original", "arithmetic", "optimised")}
    assert likely["optimised"] > likely["arithmetic"]
    loss = {k: sum(facts["weights"][w] * v for w, v in facts[k]["terms"].items()) for k in ("arithmetic", "optimised")}
    assert loss["optimised"] < loss["arithmetic"]
    again = dance_to(generator, features, beats, 90, seed=0, edit=edit, warp=False)
    assert np.array_equal(again.poses["target"], dance.poses["target"])
    nothing = dance_to(generator, features, beats, 90, seed=0, edit=edit, strength=0.0, warp=False)
    assert np.array_equal(nothing.poses["target"], dance.poses["original"]) and nothing.edit_facts["steps"] == 0
    assert not torch.is_inference_mode_enabled() and all(p.grad is None for p in generator.net.parameters())


def test_infer_optimises_and_says_by_which_judge(tiny_run: Path, song: Path, tmp_path: Path) -> None:
    done = called(
        "infer", f"bundle={tiny_run / 'bundle'}", f"music={song}", f"out={tmp_path}", "video=false",
        "edit=optimise", "edit.source=drive", "edit.target=flow", "edit.steps=3", "edit.weights.content=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "song.json").read_text())["edit"]
    assert told["name"] == "optimise" and told["weights"] == {"target": 1, "content": 2, "prior": 0.1, "beat": 0.1}
    held_out = read_bundle(tiny_run / "bundle").config["motion_style"]["held_out"]
    assert told["motion_classifier_held_out"] == held_out and told["steps"] <= 3
    assert told["optimised"]["terms"].keys() == told["weights"].keys()
    assert {"poses_original", "poses_neutral"} <= set(np.load(tmp_path / "song.npz").files)


def test_a_bundle_without_the_stage_says_which_to_train(tiny_run: Path, song: Path, tmp_path: Path) -> None:
    a = read_bundle(tiny_run / "bundle")
    config = {k: v for k, v in a.config.items() if k not in ("format", "motion_style")}
    old = write_bundle(
        tmp_path / "old", config=config, state=a.state, normalizer=a.normalizer, genres=a.genres,
        genre_means=a.genre_means, provenance={}, card="",
    )  # fmt: skip
    edit = ["edit=optimise", "edit.source=drive", "edit.target=flow"]
    done = called("infer", f"bundle={old}", f"music={song}", f"out={tmp_path / 'out'}", *edit)
    assert_one_line(done, "motion_style", "stages=")
    done = called("infer", f"bundle={old}", f"music={song}", f"out={tmp_path / 'out'}", *edit, "edit.weights.beet=1")
    assert_one_line(done, "beet")
