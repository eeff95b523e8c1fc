"""What ``d2m train`` returns to a sweeper."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.reports import judges
from d2m.train.objective import check_objective, objective

from .conftest import compose_train


def test_the_last_stage_s_monitored_value(tiny_run: Path, corpora: Path, tmp_path: Path) -> None:
    cfg = compose_train(corpora, "stages=[du_vae,generator]")
    done = json.loads(RunFolder(tiny_run).done_path("generator").read_text())
    assert objective(cfg, RunFolder(tiny_run)) == done["metrics"]["val/loss"]
    assert objective(compose_train(corpora, "stages=[du_vae]"), RunFolder(tmp_path)) is None


def test_how_the_dances_measure(tiny_run: Path, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 30)
    cfg = compose_train(corpora, "objective=eval/objective")
    check_objective(cfg)
    run = RunFolder(Path(shutil.copytree(tiny_run, tmp_path / "run")))
    value = objective(cfg, run)
    report = json.loads((run.evaluation / "report.json").read_text())
    assert value is not None and 0 <= value <= 1 and list(report["objective"].values()) == [value]
    assert report["splits"] == ["val"]


def test_what_it_cannot_be(corpora: Path) -> None:
    with pytest.raises(D2MError, match=r"objective=fid: choose null .* or eval/objective"):
        check_objective(compose_train(corpora, "objective=fid"))
    told = r"needs a bundle, which stages=\[du_vae\] does not make: train mm_gan or generator too"
    with pytest.raises(D2MError, match=told):
        check_objective(compose_train(corpora, "objective=eval/objective", "stages=[du_vae]"))
