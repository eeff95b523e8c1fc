"""Optuna sweeps: the search space, which worker draws which trial, its outcome, and pruning. Nothing is trained."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from d2m.bundle.passport import Begun, now, state
from d2m.bundle.run_folder import RunFolder
from d2m.cli import sweepers
from d2m.cli.optuna_trials import Trials
from d2m.cli.search_space import split, words
from d2m.cli.trial_outcomes import judged_by, outcome
from d2m.core.errors import D2MError, Pruned
from d2m.core.files import write_json
from d2m.reports.runs.sweep import Trial
from d2m.train.callbacks.prune import Prune, SweepTrial
from d2m.train.study import JOURNAL, SeededByTrial, has_failed, importances, open_study, tell_failed
from tests.commands import called

LR = "model.du_vae.optimizer.lr"
SPACE = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "width": CategoricalDistribution(["a", "b"])}


def parsed(*overrides: str) -> Any:
    return split(OverridesParser.create().parse_overrides(list(overrides)))


def test_hydras_sweep_syntax_is_the_search_space() -> None:
    fixed, space = parsed(
        "a=tag(log,interval(1e-5,1e-2))", "b=interval(0,8)", "c=int(interval(1,8))", "d=range(1,8,2)",
        "e=range(0,1,0.25)", "f=x,y", "g=choice(1e-3,'x y')", "h=3", "i=1,2", "i=[1,2]",
    )  # fmt: skip
    assert fixed == {"h": "3", "i": "[1,2]"}  # the last of a key counts
    assert space == {
        "a": FloatDistribution(1e-5, 1e-2, log=True), "b": FloatDistribution(0, 8), "c": IntDistribution(1, 8),
        "d": IntDistribution(1, 7, step=2), "e": FloatDistribution(0, 0.75, step=0.25),
        "f": CategoricalDistribution(["x", "y"]), "g": CategoricalDistribution(["0.001", "x\\ y"]),
    }  # fmt: skip
    assert words({"lr": 0.00123456789, "n": 3, "c": "x"}) == {"lr": "0.00123457", "n": "3", "c": "x"}


@pytest.mark.parametrize("wrong", ["lr=tag(log,interval(0,1))", "lr=interval(2,1)", "lr=range(5,1)"])
def test_a_range_of_nothing_is_one_line(wrong: str) -> None:
    with pytest.raises(D2MError, match=r"^lr=.*; give interval\(low,high\)") as told:
        parsed(wrong)
    assert "\n" not in str(told.value)


def trials(folder: Path, n: int, seed: int = 0, **fixed: str) -> Any:
    """The context of a worker, and the worker."""
    worker = Trials(folder, {"size": "tiny", **fixed}, SPACE, "minimize", n)

    def sampler(seed: int) -> Any:
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)

    return worker, worker.open(sampler, seed, lambda: None)


def drawn(folder: Path, n: int, seed: int = 0) -> list[dict[str, str]]:
    worker, opened = trials(folder, n, seed)
    out = []
    with opened:
        while taken := worker.take(1):
            for number, overrides in taken.items():
                worker.tell(Trial(str(number), folder, {}, "done", float(overrides["lr"])))
                out.append(overrides)
    return out


def test_no_worker_and_no_session_draws_what_another_drew(tmp_path: Path) -> None:
    whole = drawn(tmp_path / "whole", 8)
    assert drawn(tmp_path / "parts", 3) + drawn(tmp_path / "parts", 8) == whole  # seeded, and resumed
    assert len({w["lr"] for w in whole}) == 8 and all(w["size"] == "tiny" for w in whole)
    assert drawn(tmp_path / "other", 3, seed=1) != whole[:3]
    (first, opened), (second, opened_too) = trials(tmp_path / "two", 6), trials(tmp_path / "two", 6)
    with opened, opened_too:
        taken = [first.take(2), second.take(2), first.take(9)]
        assert [list(t) for t in taken] == [[0, 1], [2, 3], [4, 5]] and second.take(1) == {}
        assert len({o["lr"] for t in taken for o in t.values()}) == 6


@pytest.mark.parametrize(("by_chance", "fewest", "most"), [(False, 0, 8), (True, 9, 20)])
def test_values_that_fail_are_not_drawn_again_and_again(
    by_chance: bool, fewest: int, most: int, tmp_path: Path
) -> None:
    """The best rate lies beside those that fail, as it does for networks. What fails by chance teaches nothing."""
    worker, opened = trials(tmp_path, 25)
    failed = []
    with opened:
        while taken := worker.take(1):
            ((number, overrides),) = taken.items()
            lr = float(overrides["lr"])
            failed.append(lr > 1e-3 or overrides["width"] == "b")
            told = {"state": "failed", "by_chance": by_chance} if failed[-1] else {"state": "done", "value": -lr}
            worker.tell(Trial(str(number), tmp_path, {}, **told))
        assert [t.state == "failed" for t in worker.so_far()] == failed and len(failed) == 25
    assert fewest <= sum(failed[10:]) <= most, failed


def test_trials_that_have_all_failed_draw_nobody_near() -> None:
    """The last two draws are the random sampler's too, although ten trials have been told."""
    drawn = []
    for sampler in (optuna.samplers.TPESampler, optuna.samplers.RandomSampler):
        study = optuna.create_study(sampler=SeededByTrial(lambda seed, kind=sampler: kind(seed=seed), 0))
        for _ in range(12):
            tell_failed(study, study.ask(SPACE).number, teaches=True)
        drawn.append([t.params for t in study.get_trials()])
        assert all(has_failed(t) for t in study.get_trials())
    assert drawn[0] == drawn[1]


def test_an_abandoned_trial_is_gone_on_with_and_fails_at_last(tmp_path: Path) -> None:
    first, opened = trials(tmp_path, 2)
    with opened:
        left = first.take(1)
        second, opened_too = trials(tmp_path, 2)
        with opened_too:
            assert list(second.take(2)) == [1]  # the other is the first worker's, who lives
            second.tell(Trial("1", tmp_path / "1", {}, "done", 1.0))
    for _ in range(2):
        worker, opened = trials(tmp_path, 2)
        with opened, RunFolder(tmp_path / "0").lock():
            assert worker.take(1) == {}  # somebody trains there still
        with trials(tmp_path, 2)[1]:
            pass
        worker, opened = trials(tmp_path, 2)
        with opened:
            assert worker.take(1) == left
    worker, opened = trials(tmp_path, 2)
    with opened:
        assert worker.take(1) == {}
        (lost,) = (t for t in worker.so_far() if t.state == "failed")
    assert lost.name == "0" and lost.error == "its process ended without a word, 3 times"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    drawn(tmp_path / "sweep", 1)
    worker, opened = trials(tmp_path / "sweep", 2, logger="none")
    with opened:
        assert list(worker.take(1)) == [1]  # how it is logged makes no other sweep
    for other, named in ((trials(tmp_path / "sweep", 2, seed_="1"), "seed_=1"), (trials(tmp_path, 2), "no study")):
        with pytest.raises(D2MError, match=rf"{named}.*choose another hydra\.sweep\.dir"), other[1]:
            pass  # pragma: no cover
        write_json(RunFolder(tmp_path / "run").facts_path, {})


OUTCOMES: dict[int, Any] = {
    0: D2MError("lr: too high"), 1: float("nan"), 2: OSError(errno.ENOSPC, "No space left", "/full"),
    3: Pruned("val/recon 9 after epoch 1"), 4: 2.0, 5: 1.0,
}  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[DictConfig]]:
    """Trials that end as OUTCOMES says instead of training; the configs they were given."""
    seen: list[DictConfig] = []

    def train(cfg: DictConfig, folder: RunFolder, overrides: list[str], new: Begun | None) -> float | None:
        number = len(seen)
        seen.append(cfg)
        assert folder.path.name == str(number)
        assert new is not None and folder.in_use() and folder.facts()["stage"] == "start"
        with new.take_over():
            if isinstance(OUTCOMES[number], Exception):
                raise OUTCOMES[number]
        write_json(folder.done_path("du_vae"), {"metrics": {"val/recon": OUTCOMES[number]}, "seconds": 1})
        return OUTCOMES[number]  # type: ignore[no-any-return]

    monkeypatch.setattr("d2m.cli.train._train", train)
    yield seen


def test_no_trial_that_fails_ends_a_sweep(
    fake: list[DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    asked = ["hparams_search=optuna", f"{LR}=tag(log,interval(1e-5,1e-2))", f"hydra.sweep.dir={tmp_path}"]
    done = called("train", *asked, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=3")
    assert done.returncode == 1 and len(fake) == 5
    lines = done.stdout.splitlines()
    assert "trial 0 failed: lr: too high" in lines and "trial 3 pruned: val/recon 9 after epoch 1" in lines
    assert any(line.startswith("trial 1 failed: its objective was never measured") for line in lines)
    assert "trial 2 failed: /full: No space left; free space or choose another folder" in lines
    assert any(line.startswith(f"best: {tmp_path / '4'}, du_vae/val/recon 2 ({LR}=") for line in lines)
    assert state(RunFolder(tmp_path / "3")) == "pruned" and not (tmp_path / "parallel.png").exists()
    more = called("train", *asked, "hydra.sweeper.n_trials=6")
    assert more.returncode == 0 and len(fake) == 6  # none of its own failed, and no value was taken for another's
    told = json.loads((tmp_path / "sweep.json").read_text())
    assert [t["state"] for t in told["trials"]] == ["failed", "failed", "failed", "pruned", "done", "done"]
    states = [t.state for t in open_study(tmp_path).get_trials()]
    assert [s.name for s in states[:4]] == ["PRUNED", "PRUNED", "FAIL", "PRUNED"]  # a full disk teaches nothing
    assert told["best"] == "5" and told["objective"] == "du_vae/val/recon" and told["mode"] == "min"
    drawn_now = [{LR: f"{cfg.model.du_vae.optimizer.lr:.6g}"} for cfg in fake]
    assert [t["params"] for t in told["trials"]] == drawn_now and len({p[LR] for p in drawn_now}) == 6
    assert (tmp_path / "parallel.png").is_file()


def test_a_sweep_that_was_interrupted_goes_on_with_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def train(cfg: DictConfig, folder: RunFolder, overrides: list[str], new: Begun | None) -> float:
        seen.append(cfg.model.du_vae.optimizer.lr)
        assert folder.path.name == "0"
        if len(seen) == 1:
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr("d2m.cli.train._train", train)
    asked = ["hparams_search=optuna", f"{LR}=interval(0,1)", "hydra.sweeper.n_trials=1", f"hydra.sweep.dir={tmp_path}"]
    cut = called("train", *asked)
    assert cut.returncode == 130
    assert f"the same command with hydra.sweep.dir={tmp_path} goes on with the sweep" in cut.stderr.splitlines()
    assert called("train", *asked).returncode == 0 and len(seen) == 2 and seen[0] == seen[1]


def test_no_worker_overwrites_a_newer_summary(
    fake: list[DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[str]] = []

    def finish(folder: Path, config: DictConfig, trials: list[Trial], out: bool = True) -> None:
        with pytest.raises(Timeout), FileLock(folder / ".choice.lock", timeout=0):
            pass
        written.append([t.state for t in trials])

    monkeypatch.setattr(sweepers, "finish", finish)
    called("train", "hparams_search=optuna", f"{LR}=interval(0,1)", "hydra.sweeper.n_trials=1",
           f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert written == [["failed"]] * 2


def test_a_trial_that_another_process_trains_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(cfg: DictConfig, folder: RunFolder, overrides: list[str], new: Begun | None) -> float:
        raise folder.busy()

    monkeypatch.setattr("d2m.cli.train._train", train)
    words = ["hparams_search=optuna", f"{LR}=interval(0,1)", "hydra.sweeper.n_trials=1", f"hydra.sweep.dir={tmp_path}"]
    assert called("train", *words).returncode == 0
    assert [t.state for t in open_study(tmp_path).get_trials()] == [TrialState.RUNNING]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hydra.sweeper.n_trials=0"], r"hydra\.sweeper\.n_trials=0: give a whole number of at least 1"),
        (["hydra.sweeper.default_params=null"], "nothing to sweep: give KEY=interval"),
        (["stages=[nope]"], r"stages=\['nope'\]: choose from du_vae"),
        (["objective=eval/objective"], r"stages=\[du_vae\] does not make: train mm_gan or generator too, as in "),
    ],
)
def test_a_wrong_sweep_is_one_line(words: list[str], line: str, fake: list[DictConfig], tmp_path: Path) -> None:
    done = called("train", "hparams_search=optuna", f"hydra.sweep.dir={tmp_path / 'sweep'}", *words)
    assert done.returncode == 2 and not fake and not (tmp_path / "sweep").exists()
    (told,) = done.stderr.splitlines()
    assert told.startswith("error: ")
    assert re.search(line, told)


def test_the_direction_is_the_objectives() -> None:
    for stages, objective, judged in (
        (["mm_gan", "du_vae"], None, ("mm_gan/val/recon", "min")),  # in the order of training
        (["music_style"], None, ("music_style/val/accuracy", "max")),
        (["generator"], "eval/objective", ("eval/objective", "max")),
    ):
        assert judged_by(OmegaConf.create({"stages": stages, "objective": objective})) == judged


def test_a_hopeless_trial_is_given_up_but_not_at_its_end(tmp_path: Path) -> None:
    study = open_study(tmp_path, "minimize")
    for value in (1.0, 2.0, 3.0):
        trial = study.ask()
        trial.report(value, step=2)
        study.tell(trial, value)
    study.ask()
    callback = Prune(SweepTrial(tmp_path, 3, optuna.pruners.MedianPruner(n_startup_trials=3)), "val/recon")

    def validated(value: float, epoch: int, **others: Any) -> None:
        metrics = {"val/recon": value}
        facts = {"sanity_checking": False, "fast_dev_run": False, "current_epoch": epoch - 1, "max_epochs": 3}
        trainer: Any = SimpleNamespace(callback_metrics=metrics, **{**facts, **others})
        callback.on_validation_end(trainer, None)  # type: ignore[arg-type]

    validated(9.0, 2, sanity_checking=True)
    validated(9.0, 1)  # nobody was there before
    validated(9.0, 2, max_epochs=2)  # its end
    with pytest.raises(Pruned, match=r"val/recon 9 after epoch 2: earlier trials were better by then"):
        validated(9.0, 2)
    assert open_study(tmp_path).get_trials()[3].intermediate_values == {1: 9.0, 2: 9.0}
    open_study(tmp_path).tell(3, state=TrialState.PRUNED)
    validated(9.0, 2)  # resumed by hand: the study has its answer


def test_a_trial_that_the_launcher_lost_is_told_by_its_folder(tmp_path: Path) -> None:
    for name, facts in (("0", {"state": "done"}), ("1", {"state": "failed", "error": "why"}), ("2", {})):
        write_json(RunFolder(tmp_path / name).facts_path, {"stages": ["du_vae"], **facts})
    write_json(RunFolder(tmp_path / "0").done_path("du_vae"), {"metrics": {"val/recon": 0.5}})
    ends = [outcome(n, RunFolder(tmp_path / n), {}, None) for n in "0123"]
    assert [e.state for e in ends] == ["done", "failed", "failed", "failed"] and ends[0].value == 0.5
    assert [e.error for e in ends[1:]] == ["why", *["its process ended without a word"] * 2]


@pytest.mark.parametrize(
    ("state", "job", "waits", "ended"),
    [("running", "", 1, "done"), ("requeued", "PENDING", 1, "done"), ("requeued", "CANCELLED", 0, "failed")],
)
def test_of_a_lost_trial_the_others_are_waited_for(
    state: str, job: str, waits: int, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [RunFolder(tmp_path / n) for n in "01"]
    monkeypatch.setattr("d2m.train.requeue._scontrol", lambda *words: f"JobId={words[-1]} JobState={job} Reason=None")

    def launch(batch: Any, initial_job_idx: int) -> Any:
        write_json(runs[1].facts_path, {"state": state, "heartbeat": now(), "stages": ["du_vae"], "slurm_job": "7_1"})
        raise RuntimeError("job 1 is gone")

    looked: list[float] = []

    def wait(seconds: float) -> None:
        looked.append(seconds)
        write_json(runs[1].facts_path, {"state": "done", "stages": ["du_vae"]})

    monkeypatch.setattr("d2m.cli.sweepers.time", SimpleNamespace(sleep=wait))
    returns = sweepers.launch(SimpleNamespace(launch=launch), [["seed=0"], ["seed=1"]], 0, runs)
    assert [outcome(r.path.name, r, {}, got).state for r, got in zip(runs, returns, strict=True)] == ["failed", ended]
    assert len(looked) == waits


def test_half_a_line_in_the_journal_does_not_end_the_study(tmp_path: Path) -> None:
    study = open_study(tmp_path, "minimize")
    study.tell(study.ask(), 1.0)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])  # the disk was full, or the power failed
    assert [t.state for t in open_study(tmp_path).get_trials()] == [TrialState.RUNNING]
    open_study(tmp_path).tell(0, 1.0)
    study.tell(study.ask(), 2.0)  # another worker's
    assert [t.value for t in open_study(tmp_path).get_trials()] == [1.0, 2.0]


def test_what_matters_is_found() -> None:
    rows = [({"lr": str(lr), "unused": str(lr % 3), "same": "x"}, float(lr)) for lr in range(1, 13)]
    shares = importances(rows)
    assert list(shares) == ["lr", "unused"] and shares["lr"] > 0.8 and sum(shares.values()) == pytest.approx(1)
    assert importances(rows[:3]) == {} and importances([(p, 1.0) for p, _ in rows]) == {}
