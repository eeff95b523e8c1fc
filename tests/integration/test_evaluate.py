"""``d2m evaluate`` on a tiny run: rows, floors, resuming, comparisons, refusals."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from d2m.bundle.run_folder import RunFolder
from d2m.cli.main import dispatch
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.data.corpus import Corpus
from d2m.metrics.cards import FOLDER
from d2m.reports import judges
from d2m.reports.evaluate import run as evaluation
from d2m.reports.evaluate import systems
from d2m.reports.evaluate.run import Request, bundle_names, chosen_songs, corpus_of, evaluate
from d2m.reports.evaluate.show import print_comparison


@pytest.fixture(scope="module", autouse=True)
def short_training() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "STEPS", 60)
        yield


@pytest.fixture(scope="module")
def quick_card(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Card d2m with few draws of everything."""
    text = (FOLDER / "d2m.yaml").read_text()
    for pin, number in (
        ("halves: 50", "halves: 5"),
        ("shifts: 200", "shifts: 20"),
        ("bootstrap: 500", "bootstrap: 20"),
    ):
        assert pin in text
        text = text.replace(pin, number)
    path = tmp_path_factory.mktemp("card") / "quick.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def request_of(tiny_run: Path, quick_card: str, tmp_path_factory: pytest.TempPathFactory) -> Request:
    out = tmp_path_factory.mktemp("evaluation")
    return Request((RunFolder(tiny_run).bundle,), out, cards=(quick_card,), songs_per_genre=1, draws=2)


@pytest.fixture(scope="module")
def report(request_of: Request) -> dict[str, Any]:
    return evaluate(request_of).report


def name_of(request: Request) -> str:
    return bundle_names(request.bundles)[0]


def test_every_system_is_a_row_and_the_truth_lies_on_its_floor(report: dict[str, Any], request_of: Request) -> None:
    rows = report["cards"]["d2m"]["rows"]
    assert set(rows) == {
        "real", name_of(request_of), "mean pose", "shuffled real units", "retrieval by style", "real, same genre",
        "real, other genre", f"{name_of(request_of)}, real z_dan",
    }  # fmt: skip
    assert all(figure["n"] > 0 or figure["note"] for row in rows.values() for figure in row.values())
    real, still = rows["real"], rows["mean pose"]
    assert real["fid"]["value"] == real["fid_floor"]["value"] < still["fid"]["value"]
    assert real["energy_ratio"]["value"] == pytest.approx(1) and still["energy_ratio"]["value"] == 0
    assert still["diversity"]["value"] == 0 and still["frozen_share"]["value"] == 1
    # Units on the music's beats against dances to other songs.
    assert rows["retrieval by style"]["beat_hit"]["value"] > rows["real, same genre"]["beat_hit"]["value"]
    assert (
        rows["shuffled real units"]["boundary_jump"]["value"] > 2 * rows["retrieval by style"]["boundary_jump"]["value"]
    )
    assert real["judged_network"]["chance"] == pytest.approx(1 / 3)
    for judge in ("network", "features"):
        assert real[f"judged_{judge}"]["value"] > rows["real, other genre"][f"judged_{judge}"]["value"]


def test_what_is_written_says_what_it_is(report: dict[str, Any], request_of: Request) -> None:
    written = json.loads((request_of.out / "report.json").read_text())
    assert written["cards"]["d2m"]["pins"]["fps"] == 15
    assert written["bundles"][name_of(request_of)]["corpus"] == written["corpus"]
    assert len(written["songs"]) == len(set(written["songs"])) == 3
    assert set(written["genres"]["real"]) == {"drive", "flow", "groove"}
    assert (request_of.out / "d2m.png").stat().st_size > 10_000


def test_it_resumes(report: dict[str, Any], request_of: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("danced or trained again")

    # A cut file is danced again, alone: it is no dance of the networks.
    song = next((request_of.out / "dances" / "real").glob("*.npz"))
    whole = song.read_bytes()
    song.write_bytes(whole[:100])
    with monkeypatch.context() as patch:
        patch.setattr(systems, "dance_all", fail)
        patch.setattr(judges, "_train", fail)
        again = evaluate(request_of).report
    assert json.loads(json.dumps({**again, "seconds": 0})) == json.loads(json.dumps({**report, "seconds": 0}))
    assert len(song.read_bytes()) == len(whole)


def test_a_bundle_against_its_copy_differs_by_nothing(request_of: Request, tmp_path: Path) -> None:
    run = RunFolder(request_of.bundles[0].parent)
    copy = tmp_path / "copy" / "bundle"
    shutil.copytree(run.bundle, copy)
    two = Request(
        (run.bundle, copy), tmp_path / "out", cards=request_of.cards, songs_per_genre=1, draws=1, baselines=False
    )
    report = evaluate(two).report
    (pair,) = report["paired"].values()
    assert pair["judged_network"]["difference"] == 0 and pair["judged_network"]["p"] == 1
    assert pair["energy_ratio"]["n_songs"] == 3
    print_comparison(report, Console(file=(shown := StringIO()), width=200))
    objective, title, *table = shown.getvalue().splitlines()
    assert all(name in objective for name in report["bundles"]) and "the same 3 songs" in title
    assert any("energy_ratio" in line for line in table) and any("0 [0, 0], p 1" in line for line in table)


def test_songs_that_a_bundle_was_trained_on_are_left_out(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = Corpus.open(RunFolder(tiny_run).corpus())
    songs = chosen_songs(corpus, ("val", "test"), None)
    gone = corpus.recordings[songs[0]].name
    assert chosen_songs(corpus, ("val", "test"), None, {gone}) == songs[1:]
    assert "1 of these songs" in capsys.readouterr().out
    with pytest.raises(D2MError, match="two are needed"):
        chosen_songs(corpus, ("val", "test"), None, {corpus.recordings[i].name for i in songs})


def test_a_corpus_that_changed_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    run = RunFolder(tiny_run)
    shutil.copytree(run.bundle, tmp_path / "bundle")
    other = tmp_path / "corpus"
    shutil.copytree(run.corpus(), other)
    index = json.loads((other / "index.json").read_text())
    write_json(other / "index.json", {**index, "inputs": "0" * 64})
    write_json(tmp_path / "run.json", {"corpus": str(other)})
    with pytest.raises(D2MError, match=f"has changed since .*give data={other}"):
        corpus_of(tmp_path / "bundle", None)
    assert corpus_of(tmp_path / "bundle", other).folder == other


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bundle=[{b},{b}]"], "the same bundle twice"),
        (["bundle={b}", "card=fid"], "no card 'fid'; choose from"),
        (["bundle={b}", "draws=0"], "draws=0: give a whole number of at least 1"),
        (["bundle={b}", "splits=[held]"], "splits=held: choose from"),
        (["bundle={b}", "data=nowhere"], "nowhere: not a prepared corpus"),
        (["bundle=[]"], "give bundle="),
        (["bundle={b}", "logger=csv"], "logger=csv: choose none or wandb"),
        (["bundle={b}", "style_mode=loud"], "loud"),
    ],
)
def test_wrong_requests_are_one_line_and_write_nothing(
    words: list[str], message: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [w.format(b=RunFolder(tiny_run).bundle) for w in words]
    with pytest.raises(SystemExit) as ended:
        dispatch(["evaluate", *given, f"out={tmp_path / 'out'}"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_summary_keys_of_wandb(report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from d2m.train.callbacks import artifacts

    logged: dict[str, float] = {}

    class Logger:
        def log_metrics(self, metrics: dict[str, float]) -> None:
            logged.update(metrics)

    monkeypatch.setattr(artifacts, "wandb_logger", lambda *a: Logger())
    monkeypatch.setattr(artifacts, "close_loggers", lambda *a: None)
    artifacts.log_evaluation(report, tmp_path)
    rows = report["cards"]["d2m"]["rows"]
    (name,) = report["bundles"]
    assert logged["eval/d2m/fid"] == rows[name]["fid"]["value"]
    assert logged["eval/d2m/real/fid"] == rows["real"]["fid"]["value"]
    assert all(np.isfinite(v) for v in logged.values())


def test_every_window_of_a_dance_is_judged() -> None:
    poses = np.arange(64 * 28, dtype=np.float32).reshape(64, 14, 2)
    windows = judges.dance_windows(poses)
    assert windows.shape == (3, 32, 28) and (windows[1] == poses[16:48].reshape(32, 28)).all()
    with pytest.raises(D2MError, match="31 frames"):
        judges.dance_windows(poses[:31])
    assert evaluation.bundle_names([Path("/a/run/bundle"), Path("/b/run/bundle")]) == ["a/run", "b/run"]
    assert evaluation.bundle_names([Path("/sweeps/lr/2/bundle")]) == ["lr/2"]  # a number alone names no system
