"""run.json: a run's state during training, how it ended, and whether another run did the same training."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from d2m.bundle.passport import Passport, state
from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import finished_twin, runs_below, signature
from d2m.cli.resume import newest_unfinished
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import code_digest

FACTS = {"overrides": ["seed=1"], "stages": ["du_vae"]}
NOBODY = 2**22 + 1  # above Linux's largest process number


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    pytest.fail("nothing happened for five seconds")


def test_it_is_there_from_the_start_and_beats_with_the_metrics_of_the_last_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with Passport(run, FACTS, beat_seconds=0.02) as passport:
        told = run.facts()
        assert told["state"] == "running" == state(run) and told["stage"] == "start" and told["overrides"] == ["seed=1"]
        assert told["pid"] == os.getpid() and told["host"] == platform.node()
        passport.identify({"seed": 1}, "s1", corpus="somewhere")
        assert run.config() == {"seed": 1} and run.corpus() == Path("somewhere") and run.facts()["signature"] == "s1"
        passport.update(stage="du_vae")
        passport.add_wandb("du_vae", "abcd-du_vae")
        write_json(run.progress_path("du_vae"), {"metrics": {"val/recon": 0.5}})
        wait_for(lambda: run.facts().get("metrics") == {"stage": "du_vae", "val/recon": 0.5})
    assert state(run) == "done" and run.facts()["wandb"] == {"du_vae": "abcd-du_vae"}
    assert not list(tmp_path.glob(".*.tmp*"))


def test_the_heartbeat_moves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2020-01-01T00:00:{s:02d}+00:00" for s in range(60))
    monkeypatch.setattr("d2m.bundle.passport.now", lambda: next(times, "2020-01-01T00:01:00+00:00"))
    run = RunFolder(tmp_path)
    with Passport(run, FACTS, beat_seconds=0.01):
        first = run.facts()["heartbeat"]
        wait_for(lambda: run.facts()["heartbeat"] > first)


@pytest.mark.parametrize(
    ("error", "ended", "line"),
    [
        (D2MError("seed=-1: no"), "failed", "seed=-1: no"),
        (RuntimeError("a\nb"), "failed", "RuntimeError: a b"),
        (KeyboardInterrupt(), "killed", "interrupted"),
        (SystemExit(143), "killed", "ended by signal 15"),
    ],
)
def test_how_a_run_ended(tmp_path: Path, error: BaseException, ended: str, line: str) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(type(error)), Passport(run, FACTS):
        raise error
    assert (state(run), run.facts()["error"]) == (ended, line)
    with Passport(run, FACTS):  # resumed
        assert "error" not in run.facts() and run.facts()["resumed"]
    assert state(run) == "done"


def test_the_error_of_use_behind_a_libraries_error_counts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(RuntimeError), Passport(run, FACTS):
        try:
            raise D2MError("data.root: gone")
        except D2MError as e:
            raise RuntimeError("in the trainer") from e
    assert run.facts()["error"] == "data.root: gone"


def test_a_refused_command_leaves_what_the_run_says_of_itself(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with Passport(run, FACTS) as passport:
        passport.identify({"seed": 1}, "s1")
    before = run.facts_path.read_bytes()
    with pytest.raises(D2MError), Passport(run, {**FACTS, "overrides": ["seed=2"]}):
        assert run.facts()["overrides"] == ["seed=1"] and state(run) == "running"
        raise D2MError("model.du_vae: refused")
    assert run.facts_path.read_bytes() == before and run.config() == {"seed": 1}


def test_a_run_of_two_signatures_has_none(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for resumed, expected in (("s1", "s1"), ("s1", "s1"), ("s2", None), ("s1", None)):
        with Passport(run, FACTS) as passport:
            passport.identify({}, resumed)
            write_json(run.progress_path("du_vae"), {})
        assert run.facts()["signature"] == expected


def test_the_other_processes_of_a_job_write_nothing(tmp_path: Path) -> None:
    with Passport(RunFolder(tmp_path), FACTS, writes=False) as passport:
        passport.identify({}, "s1")
        passport.update(stage="du_vae")
    assert not list(tmp_path.iterdir())


def running(run: RunFolder, age_s: float = 0.0, **facts: Any) -> None:
    beat = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    told = {"state": "running", "heartbeat": beat, "host": platform.node(), "pid": os.getpid(), **facts}
    run.facts_path.write_text(json.dumps(told))


def test_a_process_that_is_gone_was_killed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    running(run)
    assert state(run) == "running"
    running(run, pid=NOBODY)
    assert state(run) == "killed"
    running(run, pid=NOBODY, host="another")  # its processes cannot be seen from here
    assert state(run) == "running"
    running(run, age_s=600, host="another")
    assert state(run) == "killed"
    with run.lock():  # stopped for a while, as on a machine that slept
        assert state(run) == "running"


def test_runs_from_before_there_were_states(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.facts_path.write_text('{"overrides": []}')
    assert state(run) == "unfinished"
    with run.lock():
        assert state(run) == "running"
    run.metrics_path.write_text("{}")
    assert state(run) == "done"


def test_resume_auto_takes_the_run_that_began_last_whatever_wrote_to_its_folder_since(tmp_path: Path) -> None:
    for name, started in (("late", "2025-01-01T00:00:02+00:00"), ("early", "2025-01-01T00:00:01+00:00")):
        (tmp_path / name).mkdir()
        running(RunFolder(tmp_path / name), started=started, overrides=["seed=1"])
    os.utime(tmp_path / "late", (0, 0))
    assert newest_unfinished(["seed=1", "rerun=true"], tmp_path) == tmp_path / "late"


# --- signatures ----------------------------------------------------------------------------------------------


def config(**changed: Any) -> dict[str, Any]:
    return {
        "stages": ["du_vae"], "seed": 0, "model": {"du_vae": {"lr": 1.0}, "mm_gan": {"lr": 1.0}}, "fit": {},
        "data": {"root": "a", "shift": [1.0], "corpus": {"out_root": "a"}}, "logger": {"project": "x"},
        "callbacks": {"progress_bar": True, "ema": {"du_vae": 0.9, "mm_gan": None}},
        "init_from": {"mm_gan": None}, **changed,
    }  # fmt: skip


def test_what_changes_no_training_changes_no_signature() -> None:
    same = signature(config(), "c", "p")
    for changed in (
        config(logger=None, resume="auto", rerun=True, objective="eval/objective"),
        config(data={"root": "b", "shift": [1.0], "corpus": {"out_root": "b"}}),
        config(callbacks={"progress_bar": False, "ema": {"du_vae": 0.9, "mm_gan": 0.5}, "latent": {"seconds": 3}}),
        config(model={"du_vae": {"lr": 1.0}, "mm_gan": {"lr": 2.0}}),  # not trained
    ):
        assert signature(changed, "c", "p") == same
    assert config()["data"]["root"] == "a" and len(same) == 16


def test_what_changes_the_training_changes_the_signature(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"a")
    (tmp_path / "b.ckpt").write_bytes(b"b")
    (tmp_path / "again.ckpt").write_bytes(b"a")
    given = [signature(config(init_from={"mm_gan": str(tmp_path / f)}), "c", "p") for f in ("a.ckpt", "b.ckpt")]
    others = [
        signature(config(seed=1), "c", "p"), signature(config(stages=["du_vae", "mm_gan"]), "c", "p"),
        signature(config(model={"du_vae": {"lr": 2.0}}), "c", "p"), signature(config(), "d", "p"),
        signature(config(), "c", "q"), signature(config(callbacks={"ema": {"du_vae": 0.5}}), "c", "p"),
        signature(config(data={"shift": [2.0]}), "c", "p"), *given,
    ]  # fmt: skip
    assert len({signature(config(), "c", "p"), *others}) == len(others) + 1
    assert signature(config(init_from={"mm_gan": str(tmp_path / "again.ckpt")}), "c", "p") == given[0]


def test_the_programs_digest_is_of_its_sources() -> None:
    assert code_digest() == code_digest() and len(code_digest()) == 16


def test_a_twin_is_finished_and_another_run(tmp_path: Path) -> None:
    for name, signed, finished in (
        ("a", "s1", False),
        ("b", "s2", True),
        ("sweep/0", "s1", True),
        ("broken", "", True),
    ):
        run = RunFolder(tmp_path / name)
        write_json(run.facts_path, {"signature": signed})
        if finished:
            run.metrics_path.write_text("{}")
    (tmp_path / "broken" / "run.json").write_text("{")
    assert [r.path.name for r in runs_below(tmp_path)] == ["a", "b", "broken", "0"]
    assert finished_twin(tmp_path, "s1", tmp_path / "new") == tmp_path / "sweep" / "0"
    assert finished_twin(tmp_path, "s2", tmp_path / "b") is None
    assert finished_twin(tmp_path, "s3", tmp_path / "new") is None
