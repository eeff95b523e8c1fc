"""Two processes that train together: the same numbers as one process, a common end, and one line if one dies."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from d2m.bundle.run_folder import RunFolder
from d2m.cli.main import main
from d2m.dance.generator import DanceGenerator
from d2m.train import curriculum
from d2m.train.checkpoints import read_checkpoint
from d2m.train.stage import STAGES

from .conftest import REPO, TINY, call, compose_train

TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
#: With every loss of the GAN, three updates a batch, and a validation whose last batch is not a whole one.
ALL = [
    *(f"fit.{s}.{k}" for s in STAGES for k in ("max_epochs=1", "check_val_every_n_epoch=1")),
    *(f"model.mm_gan.weights.{k}=1" for k in ("d_mov_real", "d_mov_fake", "d_dan_real", "d_dan_fake", "g_mov")),
    *(f"model.mm_gan.weights.{k}=1" for k in ("recon", "style_real", "style_fake")), "trainer.precision=64-true",
]  # fmt: skip
#: Dances are studied in stages of two processes as well.
STUDY = [
    "callbacks=latent", "callbacks.latent.every_n_epochs=1", "callbacks.latent.seconds=2.5", "callbacks.latent.size=64",
    "callbacks.latent.permutations=19", "callbacks.latent.axes=false",
]  # fmt: skip
#: One stage, long enough to be disturbed.
LONG = [
    "stages=[du_vae]", "trainer.precision=64-true", "fit.du_vae.max_epochs=12", "fit.du_vae.steps_per_epoch=5",
    "fit.du_vae.check_val_every_n_epoch=12",
]  # fmt: skip


def train(words: list[str], folder: Path) -> None:
    """``train.py`` with these words; what it says goes to a file ``err`` in a folder."""
    sys.stderr = (folder / "err").open("w", buffering=1)
    os.dup2(sys.stderr.fileno(), 2)  # of the second process too
    sys.argv = [str(REPO / "train.py"), *words]  # which Lightning starts the second process with
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(OMP_NUM_THREADS="1", COLUMNS="200")
    main("train")


@contextmanager
def training(corpora: Path, folder: Path, *words: str) -> Iterator[BaseProcess]:
    """The first of two processes, forked from this one, which has loaded the training libraries."""
    asked = [*TINY, f"data.cache={corpora}", *TWO, *words]
    process = multiprocessing.get_context("fork").Process(target=train, args=(asked, folder))
    process.start()
    try:
        yield process
    finally:
        process.kill()  # the second one ends with it


def rows_of(run: Path, stage: str) -> list[dict[str, float]]:
    with open(run / "csv" / stage / "metrics.csv", newline="") as f:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(f)]


def curves(run: Path, stage: str) -> list[dict[str, float]]:
    """All rows but those of the study alone, which one process is not asked for."""
    told = [{k: v for k, v in row.items() if not k.startswith("latent/")} for row in rows_of(run, stage)]
    return [row for row in told if row.keys() - {"batch", "step", "epoch"}]


def assert_equal_numbers(one: Path, two: Path, stage: str) -> None:
    """Logged losses to 1e-5; weights to 1e-9, of which all but some terms are computed in float64."""
    a, b = curves(one, stage), curves(two, stage)
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        assert y == pytest.approx(x, rel=1e-5, abs=1e-9)
    here, there = (read_checkpoint(RunFolder(r).checkpoint(stage))["state_dict"] for r in (one, two))
    for name, value in here.items():
        torch.testing.assert_close(there[name], value, rtol=1e-9, atol=1e-9)


def test_all_stages_see_the_same_losses_on_one_process_and_on_two(corpora: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    done = call("train.py", *TINY, f"data.cache={corpora}", *ALL, *STUDY, *TWO, f"hydra.run.dir={two}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("GPU available") == 1  # of ten Trainers
    curriculum.run(compose_train(corpora, *ALL), one)
    for stage in STAGES:
        assert_equal_numbers(one, two, stage)
    batches = [row["batch"] for row in curves(two, "mm_gan") if "train/grad_style" in row]
    assert batches == [0, 1, 2]  # logged once
    assert len(list((two / "videos").glob("*.mp4"))) == len(list((one / "videos").glob("*.mp4"))) > 0
    assert sorted(p.name for p in (two / "latent").iterdir()) == ["generator-epoch0001", "mm_gan-epoch0001"]
    for stage in ("mm_gan", "generator"):
        assert sum("latent/norm/flow" in row for row in rows_of(two, stage)) == 1  # studied once
    generator = DanceGenerator.load(two / "bundle")
    poses = generator.decode(np.zeros((1, 32), np.float32), 96, torch.Generator().manual_seed(0))
    assert poses.shape == (96, 14, 2) and bool(poses.isfinite().all())


def disturbed(process: BaseProcess, run: RunFolder, err: Path) -> int:
    """Wait for the second epoch or a later one; the second process's number."""
    while not run.checkpoint("du_vae").exists():
        assert process.is_alive(), err.read_text()[-3000:]
        time.sleep(0.05)
    (other,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(other)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the second process in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_happens_to_one_process_happens_to_both(number: int, corpora: Path, tmp_path: Path) -> None:
    """SIGTERM to the second: both end after the same batch, with a checkpoint that one process goes on from. SIGKILL:
    the first one ends with a line."""
    run = RunFolder(tmp_path / "run")
    with training(corpora, tmp_path, *LONG, f"hydra.run.dir={run.path}") as process:
        other = disturbed(process, run, tmp_path / "err")
        os.kill(other, number)
        began = time.monotonic()
        process.join(120)
    assert time.monotonic() - began < 60 and not Path(f"/proc/{other}").exists()
    err = (tmp_path / "err").read_text()
    said = [line for line in err.splitlines() if f"resume with: d2m train resume={run.path}" in line]
    assert len(said) == 1 and "Traceback" not in err, err[-3000:]
    if number == signal.SIGKILL:
        assert process.exitcode == 2 and said[0].startswith("error: stage du_vae: another process of this run is gone")
        return
    assert process.exitcode == 128 + signal.SIGTERM and said[0].startswith("SIGTERM ended stage du_vae")
    progress = read_checkpoint(run.checkpoint("du_vae"))["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert 0 < progress["total"]["completed"] < 12 * 5
    curriculum.run(compose_train(corpora, *LONG), run.path)
    curriculum.run(compose_train(corpora, *LONG), tmp_path / "whole")
    here, there = (
        read_checkpoint(RunFolder(tmp_path / r).checkpoint("du_vae"))["state_dict"] for r in ("run", "whole")
    )
    for name, value in there.items():
        torch.testing.assert_close(here[name], value, rtol=1e-9, atol=1e-9)
