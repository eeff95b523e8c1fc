"""A stage's pace and progress bar, and its last checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from d2m.train.callbacks import pace as pace_module
from d2m.train.callbacks.ending import LastCheckpoint
from d2m.train.callbacks.pace import Pace, PaceBar, clock, note, silence_advertisements
from tests.unit.test_callbacks import N_BATCHES, Stage, fit


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is a second after the one before."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: float(next(ticks)))


class Look(pl.Callback):
    def __init__(self, pace: Pace) -> None:
        self.pace, self.seen = pace, []

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen.append((self.pace.rate, self.pace.stage_left, self.pace.run_left))


def test_rates_and_ends(seconds: None, caplog: pytest.LogCaptureFixture) -> None:
    clock_of = Pace("mm_gan", samples=4, samples_after=100)
    look = Look(clock_of)
    fit(Stage(), [clock_of, look], max_epochs=2)
    # The start is looked at once for the stage and once for the epoch: a batch later it is 2 s and 1 s ago.
    assert look.seen[0] == (4.0, 11 * 2.0, 11 * 2.0 + 100 * 2.0 / 4)
    assert look.seen[-1][1] == 0.0 and len(look.seen) == 2 * N_BATCHES
    assert Look(Pace("a", 4)).pace.slowest == 0
    slow = Pace("music_style", samples=4, samples_after=10, slowest=7.0)
    fit(Stage(), [slow])
    assert slow.run_left == 70.0  # a stage before was slower than this one
    lines = [r.getMessage() for r in caplog.records if r.name == "d2m.train"]
    assert lines[0].startswith(
        "mm_gan 1/2: train/recon 1, train/g_mov 2, val/recon 0.5; 4 samples/s; stage ends in 0:00"
    )


def test_the_log_line_is_not_printed_into_the_bar(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "train.log")
    logging.getLogger().addHandler(handler)
    try:
        note("to the file", only_to_file=True)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert (tmp_path / "train.log").read_text().strip() == "to the file" and not caplog.records


def test_the_bar_says_loss_samples_and_ends(
    seconds: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    clock_of = Pace("mm_gan", samples=4, samples_after=100)
    bar = PaceBar(clock_of)
    fit(Stage(), [clock_of, bar], enable_progress_bar=True)
    assert bar.get_metrics(bar.trainer, Stage()) == {
        "recon": "1", "samples/s": "4", "stage left": "0:00:00", "run left": clock(clock_of.run_left)
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "mm_gan 1/1" in out and "samples/s: 4" in out and "it/s" not in out and "v_num" not in out


def test_nothing_is_advertised(caplog: pytest.LogCaptureFixture) -> None:
    silence_advertisements()
    with caplog.at_level(logging.INFO), caplog.at_level(logging.INFO, logger="pytorch_lightning"):
        fit(Stage(), [])
    said = [r.getMessage() for r in caplog.records]
    assert said and not [line for line in said if "litlogger" in line or "litmodels" in line]


@pytest.mark.parametrize(("epochs", "every"), [(3, 2), (2, 2), (1, 5)])
def test_the_last_checkpoint_is_of_the_last_epoch(epochs: int, every: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    fit(Stage(), [LastCheckpoint(path, every)], max_epochs=epochs, enable_checkpointing=True)
    assert torch.load(path, weights_only=True)["epoch"] == epochs - 1
    fit(Stage(), [LastCheckpoint(tmp_path / "no.ckpt", 1)], fast_dev_run=True, enable_checkpointing=True)
    assert not (tmp_path / "no.ckpt").exists()
