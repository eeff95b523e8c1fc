"""d2m runs: how runs on disk are described, selected and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.reports.runs.choose import Runs
from d2m.reports.runs.compare import differences
from d2m.reports.runs.read import differing, find_run, read_runs
from tests.commands import d2m

MONITORS = {"du_vae": ("val/recon", "min"), "music_style": ("val/accuracy", "max")}


def trained(
    path: Path, recon: float | None, seconds: float = 60.0, state: str = "done", lr: float = 0.1, **facts: Any
) -> RunFolder:
    """A run of du_vae in a state; recon: its last val/recon."""
    run = RunFolder(path)
    words = ["experiment=x", f"model.du_vae.lr={lr}", f"data.cache='{path}'", f"hydra.job.num={path.name}"]
    told = {"state": state, "stages": ["du_vae"], "overrides": words, "started": f"2025-01-01T00:00:0{path.name[-1]}"}
    write_json(run.facts_path, {**told, **facts})
    write_json(run.config_path, {"seed": 0, "model": {"du_vae": {"lr": lr}}, "data": {"cache": str(path)}})
    if recon is not None:
        write = run.done_path if state == "done" else run.progress_path
        write_json(write("du_vae"), {"metrics": {"val/recon": recon, "train/loss": 2.0}, "seconds": seconds})
    if state == "done":
        write_json(run.metrics_path, {})
    return run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two runs of their own and a sweep of four."""
    sweep = tmp_path / "sweeps" / "monday"
    for i, recon in enumerate((0.4, 0.2, 0.3)):
        trained(sweep / str(i), recon, lr=10.0**-i, seconds=60 * i)
    trained(sweep / "3", 0.1, state="failed", lr=9.0, error="train/loss became NaN [at] epoch 2", stage="du_vae")
    (sweep / "multirun.yaml").touch()
    trained(tmp_path / "runs" / "a1", 0.9, signature="abcdef0123456789", versions={"torch": "2.6"})
    trained(tmp_path / "runs" / "b2", None, state="killed", lr=0.2, stage="corpus", versions={"torch": "2.7"})
    return tmp_path


def test_a_table_of_runs_and_one_per_sweep(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no cell is broken
    d2m("runs", "ls", f"folder={outputs}")
    out = capsys.readouterr().out
    own, sweep = out.split("sweeps/monday: 3 done, 1 failed")
    assert "runs: 1 done, 1 killed" in own and "du_vae/val/recon" in own
    (b,) = [line for line in own.splitlines() if "runs/b2" in line]
    assert b.split() == ["runs/b2", "killed", "corpus", "model.du_vae.lr=0.2", "–", "0:00:00"]
    (last,) = [line for line in sweep.splitlines() if line.split()[:1] == ["3"]]
    assert last.split()[:4] == ["3", "failed", "du_vae", "1/1"]  # the first of one, not none of one
    (first,) = [line for line in sweep.splitlines() if line.split()[:1] == ["0"]]
    assert first.split() == ["0", "done", "model.du_vae.lr=1.0", "0.4", "0:00:00"]
    assert "sweeps/monday/3: failed: train/loss became NaN [at] epoch 2\n" in sweep
    assert "experiment=x" not in out and "data.cache" not in out and "job.num" not in out


def test_a_job_that_is_queued_again_goes_on_by_itself(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(outputs / "runs" / "c 3", 0.5, state="requeued", slurm_job="7")
    capsys.readouterr()
    d2m("runs", "show", f"run={run.path}")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"job 7 goes on with it; if that was cancelled: d2m train resume='{run.path}'"


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    d2m(*words, "--json")
    return json.loads(capsys.readouterr().out)


def names(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    return [row["name"].rpartition("/")[2] for row in told(capsys, "runs", *words)]


def test_filter_and_sort(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"folder={outputs}"
    assert names(capsys, "ls", folder) == ["0", "a1", "1", "b2", "2", "3"]  # as they were started
    assert names(capsys, "ls", folder, "filter=state=done", "sort=objective") == ["1", "2", "0", "a1"]
    assert names(capsys, "ls", folder, "filter=sweep=*mon*", "sort=-model.du_vae.lr") == ["3", "0", "1", "2"]
    assert names(capsys, "ls", folder, "filter=[model.du_vae.lr<=0.1,val/recon!=0.9]", "sort=-time") == ["2", "1"]
    assert names(capsys, "ls", folder, "filter=[signature=abc*]") == ["a1"]
    assert names(capsys, "ls", folder, "filter=objective=null") == ["b2"]
    runs = Runs(read_runs(outputs), MONITORS)
    with pytest.raises(D2MError, match=r"filter=lr: no run has this; did you mean .*model\.du_vae\.lr"):
        runs.where(["lr=1"])
    for wrong in ("state==done", "val/recon<<3", "val/recon=>3"):
        with pytest.raises(D2MError, match=f"filter={wrong}: write KEY=VALUE"):
            d2m("runs", "ls", folder, f"filter={wrong}")
    with pytest.raises(D2MError, match="filter=state=dnoe: no such state; choose from running, done"):
        d2m("runs", "ls", folder, "filter=state=dnoe")
    with pytest.raises(D2MError, match="filter=seed: write KEY=VALUE"):
        runs.where(["seed"])
    with pytest.raises(D2MError, match=r"sort=vall/recon: no run has this; did you mean val/recon"):
        runs.by("-vall/recon")
    with pytest.raises(D2MError, match=r"nowhere: no such folder; give folder=FOLDER"):
        d2m("runs", "ls", "folder=nowhere")


def test_nothing_to_list_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    d2m("runs", "ls", f"folder={tmp_path}", "filter=state=done")
    assert capsys.readouterr().out == f"no runs below {tmp_path} that meet the filter\n"
    assert told(capsys, "runs", "ls", f"folder={tmp_path}") == []


def test_what_json_says_of_a_run(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(capsys, "runs", "ls", f"folder={outputs}", "metric=train/loss", "filter=sweep=*monday")
    assert rows[0]["differs"] == ["model.du_vae.lr=1.0"] and rows[0]["metric"] == 2.0
    assert rows[0]["objective"] == {"key": "du_vae/val/recon", "value": 0.4, "mode": "min"}
    assert rows[0]["path"] == str(outputs / "sweeps" / "monday" / "0") and rows[0]["bundle"] is None
    assert rows[3]["state"] == "failed" and rows[3]["error"].startswith("train/loss became NaN")


def test_the_best_is_finished_and_is_judged_by_one_metric(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"folder={outputs}"
    assert names(capsys, "best", folder) == ["1"]  # the failed one had less
    assert names(capsys, "best", folder, "mode=max", "n=2") == ["a1", "0"]
    assert names(capsys, "best", folder, "metric=du_vae/val/recon", "filter=name!=*/1") == ["2"]
    d2m("runs", "best", folder)
    out = capsys.readouterr().out
    assert out.startswith("du_vae/val/recon 0.2, the lowest of 4\n") and "sweeps/monday/1" in out
    runs = Runs(read_runs(outputs), MONITORS)
    with pytest.raises(D2MError, match="metric=train/loss: give mode=min or mode=max"):
        runs.best("train/loss", None)
    with pytest.raises(D2MError, match="metric=val/x: no run has this; "):
        runs.best("val/x", "min")
    with pytest.raises(D2MError, match="mode=least: choose min or max"):
        d2m("runs", "best", folder, "mode=least")
    other = trained(outputs / "runs" / "c3", None)
    write_json(other.facts_path, {"state": "done", "stages": ["music_style"]})
    write_json(other.done_path("music_style"), {"metrics": {"val/accuracy": 0.5}})
    with pytest.raises(D2MError, match=r"different objectives \(du_vae/val/recon, music_style/val/accuracy\)"):
        d2m("runs", "best", folder)
    assert names(capsys, "best", folder, "metric=val/accuracy") == ["c3"]


def test_an_objective_of_the_bundles_dances(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("0", 0.7), ("1", 0.0)):
        run = RunFolder(outputs / "sweeps" / "monday" / name)
        write_json(run.config_path, {"objective": "eval/objective"})
        write_json(run.evaluation / "report.json", {"objective": {"bundle": value}})
    (best,) = told(capsys, "runs", "best", f"folder={outputs}", "filter=name=*/monday/[01]")
    assert best["name"].endswith("/0") and best["objective"] == {"key": "eval/objective", "value": 0.7, "mode": "max"}
    (worst,) = told(capsys, "runs", "ls", f"folder={outputs}", "filter=name=*/monday/1")
    assert worst["objective"]["value"] == 0.0


def test_one_run_with_its_stages_its_curve_and_how_to_go_on(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(outputs / "sweeps" / "monday" / "3")
    folder = run.path / "csv" / "du_vae"
    folder.mkdir(parents=True)
    (folder / "metrics.1.csv").write_text("batch,train/loss,val/recon\n1,3,\n2,,0.05\n9,,0.5\n")
    (folder / "metrics.csv").write_text("batch,val/recon\n9,0.2\n12,0.1\n")  # resumed from batch 2
    d2m("runs", "show", "run=monday/3", f"folder={outputs}")
    out = capsys.readouterr().out
    (stage,) = [line for line in out.splitlines() if line.split()[:1] == ["du_vae"]]
    assert stage.split() == ["du_vae", "no", "val/recon", "0.1", "0.05", "2"]
    assert "NaN [at] epoch 2" in out and f"to go on: d2m train resume={run.path}" in out
    row = told(capsys, "runs", "show", f"run={run.path}")
    assert row["config"]["model.du_vae.lr"] == 9.0 and row["metrics"]["du_vae"]["val/recon"] == 0.1
    assert row["facts"]["stage"] == "du_vae"
    (whole,) = [r for r in read_runs(outputs) if r.name.endswith("3")]
    assert whole.curve("du_vae", "val/recon") == {2: 0.05, 9: 0.2, 12: 0.1}


def test_a_run_is_meant_by_its_folder_its_name_or_its_signature(outputs: Path) -> None:
    assert find_run("abcdef01", outputs).name == find_run("a1", outputs).name == "runs/a1"
    trained(outputs / "sweeps" / "tuesday" / "0", 0.4)
    with pytest.raises(D2MError, match=r"0: means several runs \(sweeps/monday/0, sweeps/tuesday/0\)"):
        find_run("0", outputs)
    with pytest.raises(D2MError, match=r"mondey/0: no such run .*; did you mean .*sweeps/monday/0\?"):
        find_run("mondey/0", outputs)
    with pytest.raises(D2MError, match=r"sweeps/monday: is a sweep; d2m runs ls folder=.*sweeps/monday shows its runs"):
        find_run("sweeps/monday", outputs)
    with pytest.raises(D2MError, match=r"sweeps/monday/99: no such run .*; the trials of sweeps/monday are 0 to \d$"):
        find_run("sweeps/monday/99", outputs)
    with pytest.raises(D2MError, match=r"checkpoints: is not a run's folder; give .*/runs/a1$"):
        find_run(str(outputs / "runs" / "a1" / "checkpoints"), outputs)
    with pytest.raises(D2MError, match=r"sweeps: is not a run's folder; it holds \d, d2m runs ls folder=.*/sweeps"):
        find_run("sweeps", outputs)
    with pytest.raises(D2MError, match=r"metric=val/recn: no run has this; did you mean val/recon"):
        d2m("runs", "ls", f"folder={outputs}", "metric=val/recn")


def test_two_runs_key_by_key(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "runs", "diff", "a=a1", "b=monday/1", f"folder={outputs}")
    assert found["facts"] == {"signature": ["abcdef0123456789", None], "versions.torch": ["2.6", None]}
    assert set(found["config"]) == {"data.cache"}  # both have lr 0.1
    assert found["metrics"] == {"du_vae/train/loss": [2.0, 2.0], "du_vae/val/recon": [0.9, 0.2]}
    d2m("runs", "diff", "a=a1", "b=monday/1", f"folder={outputs}")
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "val/recon" in x]
    assert line.split() == ["du_vae/val/recon", "0.9", "0.2", "-0.7"]
    d2m("runs", "diff", "a=a1", "b=monday/1", f"folder={outputs}")
    out = capsys.readouterr().out
    assert "du_vae/train/loss" not in out and "1 other metric is the same" in out
    d2m("runs", "diff", "a=a1", "b=a1", f"folder={outputs}")
    assert "metrics: the same" in capsys.readouterr().out
    a, b = (find_run(name, outputs) for name in ("a1", "b2"))
    assert differences(a, b)["facts"]["state"] == ["done", "killed"] and differences(a, b)["metrics"] == {}
    same = differences(a, a)
    assert not same["facts"] and not same["config"] and same["metrics"]["du_vae/val/recon"] == [0.9, 0.9]


def test_runs_of_before_and_broken_ones_are_listed_as_well(outputs: Path) -> None:
    old = trained(outputs / "runs" / "o8", 0.5, state="done")
    write_json(old.facts_path, {"stages": ["du_vae"], "overrides": ["seed=3"]})
    old.config_path.unlink()
    (old.path / ".hydra").mkdir()
    (old.path / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"data": {"root": "${x}"}, "seed": 3}))
    (outputs / "runs" / "bad9").mkdir()
    (outputs / "runs" / "bad9" / "run.json").write_text("{")
    runs = {r.name: r for r in read_runs(outputs)}
    assert runs["runs/o8"].state == "done" and runs["runs/o8"].config == {"data.root": "${x}", "seed": 3}
    bad = runs["runs/bad9"]
    assert bad.state == "unreadable" and "run.json" in bad.facts["error"] and bad.metrics == {} and bad.seconds == 0
    d2m("runs", "ls", f"folder={outputs}")


def test_a_run_alone_differs_in_all_that_it_says(outputs: Path) -> None:
    a = find_run("a1", outputs)
    assert differing([a]) == {"runs/a1": ["experiment=x", "model.du_vae.lr=0.1"]}
    assert differing([]) == {}


def test_looking_at_runs_does_not_wait_for_torch(outputs: Path) -> None:
    look = f"from d2m.cli.main import dispatch; dispatch(['runs', 'ls', 'folder={outputs}'])"
    heavy = "import sys; print([m for m in ('torch', 'scipy', 'matplotlib', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{look}; {heavy}"], capture_output=True, text=True, check=True)
    assert "monday" in done.stdout and done.stdout.splitlines()[-1] == "[]"
