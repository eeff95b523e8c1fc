"""`d2m train` as a process: what is wrong with a run's folder or a stage's length is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.toy.embedded import prepare_embedded
from tests.commands import called, d2m

from .conftest import TINY, assert_one_line, call


@pytest.mark.parametrize("where", ["/proc/x", "/proc/1", "/proc/x${now:%S}"])
def test_a_folder_that_cannot_be_made(where: str, corpora: Path) -> None:
    done = called("train", *TINY, f"data.cache={corpora}", f"hydra.run.dir={where}")
    assert_one_line(done, "/proc/", "hydra.run.dir")


def test_a_folder_in_use_and_one_with_another_run(corpora: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    asked = [f"data.cache={corpora}", f"hydra.run.dir={tmp_path}"]
    with run.lock():
        assert_one_line(call("train.py", *asked), str(tmp_path), "training here now")
        assert_one_line(called("train", *asked, "resume=auto"), str(tmp_path), "training here now")
    assert not (tmp_path / ".hydra").exists()  # the other run's files are as they were
    run.progress_path("du_vae").parent.mkdir(parents=True)
    run.progress_path("du_vae").touch()
    run.facts_path.write_text(json.dumps({"overrides": ["seed=3"]}))
    assert_one_line(called("train", *asked), str(tmp_path), "holds another run", "seed=3")
    assert_one_line(called("train", *asked, "seed=3", "fit.du_vae.max_epochs=-1", "resume=auto"), "max_epochs=-1")


def test_a_front_end_that_cannot_augment_names_the_keys(tmp_path: Path) -> None:
    small = ["data.corpus.n_songs_per_genre=1", "data.corpus.seconds=8", f"data.cache={tmp_path}"]
    asked = [f"hydra.run.dir={tmp_path / 'run'}", "data.front_end=legacy", "model.mm_gan.augment={semitones: 4}"]
    with pytest.raises(D2MError, match="'legacy' cannot say") as told:
        d2m("train", *TINY, *small, *asked)
    assert str(told.value).endswith("or give model.music_style.augment=null model.mm_gan.augment=null")
    assert "\n" not in str(told.value) and not (tmp_path / "run").exists()


def test_a_corpus_of_another_front_end_is_refused(tmp_path: Path) -> None:
    root = prepare_embedded(str(tmp_path), 1, 8.0, yaws=(0.0,), front_end="mfcc")
    words = [w for w in TINY if not w.startswith("data.corpus")]
    asked = ["data=corpus", f"data.root={root}", f"data.cache={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}"]
    with pytest.raises(D2MError, match=r"its front end is 'mfcc', data\.front_end=rhythm; prepare it") as told:
        d2m("train", *words, *asked, "data.front_end=rhythm")
    assert "\n" not in str(told.value) and "data.front_end=mfcc" in str(told.value)
    assert not (tmp_path / "run").exists()
