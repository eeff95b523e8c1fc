"""A real sweep: shared stages are trained once, a failing trial does not end it, W&B has a row for each training."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.train.callbacks.artifacts import log_bundle, log_objective
from d2m.train.callbacks.loggers import say_upload, wandb_logger
from tests.commands import called, d2m

from .conftest import TINY


def test_a_sweep_over_mm_gan_trains_du_vae_once_and_survives_its_trials(
    corpora: Path, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style = RunFolder(tiny_run).checkpoint("music_style")
    words = [w for w in TINY if not w.startswith("stages=")]
    asked = [
        *words, "stages=[du_vae,mm_gan]", f"data.cache={corpora}", f"init_from.music_style={style}",
        "callbacks.dance_video=null", "model.mm_gan.optimizer.lr=1e30,1e-3", f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]  # fmt: skip
    done = called("train", "-m", *asked)
    assert done.returncode == 1, done.stderr
    failed, whole = (RunFolder(tmp_path / "sweep" / n) for n in "01")
    told = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [t["state"] for t in told["trials"]] == ["failed", "done"] and told["best"] == "1"
    assert "became NaN or infinite" in told["trials"][0]["error"]
    assert whole.done("du_vae")["reused_from"] == str(failed.path) and "reused_from" not in whole.done("mm_gan")
    assert whole.checkpoint("du_vae").read_bytes() == failed.checkpoint("du_vae").read_bytes()
    assert f"stage du_vae: taken from {failed.path}" in done.stdout and whole.curves("du_vae")
    provenance = json.loads((whole.bundle / "provenance.json").read_text())
    assert provenance["stages"]["du_vae"]["reused_from"] == str(failed.path)
    lines = done.stdout.splitlines()
    assert any(line.startswith("trial 0 failed: stage mm_gan: ") for line in lines)
    assert any(line.startswith(f"best: {whole.path}, mm_gan/val/recon ") for line in lines)
    assert f"d2m evaluate bundle={whole.bundle} out={whole.path}/held_out" in lines
    (infer,) = (line for line in lines if line.startswith("d2m infer "))  # works as it is printed
    assert called(*shlex.split(infer)[1:], "video=false").returncode == 0 and list(
        (whole.path / "dances").glob("*.npz")
    )
    (error,) = (line for line in done.stderr.splitlines() if "became NaN" in line)
    assert error.startswith(f"{failed.path} failed: stage mm_gan:")
    log = (whole.path / "train.log").read_text()
    assert "mm_gan 2/2: train/" in log and "samples/s; stage ends in 0:00:00, run in about 0:00:00" in log
    assert "litlogger" not in log
    capsys.readouterr()
    d2m("runs", "best", f"folder={tmp_path}", "json=true")
    (best,) = json.loads(capsys.readouterr().out)
    assert best["path"] == str(whole.path) and best["objective"]["value"] == told["trials"][1]["value"]


def records(run: Path) -> list[dict[str, Any]]:
    """Of every offline session of W&B under a run's folder."""
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    found: list[dict[str, Any]] = []
    for folder in sorted((run / "wandb").glob("offline-run-*")):
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True, timeout=120)
        found += [json.loads(line) for line in done.stdout.splitlines()]
    return found


def test_one_row_of_wandb_stands_for_a_training(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sweep = tmp_path / ("s" * 80)
    run = RunFolder(Path(shutil.copytree(tiny_run, sweep / "0", ignore=shutil.ignore_patterns("checkpoints/*/*.ckpt"))))
    (sweep / "multirun.yaml").touch()
    make = partial(wandb_logger, tags=["mine"])
    log_bundle(make, run.bundle, run, run.corpus(), {}, {"model": {"du_vae": {"lr": 0.25}}})
    log_objective(make, run, "eval/objective", 0.75)
    say_upload(run.path)
    text = "\n".join(json.dumps(r) for r in records(run.path))
    for stage, key in (("du_vae", "val/recon"), ("music_style", "val/accuracy"), ("generator", "seconds")):
        assert f"{stage}/{key}" in text
    assert '"eval/objective"' in text and "0.75" in text and "0.25" in text
    tags = next(r["run"]["tags"] for r in records(run.path) if r["type"] == "run")
    assert len(tags) == 3 and "mine" in tags and all(len(t) <= 64 for t in tags)
    assert {t.partition(":")[0] for t in tags} == {"sweep", "run", "mine"}
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"W&B was offline; to upload: wandb sync {run.path}/wandb/offline-run-*"
    )
