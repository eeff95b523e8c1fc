"""Guards, loggers and the dance video around training."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch.utils.data import DataLoader, TensorDataset

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.draw.video import probe, render_dance
from d2m.nets.composition import Composition
from d2m.nets.sizes import Sizes
from d2m.train.callbacks.artifacts import Node
from d2m.train.callbacks.dance_video import DanceVideo
from d2m.train.callbacks.guard import BatchCounter, StopOnNaN
from d2m.train.callbacks.loggers import (
    PatientWandbLogger,
    close_loggers,
    csv_logger,
    define_batch_axis,
    log_video,
    no_logger,
    stage_loggers,
    tensorboard_logger,
    wandb_id,
    wandb_logger,
    wandb_mode,
    within_limit,
)
from d2m.train.steps import log_losses
from tests.conftest import SIZES
from tests.figures import swaying

N_BATCHES = 6


class Stage(pl.LightningModule):
    """Steps its optimizer three times a batch, as the GAN does; ``net`` can dance, its music style is frozen."""

    def __init__(self, bad: dict[int, dict[str, float]] | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.net = Composition(Sizes(**SIZES))
        self.bad = bad or {}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for _ in range(3):
            self.optimizers().step()
        losses = {"recon": 1.0, "g_mov": 2.0, **self.bad.get(batch_idx, {})}
        log_losses(self, "train", {k: torch.tensor(v) for k, v in losses.items()}, 1)
        self.log("lr", float("nan"))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/recon", 0.5)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.weight], lr=0.1)


def fit(module: pl.LightningModule, callbacks: list[pl.Callback], *, ckpt: str | None = None, **options: Any) -> Any:
    batches = DataLoader(TensorDataset(torch.zeros(N_BATCHES, 1)), batch_size=1)
    given: dict[str, Any] = {"logger": False, "max_epochs": 1, "log_every_n_steps": 1, "num_sanity_val_steps": 1}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(accelerator="cpu", callbacks=callbacks, **{**quiet, **given, **options})
    trainer.fit(module, batches, batches, ckpt_path=ckpt)
    return trainer


# --- guards --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_stage_where_it_is_logged(value: float, tmp_path: Path) -> None:
    module = Stage({3: {"g_mov": value}})
    seen: list[int] = []

    class Count(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

    with pytest.raises(D2MError, match=r"stage s: train/g_mov became NaN or infinite at epoch 0, batch 3; .*rate") as e:
        fit(module, [Count(), StopOnNaN("s", tmp_path / "bad.pt")])
    assert seen == [0, 1, 2, 3] and "train/recon" not in str(e.value) and "\n" not in str(e.value)
    assert "precision" not in str(e.value)  # it is float32 already
    saved = torch.load(tmp_path / "bad.pt", weights_only=True)
    assert torch.equal(saved["batch"][0], torch.zeros(1, 1)) and saved["not_finite"] == ["train/g_mov"]


def test_losses_are_looked_at_where_they_are_logged_and_at_the_last_batch(tmp_path: Path) -> None:
    guard = StopOnNaN("s", tmp_path / "bad.pt")
    with pytest.raises(D2MError, match=r"train/g_mov, train/recon"):
        fit(Stage({5: {"recon": float("nan"), "g_mov": float("-inf")}}), [guard], log_every_n_steps=4)
    with pytest.raises(D2MError, match=r"infinite at epoch 0, batch 1;"):  # the first of those that were not looked at
        fit(Stage({i: {"recon": float("nan")} for i in range(1, 6)}), [guard], log_every_n_steps=4)
    # A NaN between two logged steps that is gone by the next costs nothing and stops nothing.
    fit(Stage({1: {"recon": float("nan")}}), [guard], log_every_n_steps=3)


def test_finite_losses_and_other_keys_stop_nothing(tmp_path: Path) -> None:
    fit(Stage({2: {"recon": 1e30}}), [StopOnNaN("s", tmp_path / "bad.pt")])
    assert not list(tmp_path.iterdir())


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").open()))


def test_the_batch_counter_counts_batches_not_optimizer_steps_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    logger = csv_logger(str(tmp_path), "mm_gan", {})
    trainer = fit(Stage(), [BatchCounter()], logger=logger, max_epochs=2)
    assert trainer.global_step == 3 * 2 * N_BATCHES
    found = rows(tmp_path / "csv" / "mm_gan")
    assert [float(r["batch"]) for r in found if r["train/recon"]] == list(range(2 * N_BATCHES))
    last = [float(r["batch"]) for r in found if r["val/recon"]]
    assert last == [N_BATCHES - 1, 2 * N_BATCHES - 1]

    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Experiment logs directory")  # false: metrics.1.csv is kept
        logger = csv_logger(str(tmp_path), "mm_gan", {})
        fit(Stage(), [BatchCounter()], logger=logger, max_epochs=3, ckpt=str(tmp_path / "a.ckpt"))
    again = [float(r["batch"]) for r in rows(tmp_path / "csv" / "mm_gan") if r["train/recon"]]
    assert again == list(range(2 * N_BATCHES, 3 * N_BATCHES))


# --- W&B -----------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of someone who never heard of W&B."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    forget_wandb()
    return tmp_path


def forget_wandb() -> None:
    """As in a new process: W&B keeps the settings and the key that it found first."""
    import wandb
    from wandb.sdk.lib.wbauth import unauthenticate_session

    wandb.teardown()
    unauthenticate_session(update_settings=False)


def write_netrc(path: Path, host: str = "api.wandb.ai") -> None:
    path.write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
    path.chmod(0o600)


def test_without_a_key_wandb_is_offline(nobody: Path) -> None:
    assert wandb_mode() == "offline"
    (nobody / ".netrc").write_text("machine {{{ what is this")
    assert wandb_mode() == "offline"
    write_netrc(nobody / ".netrc", "github.com")
    assert wandb_mode() == "offline"


def test_with_a_key_wandb_is_online(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    write_netrc(nobody / ".netrc")
    assert wandb_mode() == "offline"  # a key for another server
    write_netrc(nobody / "elsewhere", "127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(nobody / "elsewhere"))
    assert wandb_mode() == "online"
    monkeypatch.delenv("NETRC")
    forget_wandb()
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    assert wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_mode() == "online"


def test_names_of_folders_are_cut_to_wandbs_limit(nobody: Path) -> None:
    long = "a" * 150
    first, second = (wandb_logger(str(nobody / long / f"{'b' * 150}{i}"), "mm_gan", {}) for i in range(2))
    names = [logger._wandb_init[key] for logger in (first, second) for key in ("name", "group")]
    assert max(map(len, names)) <= 128 and len(set(names)) == 4
    assert "anonymous" not in first._wandb_init  # W&B warns of it in every run
    assert within_limit("a/b-mm_gan") == "a/b-mm_gan" and within_limit(long) != within_limit(long + "a")
    for node in (Node("latents", long, "0"), Node("latents", long + "b", "0")):
        assert len(node.artifact().name) <= 128


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_wandb_mode_says_the_last_word(nobody: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    write_netrc(nobody / ".netrc")
    monkeypatch.setenv("WANDB_MODE", mode)
    assert wandb_mode() == mode


def wandb_records(run_dir: Path) -> list[list[dict[str, Any]]]:
    """The records of every W&B session under a run's folder, oldest first."""
    command = shutil.which("wandb", path=Path(sys.executable).parent) or "wandb"
    out = []
    for folder in sorted((run_dir / "wandb").glob("offline-run-*")):
        done = subprocess.run(
            [command, "leet", "inspect", "--json", str(folder)], capture_output=True, text=True, check=True, timeout=120
        )
        out.append([json.loads(line) for line in done.stdout.splitlines()])
    return out


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r[kind] for r in records if r["type"] == kind]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_dance(tmp_path_factory.mktemp("video") / "a.mp4", [swaying(15)], size=(64, 64))


def test_a_wandb_run_has_its_keys_on_the_batch_axis_its_video_and_its_id_again(
    nobody: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a key"))
    run_dir = nobody / "runs" / "first"
    ids = []
    for session in range(2):
        logger = wandb_logger(str(run_dir), "mm_gan", {"config": {"model": {"lr": 0.1}}})
        assert isinstance(logger, WandbLogger)
        fit(Stage(), [BatchCounter()], logger=logger)
        log_video(logger, "val/dance", video, 5, "a waltz")
        ids.append(logger.experiment.id)
        close_loggers([logger], "success" if session else "failed")
        assert wandb.run is None
    assert ids[0] == ids[1] and ids[0].endswith("-mm_gan")
    other = wandb_logger(str(nobody / "runs" / "second"), "mm_gan", {})
    assert other.version != ids[0] and other.version.endswith("-mm_gan")

    sessions = wandb_records(run_dir)
    assert len(sessions) == 2
    for records, code in zip(sessions, (1, 0), strict=True):
        (run,) = of(records, "run")
        assert run["run_id"] == ids[0] and run["job_type"] == "mm_gan" and run["run_group"] == "runs/first"
        assert run["config"]["update"]["config"] == {"model": {"lr": 0.1}}
        assert of(records, "metric")[-1]["step_metric"] == "batch"
        history = [h["item"] for h in of(records, "history")]
        assert [h["batch"] for h in history if "train/recon" in h] == list(range(N_BATCHES))
        keys = {k.split(".")[0] for h in history for k in h}  # a medium is val/dance.path, val/dance.size, ...
        assert {"train/g_mov", "val/recon", "val/dance"} <= keys
        assert all("batch" in h for h in history)
        assert of(records, "exit")[-1].get("exit_code", 0) == code
    files = list(run_dir.glob("wandb/offline-run-*/files/media/videos/val/*.mp4"))
    assert len(files) == 2 and files[0].read_bytes() == video.read_bytes()


def test_an_offline_run_is_on_the_disk_before_it_ends(nobody: Path) -> None:
    logger = wandb_logger(str(nobody / "run"), "mm_gan", {})
    logger.log_metrics({"train/recon": 0.125}, step=0)
    for _ in range(100):  # W&B's own interval is 15 s
        written = [p.read_bytes() for p in (nobody / "run" / "wandb").glob("offline-run-*/*.wandb")]
        if any(b"train/recon" in log for log in written):
            break
        time.sleep(0.1)
    else:
        pytest.fail("nothing but a header was written")
    close_loggers([logger], "requeued")
    (records,) = wandb_records(nobody / "run")
    assert of(records, "preempting") and of(records, "exit")[-1]["exit_code"] == 1


# --- the other loggers ---------------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()


def test_tensorboard_shows_the_dance_moving(tmp_path: Path, video: Path) -> None:
    logger = tensorboard_logger(str(tmp_path), "mm_gan", {})
    assert isinstance(logger, TensorBoardLogger)
    log_video(logger, "val/dance", video, 7, "a waltz")
    close_loggers([logger], "success")
    found = events(tmp_path / "tensorboard" / "mm_gan")
    (image,) = found.Images("val/dance")
    assert image.step == 7 and image.encoded_image_string.startswith(b"GIF89a")
    assert (image.width, image.height) == (256, 256)
    assert any("val/dance" in tag for tag in found.Tags()["tensors"])


def test_csv_and_no_logger_take_a_video_in_silence(tmp_path: Path, video: Path) -> None:
    logger = csv_logger(str(tmp_path), "du_vae", {})
    assert isinstance(logger, CSVLogger)
    define_batch_axis(logger)
    log_video(logger, "val/dance", video, 7, "a waltz")
    logger.log_metrics({"a": 1.0}, step=0)
    close_loggers([logger], "success")
    assert [r["a"] for r in rows(tmp_path / "csv" / "du_vae")] == ["1.0"]
    assert no_logger(str(tmp_path), "du_vae", {}) is False
    close_loggers([], "failed")


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (no_logger, [CSVLogger]), (csv_logger, [CSVLogger]), (tensorboard_logger, [TensorBoardLogger, CSVLogger]),
        (wandb_logger, [PatientWandbLogger, CSVLogger]),
    ],
)  # fmt: skip
def test_curves_are_written_as_csv_whatever_the_logger(make: Any, kinds: list[type], nobody: Path) -> None:
    loggers = stage_loggers(make, nobody, "mm_gan", {"seed": 1})
    assert [type(logger) for logger in loggers] == kinds
    assert [type(logger) for logger in stage_loggers(make, nobody, "mm_gan", {}, csv=False)] == [
        k for k in kinds if k is not CSVLogger or make is csv_logger
    ]
    identity = wandb_id(loggers)
    assert identity is None if make is not wandb_logger else str(identity).endswith("-mm_gan")
    loggers[-1].log_metrics({"val/recon": 0.5, "batch": 3.0}, step=0)
    close_loggers(loggers[-1:], "success")
    assert RunFolder(nobody).curves("mm_gan") and rows(nobody / "csv" / "mm_gan")[0]["val/recon"] == "0.5"


# --- the dance video -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    from d2m.toy.embedded import prepare_embedded

    root = str(tmp_path_factory.mktemp("corpus"))
    return Corpus.open(prepare_embedded(root, 2, 8.0, genres=("flow", "drive"), yaws=(0.0,), front_end="mfcc"))


def dance_video(corpus: Corpus, run: Path, every: int) -> DanceVideo:
    return DanceVideo(every_n_epochs=every, seconds=1.2, seed=0, stage="mm_gan", run=RunFolder(run), corpus=corpus)


def test_a_dance_every_n_epochs_and_after_the_last(corpus: Corpus, tmp_path: Path) -> None:
    loggers = [csv_logger(str(tmp_path), "s", {}), tensorboard_logger(str(tmp_path), "s", {})]
    module = Stage()
    module.net.music_style.eval()
    fit(module, [BatchCounter(), dance_video(corpus, tmp_path, 2)], logger=loggers, max_epochs=3)
    assert module.net.unit_decoder.training and not module.net.music_style.training  # each in the mode it was in
    close_loggers(loggers, "success")
    videos = sorted((tmp_path / "videos").iterdir())
    assert [v.name for v in videos] == ["mm_gan-epoch0002.mp4", "mm_gan-epoch0003.mp4"]
    info = probe(videos[0])
    assert abs(info.seconds - 1.2) <= 1 / 30 and info.audio_codec == "aac"
    # Nothing has been learned: with its noise fixed the dance is the same one.
    assert info == probe(videos[1])
    energy = [
        float(r["val/dance_kinetic_energy"]) for r in rows(tmp_path / "csv" / "s") if r["val/dance_kinetic_energy"]
    ]
    assert len(energy) == 2 and energy[0] == energy[1] > 0
    shown = events(tmp_path / "tensorboard" / "s")
    batches = [2 * N_BATCHES - 1, 3 * N_BATCHES - 1]
    assert [i.step for i in shown.Images("val/dance")] == batches
    assert [s.step for s in shown.Scalars("val/dance_kinetic_energy")] == batches
    curve = [s.step for s in shown.Scalars("train/recon")]
    assert curve[-1] == batches[-1]  # on one axis with the curves


@pytest.mark.parametrize("options", [{"fast_dev_run": True}, {"max_epochs": 0, "num_sanity_val_steps": 2}])
def test_no_dance_in_a_fast_dev_run_or_the_sanity_check(corpus: Corpus, tmp_path: Path, options: dict) -> None:
    fit(Stage(), [dance_video(corpus, tmp_path, 1)], **options)
    assert not (tmp_path / "videos").exists()


def test_without_a_logger_the_video_lies_in_the_folder_all_the_same(corpus: Corpus, tmp_path: Path) -> None:
    fit(Stage(), [dance_video(corpus, tmp_path, 5)])
    assert [v.name for v in (tmp_path / "videos").iterdir()] == ["mm_gan-epoch0001.mp4"]


def test_the_dance_draws_nothing_from_trainings_noise(corpus: Corpus, tmp_path: Path) -> None:
    trainer, module = fit(Stage(), []), Stage()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    dance_video(corpus, tmp_path, 1).render(trainer, module, epoch=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_corpus_without_music_has_no_dance_to_show(corpus: Corpus, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Corpus, "recordings_in", lambda *_, **__: np.zeros(0, np.int64))
    fit(Stage(), [dance_video(corpus, tmp_path, 1)])
    assert not (tmp_path / "videos").exists()
