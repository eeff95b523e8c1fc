"""The built wheel, installed in a folder of its own and used from another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from d2m.core.skeleton import SAMPLE_RATE

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the wheel's content and nothing else."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPO / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "conf"):
        shutil.copytree(REPO / name, source / name, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(root), str(source)]
    subprocess.run([*pip, *build], check=True, capture_output=True, text=True, timeout=240)
    (wheel,) = root.glob("d2m-*.whl")
    shutil.rmtree(source)
    install = ["install", "--no-deps", "--no-index", "--no-compile", "--target", str(root / "site"), str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True, text=True, timeout=240)
    return root / "site"


def run(site: Path, cwd: Path, *words: str) -> str:
    """``python -m d2m`` of the installed wheel, in a folder that is no checkout."""
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "d2m", *words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == (2 if "data=ballroom" in words else 0), done.stderr
    return done.stdout + done.stderr


def test_it_holds_every_config_once(installed: Path) -> None:
    packed = {p.relative_to(installed / "d2m/conf"): p.read_bytes() for p in (installed / "d2m/conf").rglob("*.yaml")}
    assert packed == {p.relative_to(REPO / "conf"): p.read_bytes() for p in (REPO / "conf").rglob("*.yaml")}
    assert (installed / "bin/d2m").is_file()
    assert (installed / "hydra_plugins/d2m_sweepers.py").is_file()  # where Hydra looks for sweepers


def test_train_composes_and_names_the_data_it_lacks(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, tmp_path, "train", "--cfg", "job", "experiment=quickstart")
    assert "max_epochs: 4" in shown and "z_dan: 32" in shown
    told = run(installed, tmp_path, "train", "data=ballroom", f"hydra.run.dir={tmp_path / 'run'}")
    assert told.startswith("error: data.root=../shared/data/ballroom: no such folder; give data.root=FOLDER")


def test_infer_and_study_work(installed: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for genre in ("a", "b"):
        (tmp_path / "songs" / genre).mkdir(parents=True)
        wave = 0.3 * rng.normal(size=3 * SAMPLE_RATE).clip(-1, 1)
        soundfile.write(tmp_path / "songs" / genre / f"{genre}.wav", wave, SAMPLE_RATE)
    assert "usage: d2m infer" in run(installed, tmp_path, "infer", "--help")
    words = (f"bundle={tiny_bundle}", "music=songs/*/*.wav", "out=dances", "video=false")
    assert "2 dances in dances" in run(installed, tmp_path, "infer", *words)
    assert sorted(p.name for p in (tmp_path / "dances").glob("*.npz")) == ["a.npz", "b.npz"]
    told = run(installed, tmp_path, "study", "extract", f"bundle={tiny_bundle}", "music=songs", "out=z", "noise=4")
    assert "2 rows of 2 songs (a 1, b 1)" in told and (tmp_path / "z/latents.npz").is_file()
