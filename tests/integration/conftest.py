"""One run of the whole curriculum on a tiny embedded corpus, shared by the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.data.corpus import Corpus
from d2m.train.stage import STAGES

REPO = Path(__file__).parents[2]
#: Two epochs of three batches a stage, on three songs a genre.
TINY = [
    "experiment=quickstart", "trainer=cpu", "logger=csv", "callbacks.progress_bar=false",
    "data.corpus.n_songs_per_genre=3", "data.corpus.seconds=12", "callbacks.dance_video.seconds=2",
    "trainer.log_every_n_steps=1", f"stages=[{','.join(STAGES)}]",
    *(f"fit.{s}.max_epochs=2" for s in STAGES), *(f"fit.{s}.steps_per_epoch=3" for s in STAGES),
    *(f"fit.{s}.batch_size=4" for s in STAGES),
]  # fmt: skip


def compose_train(cache: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", [*TINY, f"data.cache={cache}", *overrides])


def call(script: str, *arguments: str, cwd: Path = REPO, timeout: int = 240) -> subprocess.CompletedProcess[str]:
    """A script of the top level in a process of its own, one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "COLUMNS": "200"}
    command = [sys.executable, str(REPO / script), *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, no traceback, and one line of error that holds these words."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0], errors[0]


@pytest.fixture(scope="session")
def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pytest-xdist's workers share; what lies in it is made under a lock and then only read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def corpora(of_all_workers: Path) -> Path:
    return of_all_workers / "corpora"


@pytest.fixture(scope="session")
def tiny_run(corpora: Path, of_all_workers: Path) -> Path:
    """A finished run of all five stages, trained by the worker that first asks for it."""
    from d2m.train.curriculum import run

    folder = of_all_workers / "run"
    with FileLock(of_all_workers / "run.lock"):
        return folder if RunFolder(folder).metrics_path.exists() else run(compose_train(corpora), folder)


@pytest.fixture(scope="session")
def a_song(tiny_run: Path) -> Path:
    """A song of the embedded corpus."""
    return Corpus.open(RunFolder(tiny_run).corpus()).audio_path(0)
