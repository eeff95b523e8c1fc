"""`d2m train` as a process: what is wrong with a run's folder or a stage's length is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2m.bundle.run_folder import RunFolder

from .conftest import TINY, assert_one_line, call


@pytest.mark.parametrize("where", ["/proc/x", "/proc/1", "/proc/x${now:%S}"])
def test_a_folder_that_cannot_be_made(where: str, corpora: Path) -> None:
    assert_one_line(
        call("train.py", *TINY, f"data.cache={corpora}", f"hydra.run.dir={where}"), "/proc/", "hydra.run.dir"
    )


def test_a_folder_in_use_and_one_with_another_run(corpora: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    asked = [f"data.cache={corpora}", f"hydra.run.dir={tmp_path}"]
    with run.lock():
        for resume in ([], ["resume=auto"]):
            assert_one_line(call("train.py", *asked, *resume), str(tmp_path), "training here now")
    assert not (tmp_path / ".hydra").exists()  # the other run's files are as they were
    run.progress_path("du_vae").parent.mkdir(parents=True)
    run.progress_path("du_vae").touch()
    run.facts_path.write_text(json.dumps({"overrides": ["seed=3"]}))
    assert_one_line(call("train.py", *asked), str(tmp_path), "holds another run", "seed=3")
    assert_one_line(call("train.py", *asked, "seed=3", "fit.du_vae.max_epochs=-1", "resume=auto"), "max_epochs=-1")
