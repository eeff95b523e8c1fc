"""The whole curriculum on a tiny corpus: every stage from the one before, a bundle, resume, two processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra.errors import HydraException

from d2m.bundle import FILES, MOTION_STYLE, read_bundle
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.data.datamodule import DanceDataModule
from d2m.draw.video import probe
from d2m.train import curriculum
from d2m.train.checkpoints import read_checkpoint
from d2m.train.stage import GENERATOR, STAGES

from .conftest import compose_train


def state(run_dir: Path, stage: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(RunFolder(run_dir).checkpoint(stage))["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], prefix: str, other: str) -> bool:
    keys = [k for k in a if k.startswith(prefix)]
    assert keys
    return all(torch.equal(a[k], b[other + k[len(prefix) :]]) for k in keys)


def test_the_run_leaves_a_whole_bundle(tiny_run: Path) -> None:
    bundle = read_bundle(tiny_run / "bundle")
    assert {p.name for p in bundle.folder.iterdir()} == {*FILES, MOTION_STYLE}
    assert 0 <= bundle.config["motion_style"]["held_out"]["balanced_accuracy"] <= 1
    assert "Motion classifier: balanced accuracy" in (bundle.folder / "CARD.md").read_text()
    assert bundle.genres == ("drive", "flow", "groove") and set(bundle.genre_means) == set(bundle.genres)
    assert set(bundle.provenance["stages"]) == set(STAGES) and bundle.provenance["released_from"] == "generator"
    assert not [k for k in bundle.state if "discriminator" in k]
    assert {k.split(".")[0] for k in bundle.state} >= {"movement_encoder", "dance_encoder", "initial_pose_encoder"}
    assert bundle.config["motion_threshold"] > 0
    assert bundle.config["style_mode"] == "local" == bundle.provenance["config"]["style_mode"]
    assert "one per segment of 96 frames" in (bundle.folder / "CARD.md").read_text()
    json.loads((tiny_run / "metrics.json").read_text())["mm_gan"]["metrics"]["train/mov_mu"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_checkpoint_is_plain(tiny_run: Path, stage: str) -> None:
    for name in ("last", "best"):
        ckpt = torch.load(RunFolder(tiny_run).checkpoint(stage).with_name(f"{name}.ckpt"), weights_only=True)
        assert ckpt["state_dict"] and ckpt["hyper_parameters"]
    # best overwrites, it does not pile up
    assert len(list(RunFolder(tiny_run).checkpoint(stage).parent.glob("*.ckpt"))) == 2


def test_each_stage_starts_from_the_one_before(tiny_run: Path) -> None:
    du, style, gan, gen = (state(tiny_run, s) for s in ("du_vae", "music_style", "mm_gan", "generator"))
    # Frozen networks are handed on untouched, trained ones have moved.
    for frozen in ("movement_encoder", "initial_pose_encoder"):
        assert same(gan, du, f"net.{frozen}.", f"net.{frozen}.") and same(gen, du, f"net.{frozen}.", f"net.{frozen}.")
    assert same(gan, style, "net.music_style.", "net.")
    assert same(gan, du, "net.unit_decoder.", "net.unit_decoder.")  # our recipe's rate is 0 (ADR 0050)
    assert not same(gen, gan, "net.unit_decoder.", "net.unit_decoder.")
    assert not same(gen, gan, "net.dance_decoder.", "net.dance_decoder.")
    assert same(gen, gan, "net.style_to_dance.", "net.style_to_dance.")
    done = json.loads(RunFolder(tiny_run).done_path("mm_gan").read_text())
    expected = json.loads(RunFolder(tiny_run).done_path("du_vae").read_text())["checkpoint_sha256"]
    assert done["warm_start"]["du_vae: last.ckpt"] == expected


def test_losses_and_rates_are_logged_by_batch(tiny_run: Path) -> None:
    with open(tiny_run / "csv" / "mm_gan" / "metrics.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    train = [r for r in rows if r["train/mov_mu"]]
    assert [float(r["batch"]) for r in train] == [0, 1, 2, 3, 4, 5]
    assert any(r["val/recon"] for r in rows)
    rates = {f"lr/{n}" for n in ("discriminators", "encoders", "dance_decoder", "unit_decoder", "style_regressor")}
    assert {k for k in rows[0] if k.startswith("lr")} == rates and all(any(r[k] for r in rows) for k in rates)
    assert np.isfinite([float(r["train/mov_mu"]) for r in train]).all()


def test_the_validation_song_is_danced_to(tiny_run: Path) -> None:
    videos = sorted(p.name for p in (tiny_run / "videos").iterdir())
    assert videos == ["generator-epoch0002.mp4", "mm_gan-epoch0002.mp4"]
    info = probe(tiny_run / "videos" / videos[0])
    assert info.video_codec == "h264" and info.audio_codec == "aac" and abs(info.seconds - 2.0) < 0.1


def timeless(done: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on when and where a stage was trained; checkpoints hold the paths of their folder."""
    return {k: v for k, v in done.items() if k not in ("seconds", "checkpoint_sha256", "sha256")}


def kill(cfg: Any, run_dir: Path, monkeypatch: pytest.MonkeyPatch, bomb: pl.Callback | None = None) -> None:
    """Train until the bomb goes off."""
    original = curriculum.build_callbacks
    with monkeypatch.context() as m:
        m.setattr(curriculum, "build_callbacks", lambda *a, **k: [*original(*a, **k), bomb or Bomb()])
        with pytest.raises(RuntimeError, match="bomb"):
            curriculum.run(cfg, run_dir)


class LateBomb(pl.Callback):
    """After the last checkpoint, before the stage is done."""

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        raise RuntimeError("bomb")


class Bomb(pl.Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("bomb")


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_goes_on_to_the_same_weights(
    stage: str, tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = STAGES[stage].warm_starts
    init = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in starts]
    cfg = compose_train(corpora, f"stages=[{stage}]", "callbacks.dance_video=null", *init)
    kill(cfg, tmp_path, monkeypatch)
    assert RunFolder(tmp_path).checkpoint(stage).exists() and not RunFolder(tmp_path).is_done(stage)
    curriculum.run(cfg, tmp_path)
    there, here = state(tiny_run, stage), state(tmp_path, stage)
    assert there.keys() == here.keys()
    assert all(torch.equal(there[k], here[k]) for k in there)
    undisturbed, done = RunFolder(tiny_run).done(stage), RunFolder(tmp_path).done(stage)
    assert done["seconds"] > RunFolder(tmp_path).progress(stage)["seconds"] > 0  # the part before the kill counts
    assert timeless(done) == timeless(undisturbed) and set(done["warm_start"]) == {f"{s}: last.ckpt" for s in starts}
    # What was logged before stays.
    assert {p.name for p in (tmp_path / "csv" / stage).glob("*.csv")} == {"metrics.csv", "metrics.1.csv"}


def test_a_bundle_says_the_same_of_its_origin_after_a_kill(
    tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in ("du_vae", "music_style")]
    cfg = compose_train(corpora, "stages=[du_vae,mm_gan]", "callbacks.dance_video=null", *init)
    curriculum.run(cfg, tmp_path / "whole")
    kill(cfg, tmp_path / "killed", monkeypatch, LateBomb())
    curriculum.run(cfg, tmp_path / "killed")
    whole, killed = (read_bundle(tmp_path / n / "bundle").provenance for n in ("whole", "killed"))
    assert not RunFolder(tmp_path / "whole").checkpoint("du_vae").exists()  # given, so not trained
    sums = {s: RunFolder(tiny_run).done(s)["checkpoint_sha256"] for s in ("du_vae", "music_style")}
    for told in (whole, killed):
        gan = told["stages"].pop("mm_gan")
        assert gan["warm_start"] == {f"{s}: last.ckpt": digest for s, digest in sums.items()}
        assert {s: facts["sha256"] for s, facts in told["stages"].items()} == sums
        told["mm_gan"] = timeless(gan)
        del told["seal"], told["files"]
    assert whole == killed and whole["mm_gan"]["metrics"]["val/recon"] > 0


def test_genres_of_another_order_are_refused(tiny_run: Path, corpora: Path, tmp_path: Path) -> None:
    ours = RunFolder(tiny_run)
    for stage in ("music_style", "mm_gan", "motion_style"):
        checkpoint = torch.load(ours.checkpoint(stage), weights_only=True)
        assert checkpoint["genres"] == ["drive", "flow", "groove"]
        torch.save({**checkpoint, "genres": ["flow", "drive", "groove"]}, tmp_path / f"{stage}.ckpt")
    du = f"init_from.du_vae={ours.checkpoint('du_vae')}"
    style = f"init_from.music_style={ours.checkpoint('music_style')}"
    more = "fit.mm_gan.max_epochs=3"
    for given in (
        ["stages=[mm_gan]", du, f"init_from.music_style={tmp_path}/music_style.ckpt"],
        ["stages=[generator]", f"init_from.mm_gan={tmp_path}/mm_gan.ckpt"],
        ["stages=[mm_gan]", f"continue_from.mm_gan={tmp_path}/mm_gan.ckpt", more],
        [
            "stages=[mm_gan]",
            du,
            style,
            "callbacks=latent",
            f"callbacks.latent.motion_style={tmp_path}/motion_style.ckpt",
        ],
    ):
        with pytest.raises(D2MError, match="trained on the genres flow, drive, groove, but the corpus has drive, flow"):
            curriculum.run(compose_train(corpora, *given), tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    "option",
    ["+trainer.gradient_clip_val=0.5", "+trainer.accumulate_grad_batches=2", "+trainer.nonsense=1",
     "callbacks.dance_video.every_n_epochs=0", "+model.mm_gan.weights.nonsense=1"],
)  # fmt: skip
def test_what_a_later_stage_cannot_take_is_refused_before_the_first(option: str, corpora: Path, tmp_path: Path) -> None:
    with pytest.raises((D2MError, HydraException)):
        curriculum.run(compose_train(corpora, option), tmp_path)
    assert not (tmp_path / "checkpoints").exists() and not RunFolder(tmp_path).in_use()


def test_stage_without_its_start_is_refused(corpora: Path, tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(D2MError, match="starts from du_vae"):
        curriculum.run(compose_train(corpora, "stages=[mm_gan]"), tmp_path / "a")
    with pytest.raises(D2MError, match="stages="):
        curriculum.run(compose_train(corpora, "stages=[nonsense]"), tmp_path / "b")
    wrong = RunFolder(tiny_run).checkpoint("music_style")
    cfg = compose_train(corpora, "stages=[mm_gan]", f"init_from.du_vae={wrong}", f"init_from.music_style={wrong}")
    with pytest.raises(D2MError, match="does not fit stage mm_gan"):
        curriculum.run(cfg, tmp_path / "c")
    starts = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in ("du_vae", "music_style")]
    wider = compose_train(corpora, "stages=[mm_gan]", "size.z_mov=24", *starts)
    with pytest.raises(D2MError, match=r"size mismatch for [^,]*shape torch.Size.*; give the size=") as refused:
        curriculum.run(wider, tmp_path / "d")
    assert len(str(refused.value).split("size mismatch")) == 2


def test_the_test_phase_is_lightnings_predict(tiny_run: Path) -> None:
    data = DanceDataModule(str(RunFolder(tiny_run).corpus()), GENERATOR.items)
    module = curriculum.build_module(compose_train(tiny_run), GENERATOR, 3, data.corpus.n_features)
    module.load_state_dict(state(tiny_run, "generator"))
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    first, second = (pl.Trainer(**options).predict(module, data) for _ in range(2))
    songs = data.corpus.recordings_in("val", with_music=True)
    assert len(first) == len(songs) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [tuple(d.shape) for d in first] == [(1, len(data.corpus.song_features(int(i))), 28) for i in songs]


def test_a_wandb_run_needs_no_account(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    curriculum.run(compose_train(corpora, "stages=[music_style]", "logger=wandb"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_done("music_style")
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))) == 1
