"""`d2m train` as a process: errors about a run's folder or a stage's length are one line."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import DictConfig

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.toy.embedded import prepare_embedded
from d2m.train import curriculum
from d2m.train.stage import Stage
from tests.commands import called, d2m

from .conftest import TINY, assert_one_line, call, compose_train


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
    with pytest.raises(D2MError, match="'legacy' cannot be augmented") as told:
        d2m("train", *TINY, *small, *asked)
    assert str(told.value).endswith("augment=null: give model.music_style.augment=null model.mm_gan.augment=null")
    assert "\n" not in str(told.value) and not (tmp_path / "run").exists()


def test_a_corpus_of_another_front_end_is_refused(tmp_path: Path) -> None:
    root = prepare_embedded(str(tmp_path), 1, 8.0, yaws=(0.0,), front_end="mfcc")
    words = [w for w in TINY if not w.startswith("data.corpus")]
    asked = ["data=corpus", f"data.root={root}", f"data.cache={tmp_path}", f"hydra.run.dir={tmp_path / 'run'}"]
    with pytest.raises(D2MError, match=r"its front end is 'mfcc', data\.front_end=rhythm; prepare it") as told:
        d2m("train", *words, *asked, "data.front_end=rhythm")
    assert "\n" not in str(told.value) and "data.front_end=mfcc" in str(told.value)
    assert not (tmp_path / "run").exists()


def test_what_a_finished_run_has_trained_is_not_trained_once_more(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Path] = []

    def train_stage(cfg: DictConfig, stage: Stage, run: RunFolder, *_: object) -> None:
        seen.append(run.path)
        write_json(run.done_path(stage.name), {"metrics": {"val/recon": 0.5}, "seconds": 61})

    monkeypatch.setattr("d2m.train.curriculum.train_stage", train_stage)
    monkeypatch.chdir(tmp_path)
    asked = ["train", *TINY, f"data.cache={corpora}", "stages=[du_vae]", "seed=3"]
    d2m(*asked)
    run = RunFolder(seen[0])
    told = run.facts()
    assert told["state"] == "done" and told["stage"] == "bundle" and told["metrics"]["val/recon"] == 0.5
    assert told["overrides"][-1] == "seed=3" and run.config()["seed"] == 3 and run.corpus().parent == corpora
    with pytest.raises(D2MError, match=f"{run.path.name}: has trained this already .*rerun=true"):
        d2m(*asked, "callbacks.dance_video=null")  # changes nothing that is learned
    assert len(seen) == 1 and list((tmp_path / "outputs" / "runs").iterdir()) == [run.path]
    d2m(*asked, "rerun=true", "hydra.run.dir=outputs/runs/again")
    d2m(*asked, "hydra.run.dir=outputs/runs/named")  # a named folder is the user's decision
    assert {RunFolder(p).facts()["signature"] for p in seen} == {told["signature"]} and len(seen) == 3
    capsys.readouterr()
    d2m("runs", "ls", "json=true")
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["done"] * 3


def test_code_that_changes_between_two_sessions_is_one_line(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def train_stage(cfg: DictConfig, stage: Stage, run: RunFolder, *_: object) -> None:
        write_json(run.progress_path(stage.name), {})
        if len(told) < 2:
            raise D2MError("ended")
        write_json(run.done_path(stage.name), {"metrics": {}})

    monkeypatch.setattr(curriculum, "train_stage", train_stage)
    run, told = RunFolder(tmp_path / "run"), list[str]()
    for code in ("a", "a", "b"):
        monkeypatch.setattr(curriculum, "code_digest", lambda code=code: code)
        with suppress(D2MError):
            curriculum.run(compose_train(corpora, "stages=[du_vae]"), run.path)
        told.append(caplog.text)
        assert run.facts()["code"] == code
        caplog.clear()
    assert ["source code has changed since the last session" in t for t in told] == [False, False, True]
    assert run.facts()["state"] == "done" and run.facts()["signature"] is None


def test_a_refused_run_leaves_nothing(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it has written by then, unless a batch was trained; a user's own files stay."""
    trains = False

    def train_stage(cfg: DictConfig, stage: Stage, run: RunFolder, *_: object) -> None:
        (run.path / ".anything").touch()
        (run.path / "any").mkdir()
        (run.path / "any" / "thing").touch()
        if trains:
            write_json(run.progress_path(stage.name), {})
        raise D2MError("refused")

    monkeypatch.setattr("d2m.train.curriculum.train_stage", train_stage)
    (tmp_path / "used" / "mine").mkdir(parents=True)
    (tmp_path / "used" / "mine" / "notes.txt").touch()
    kept = list(tmp_path.rglob("*"))
    asked = [*TINY, f"data.cache={corpora}"]
    for folder, wrong, told in (
        ("used", "seed=0", "error: refused"), ("new", "size.z_dan=0", "z_dan=0; give a whole number"),
        ("new", "model.mm_gan.optimizer._target_=torch.optim.adamV", "did you mean torch.optim.Adam"),
    ):  # fmt: skip
        assert_one_line(called("train", *asked, wrong, f"hydra.run.dir={tmp_path / folder}"), told)
        assert list(tmp_path.rglob("*")) == kept
    trains = True
    assert_one_line(called("train", *asked, f"hydra.run.dir={tmp_path / 'new'}"), "error: refused")
    assert RunFolder(tmp_path / "new").facts()["state"] == "failed" and (tmp_path / "new" / "train.log").is_file()


@pytest.fixture
def finished(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path, list[str]]:
    """The words of a finished command whose stage a fake trained, its folder, and which stages were trained."""
    seen: list[str] = []

    def train_stage(cfg: DictConfig, stage: Stage, run: RunFolder, *_: object) -> None:
        seen.append(f"{run.path.name}/{stage.name}")
        write_json(run.done_path(stage.name), {"metrics": {"val/recon": 0.5}})

    monkeypatch.setattr("d2m.train.curriculum.train_stage", train_stage)
    monkeypatch.chdir(tmp_path)
    words = [*TINY, f"data.cache={corpora}", "stages=[du_vae]", "fit.du_vae.max_epochs=4"]
    done = called("train", *words, "hydra.run.dir=old")
    assert done.returncode == 0, done.stderr
    return words, tmp_path / "old", seen


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".hydra" not in p.parts}


def test_a_finished_run_keeps_what_it_says(finished: tuple[list[str], Path, list[str]]) -> None:
    words, old, seen = finished
    before = contents(old)
    again = called("train", *words, "seed=7", "hydra.run.dir=old")
    assert again.returncode == 2 and "old: already holds another run" in again.stderr
    longer = called("train", "resume=old", "fit.du_vae.max_epochs=8")
    assert longer.returncode == 2 and longer.stderr.count("\n") == 1
    assert "fit.du_vae.max_epochs=8: stage du_vae of " in longer.stderr
    assert "was trained to its end with 4" in longer.stderr and "continue_from.du_vae=" in longer.stderr
    assert {k: v for k, v in contents(old).items() if not k.endswith("train.log")} == {
        k: v for k, v in before.items() if not k.endswith("train.log")
    }
    same = called("train", *words, "hydra.run.dir=old")
    assert same.returncode == 0 and "old: finished already, with this config; nothing to train" in same.stdout
    assert seen == ["old/du_vae"] and json.loads(before[str(old / "run.json")])["state"] == "done"
    assert RunFolder(old).facts() == json.loads(before[str(old / "run.json")])


def test_a_finished_run_needs_no_writing_to_be_resumed(
    finished: tuple[list[str], Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, seen = finished

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("Hydra opens its log in the run's folder")

    monkeypatch.setattr("hydra._internal.utils._run_hydra", refused)
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "old" and access(path, mode))
    longer = called("train", "resume=old", "fit.du_vae.max_epochs=8")
    assert longer.returncode == 2
    assert longer.stderr == "error: old: the run's folder cannot be written; copy it elsewhere, and resume=COPY\n"
    done = called("train", "resume=old")
    assert done.returncode == 0 and done.stdout == "old: finished already; nothing to train\n" and len(seen) == 1
