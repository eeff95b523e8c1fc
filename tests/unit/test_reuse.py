"""Stages that runs share are trained once; and the arguments with which a W&B sweep agent calls the program."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import changed_since, stage_signature
from d2m.core.files import sha256, write_json
from d2m.train.requeue import Cut
from d2m.train.reuse import shared
from tests.commands import called


def config(**changed: Any) -> dict[str, Any]:
    return {
        "stages": ["du_vae"], "seed": 0, "model": {"du_vae": {"lr": 1.0}, "mm_gan": {"lr": 1.0}}, "fit": {},
        "data": {"root": "a", "shift": [1.0]}, "logger": {"project": "x"}, "init_from": {"mm_gan": None}, **changed,
    }  # fmt: skip


def trained(path: Path, signature: str, weights: bytes = b"weights") -> RunFolder:
    run = RunFolder(path)
    write_json(run.facts_path, {"state": "done"})
    finish(run, signature, weights)
    return run


def finish(run: RunFolder, signature: str, weights: bytes = b"weights") -> None:
    checkpoint = run.checkpoint("du_vae")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(weights)
    facts = {"metrics": {"val/recon": 0.5}, "signature": signature, "checkpoint_sha256": sha256(checkpoint)}
    write_json(run.done_path("du_vae"), facts)


def test_a_stage_is_told_by_what_it_saw(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")

    def signed(stage: str = "mm_gan", start: str = "a", corpus: str = "c", **changed: Any) -> str:
        return stage_signature(config(**changed), stage, {"du_vae": tmp_path / start}, corpus, "code")

    same = signed()
    models = {"du_vae": {"lr": 5.0}, "mm_gan": {"lr": 1.0}}
    for changed in ({"stages": ["mm_gan"]}, {"model": models}, {"style_mode": "windows"}, {"reuse": True}):
        assert signed(**changed) == same
    models = {"du_vae": {"lr": 1.0}, "mm_gan": {"lr": 5.0}}
    for ema in ({"mm_gan": None}, {"du_vae": 0.9}):  # of other stages, or none
        assert signed(callbacks={"ema": ema}) == signed(callbacks={})
    assert signed(callbacks={"ema": {"mm_gan": 0.9}}) != signed(callbacks={})
    others = [signed(start="b"), signed(corpus="d"), signed("du_vae"), signed(seed=1), signed(model=models)]
    assert len({same, *others}) == 6


def test_a_trained_stage_is_taken_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lender = trained(tmp_path / "0", "s")
    (lender.path / "csv" / "du_vae").mkdir(parents=True)
    (lender.path / "csv" / "du_vae" / "metrics.csv").write_text("batch,val/recon\n1,0.5\n")
    trained(tmp_path / "broken", "s").checkpoint("du_vae").write_bytes(b"other")
    run = RunFolder(tmp_path / "1")
    for wanted, beside in (("other", tmp_path), ("s", None), (None, tmp_path)):
        with shared(run, "du_vae", wanted, beside) as taken:
            assert taken is None and not run.path.exists()
    with shared(run, "du_vae", "s", tmp_path) as taken:
        assert taken == lender.path
    assert f"stage du_vae: taken from {lender.path}" in capsys.readouterr().out
    assert run.checkpoint("du_vae").read_bytes() == b"weights" and run.curves("du_vae")[0].is_file()
    assert run.done("du_vae") == {**lender.done("du_vae"), "reused_from": str(lender.path)}
    third = RunFolder(tmp_path / "3")
    with shared(third, "du_vae", "s", tmp_path):
        assert third.done("du_vae")["reused_from"] == str(lender.path)  # who trained it, not who passed it on
    begun = RunFolder(tmp_path / "2")
    begun.checkpoint("du_vae").parent.mkdir(parents=True)
    begun.checkpoint("du_vae").write_bytes(b"begun")
    with shared(begun, "du_vae", "s", tmp_path) as taken:
        assert taken is None


def test_of_two_trials_one_trains_and_the_other_waits(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "0"), RunFolder(tmp_path / "1")
    write_json(first.facts_path, {"state": "running"})
    got: list[Path | None] = []

    def other() -> None:
        with shared(second, "du_vae", "s", tmp_path) as taken:
            got.append(taken)

    waiting = threading.Thread(target=other)
    with shared(first, "du_vae", "s", tmp_path) as taken:
        assert taken is None
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and not got
        finish(first, "s")
    waiting.join(10)
    assert got == [first.path]


def test_a_job_whose_time_ends_while_it_waits_is_not_idle(tmp_path: Path) -> None:
    def end(number: int, _: Any) -> None:
        raise Cut(number, requeue=True)

    held, over = threading.Event(), threading.Event()

    def train() -> None:
        with shared(RunFolder(tmp_path / "0"), "du_vae", "s", tmp_path):
            held.set()
            over.wait(10)

    training = threading.Thread(target=train)
    training.start()
    assert held.wait(10)
    before = signal.signal(signal.SIGALRM, end)
    try:
        with pytest.raises(Cut) as cut:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with shared(RunFolder(tmp_path / "1"), "du_vae", "s", tmp_path):
                signal.pause()
        assert cut.value.waited
    finally:
        over.set()
        training.join()
        signal.signal(signal.SIGALRM, before)


def test_what_finished_stages_saw_of_two_configs() -> None:
    before = config(trainer={"devices": 1}, style_mode="local")
    now = config(
        trainer={"devices": 2}, style_mode="windows", seed=7, stages=["du_vae", "mm_gan"],
        model={"du_vae": {"lr": 2.0, "style_mode": "x"}, "mm_gan": {"lr": 3.0}},
    )  # fmt: skip
    assert changed_since(before, now, ["du_vae"]) == {"model.du_vae.lr": [1.0, 2.0], "seed": [0, 7]}
    assert changed_since(before, config(), ["du_vae", "mm_gan"]) == {}
    averaged = config(callbacks={"ema": {"du_vae": 0.9, "mm_gan": None}})
    assert changed_since(before, averaged, ["du_vae"]) == {"callbacks.ema.du_vae": [None, 0.9]}
    assert changed_since(before, averaged, ["mm_gan"]) == {}


def test_what_wandb_agents_call_a_program_with(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("hydra._internal.utils._run_hydra", lambda args, *_: given.append(args.overrides))
    done = called("train", "--model.du_vae.optimizer.lr=0.01", "--stages=[du_vae]", "--config-name=train")
    assert done.returncode == 0 and given == [["model.du_vae.optimizer.lr=0.01", "stages=[du_vae]"]]
    wrong = called("train", "--model.du_vae.lr=0.01")
    assert wrong.returncode == 2 and "model.du_vae.optimizer.lr" in wrong.stderr
