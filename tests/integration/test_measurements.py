"""The experiments that measure the program, at tiny sizes: they run, compare equal results, and write their report."""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.gpu_check.report import Checked, Report
from experiments.throughput.stages import ROWS, batches_of, check_equal, data_of, module_of, plain_of
from experiments.timing import exponent_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from experiments.made_corpus import make_corpus

    return make_corpus(tmp_path_factory.mktemp("made"), 80)


def run(monkeypatch: pytest.MonkeyPatch, experiment: str, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    runpy.run_module(f"experiments.{experiment}.run", run_name="__main__")


@pytest.mark.parametrize("name", ROWS)
def test_the_plain_steps_have_the_programs_losses(name: str, corpus: Any) -> None:
    row = ROWS[name]
    module, data = module_of(row, "tiny", corpus), data_of(row, corpus, 4)
    batch, plain = batches_of(data, 1, "cpu")[0], plain_of(row, module, False)
    assert max(check_equal(row, module, plain, batch).values()) < 2e-4
    with torch.no_grad():  # what is compared is what is computed: another weight is another loss
        for p in plain.parameters():
            p.add_(0.1)
    with pytest.raises(AssertionError, match="losses differ"):
        check_equal(row, module, plain, batch)


def test_a_plain_step_moves_what_the_stage_trains(corpus: Any) -> None:
    """As released too: the movement encoder gets gradients and is never stepped."""
    row = ROWS["stage 2, the paper's losses"]
    module, data = module_of(row, "tiny", corpus), data_of(row, corpus, 4)
    batch = batches_of(data, 1, "cpu")[0]
    for released in (False, True):
        plain: Any = plain_of(row, module, released)
        before = {k: v.clone() for k, v in plain.state_dict().items()}
        plain.step(batch)
        moved_tensors = [k.split(".") for k, v in plain.state_dict().items() if (v != before[k]).any()]
        moved = {k[0 if "discriminator" in k[0] else 1] for k in moved_tensors}
        assert moved == {
            "movement_discriminator", "dance_discriminator", "dance_encoder", "dance_decoder", "style_to_dance",
            "style_regressor", "unit_decoder",
        }  # fmt: skip


def test_steps_are_timed_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("size=tiny", "batch=2", "repeats=2", "rows=music_style", f"out={tmp_path}", "precision=float32")
    run(monkeypatch, "throughput", "part=steps", *words)
    found = json.loads((tmp_path / "throughput.json").read_text())["steps"]
    row = found["music_style, float32"]
    assert row["ours, s"]["n"] == row["needed"]["n"] == 2
    assert row["needed"]["low"] <= row["needed"]["median"] <= row["needed"]["high"]
    assert found["machine"].keys() >= {"processor", "flags", "threads", "bf16", "git", "versions"}


def test_songs_are_timed_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(monkeypatch, "throughput", "part=songs", "size=tiny", "repeats=1", "songs=1", "seconds=3", f"out={tmp_path}")
    found = json.loads((tmp_path / "throughput.json").read_text())["songs"]
    assert found.keys() >= {"one song, 3 s", "per song, 1 songs of 3 s"}
    assert not (tmp_path / "dances").exists()


def test_a_studio_is_timed_through_its_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs uvicorn (pip install -e .[dev])")
    monkeypatch.setattr("experiments.throughput.studio.WARM_UP", 4)
    monkeypatch.setattr("experiments.throughput.studio.EVERY", 2)
    words = ("size=tiny", "repeats=1", "seconds=4", "minutes=0.001", f"out={tmp_path}")
    run(monkeypatch, "throughput", "part=studio", *words)
    found = json.loads((tmp_path / "throughput.json").read_text())["studio"]
    for what in ("picture at the playhead", "exact dance"):
        assert found[f"{what}, wall s"]["median"] > 0 and found[f"{what}, processor s"]["n"] == 1
    assert found["requests"] >= 4 and found["memory at the end, MiB"] > 0


def test_loading_is_timed(tmp_path: Path) -> None:
    from experiments.throughput.reading import measure_batches

    found = measure_batches(tmp_path, batch=4, repeats=1, n_units=80)
    assert found["unit_pairs"]["per item"]["n"] == 1 and found["sequences"]["ours, s"]["median"] > 0
    assert not list(tmp_path.iterdir())


def test_a_machine_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        monkeypatch,
        "gpu_check",
        "device=cpu",
        "size=tiny",
        "batch=2",
        "seconds=3",
        "rows=music_style",
        f"out={tmp_path}",
    )
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert not found["failed"] and not found["left out"]
    names = [c["name"] for c in found["checks"]]
    assert "GRU gradients, own cell, bf16" in names and "stage 1: a resume against one go" in names
    assert found["speeds"]["music_style, bf16"]["finite"]
    assert "no GPU is used" in capsys.readouterr().out


def test_what_is_wrong_or_fails_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(until=time.monotonic() + 60)
    report.add("small", lambda: Checked("small", 0.1, 0.2))
    report.add("large", lambda: Checked("large", 0.3, 0.2))

    def fail() -> Checked:
        raise RuntimeError("no kernel\nfor this")

    report.add("broken", fail)
    report.until = 0.0
    report.add("late", fail)
    assert report.failed == ["large", "broken"] and report.left_out == ["late"]
    said = capsys.readouterr().out
    assert "WRONG large" in said and "RuntimeError: no kernel for this" in said


def test_a_power_law_is_found_again() -> None:
    x = np.array([1.0, 4.0, 16.0])
    for exponent in (0.0, 0.5, 1.0):
        found = exponent_of(x.tolist(), [[3 * v**exponent * noise for noise in (0.99, 1.0, 1.01)] for v in x])
        assert found["median"] == pytest.approx(exponent, abs=0.02)
        assert found["low"] <= found["median"] <= found["high"]


def test_time_and_memory_against_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = ("base=tiny", "batches=2,4", "repeats=1", "stages=music_style", f"out={tmp_path}")
    run(monkeypatch, "scaling", "part=batch", *words)
    run(monkeypatch, "scaling", "part=corpus", "units=80,160", *words)
    found = json.loads((tmp_path / "scaling.json").read_text())
    for part in ("batch", "corpus"):
        assert set(found[part]["music_style"]) == {"x", "seconds", "exponent"}
        assert len(found[part]["music_style"]["seconds"]) == 2
