"""The commands of docs/original-weights.md: import, dance with infer.py, continue training with train.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir

import d2m.cli.infer
import d2m.dance.dancer
from d2m.bundle import read_bundle
from d2m.cli.overrides import prepare_overrides
from d2m.core.skeleton import SAMPLE_RATE
from tests.commands import called
from tests.original_files import SIZES, words, write, write_stats

REPO = Path(__file__).parents[2]
GENRES = "drive,flow,groove"  # the embedded corpus has three


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write(folder / "in", {**SIZES, "n_genres": 3})
    out = folder / "bundle"
    stats = write_stats(folder / "stats")
    made = called("import-original", *words(folder / "in", out, genres=GENRES, stats=stats))
    assert made.returncode == 0 and made.stderr == "" and str(out) in made.stdout, made.stderr
    return out


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a click every half second over a tone."""
    t = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    wave = 0.2 * np.sin(2 * np.pi * 220 * t) + 0.6 * np.exp(-80 * (t % 0.5)) * np.sin(2 * np.pi * 1500 * t)
    path = tmp_path_factory.mktemp("song") / "clicks.wav"
    soundfile.write(path, wave.astype(np.float32), SAMPLE_RATE)
    return path


def test_the_command_fails_with_one_line(tmp_path: Path, bundle: Path) -> None:
    source = bundle.parent / "in"
    swapped = called("import-original", *words(source, tmp_path / "out", stage1=source / "Stage2.ckpt"))
    assert swapped.returncode == 2 and swapped.stdout == ""
    assert swapped.stderr.startswith("error: ") and swapped.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_infer_dances_with_an_imported_bundle(bundle: Path, song: Path, tmp_path: Path) -> None:
    danced = called("infer", f"bundle={bundle}", f"music={song}", f"out={tmp_path / 'out'}", "seed=3")
    assert danced.returncode == 0, danced.stderr
    with np.load(tmp_path / "out/clicks.npz") as data:
        assert data["poses"].shape == (120, 14, 2) and np.isfinite(data["poses"]).all()
        assert data["z_dan"].shape[1] == SIZES["z_dan"]
    assert (tmp_path / "out/clicks.mp4").stat().st_size > 1000
    told = json.loads((tmp_path / "out/clicks.json").read_text())
    assert told["music_style"].keys() == set(GENRES.split(","))


def test_infer_hears_with_the_bundles_front_end(
    bundle: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    real = d2m.dance.dancer.features

    def spy(wave: np.ndarray, front_end: str, *song: Any) -> np.ndarray:
        heard.append(front_end)
        return real(wave, front_end, *song)

    monkeypatch.setattr(d2m.dance.dancer, "features", spy)
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        overrides = prepare_overrides([f"bundle={bundle}", f"music={song}", f"out={tmp_path}", "video=false"])
        d2m.cli.infer.main(compose("infer", overrides))
    assert heard and set(heard) == {"legacy"}


def test_train_goes_on_from_an_import(bundle: Path, tmp_path: Path) -> None:
    """Weights, Adam's moments and counters: the first new batch is the 31st, in the fourth epoch."""
    run_dir = tmp_path / "run"
    trained = called(
        "train", "experiment=paper", "logger=none", f"hydra.run.dir={run_dir}", f"data.cache={tmp_path / 'corpora'}",
        "data.corpus.n_songs_per_genre=3", "data.corpus.seconds=16", "data.corpus.yaws=[0.0]",
        "data.front_end=legacy", "stages=[mm_gan]", f"continue_from.mm_gan={bundle}/resume/mm_gan/last.ckpt",
        *(f"size.{k}={v}" for k, v in SIZES.items() if k not in ("n_genres", "n_features")),
        "fit.mm_gan.max_epochs=4", "fit.mm_gan.steps_per_epoch=2", "fit.mm_gan.batch_size=2",
        "callbacks.dance_video=null", "callbacks.progress_bar=false", "trainer=cpu", "trainer.precision=32-true",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr[-2000:]
    before = torch.load(bundle / "resume/mm_gan/last.ckpt", weights_only=True)
    after = torch.load(run_dir / "checkpoints/mm_gan/last.ckpt", weights_only=True)
    assert after["global_step"] == before["global_step"] + 5 * 2
    steps = {k: [s["state"][0]["step"].item() for s in c["optimizer_states"]] for k, c in (("b", before), ("a", after))}
    # Discriminators, encoders (two updates a batch), decoders, regressor.
    assert [a - b for a, b in zip(steps["a"], steps["b"], strict=True)] == [2, 4, 2, 2]
    moved = {k for k, v in after["state_dict"].items() if not torch.equal(v, before["state_dict"][k])}
    assert not any("movement_encoder" in k or "music_style" in k or "initial_pose" in k for k in moved)
    made = read_bundle(run_dir / "bundle")
    papers = {"discriminator_hidden": 1024, "style_network": "gru"}
    assert made.config["front_end"] == "legacy" and made.config["sizes"] == {**SIZES, **papers, "n_genres": 3}
    done = json.loads((run_dir / "checkpoints/mm_gan/done.json").read_text())
    assert "continue_from: last.ckpt" in done["warm_start"]
