"""The experiments on a tiny bundle: their reports, a self-contained page, user errors as one line."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from d2m.core.skeleton import SAMPLE_RATE
from d2m.data.manifest import read_manifest
from d2m.edits.directions import direction_between, make_direction
from d2m.prepare.run import prepare
from d2m.reports.readings import matched_strength

NAMES = ("genre_structure", "zumba_to_ballet", "joint_space", "music_edits")
QUICK = {
    "genre_structure": ("permutations=19",),
    "zumba_to_ballet": ("dances=1", "controls=2", "videos=1", "seconds=6", "video_seconds=2", "permutations=19"),
    "joint_space": ("permutations=19",),
    "music_edits": ("songs=1", "seconds=6"),
}


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run one in this process, as ``python -m experiments.NAME.run`` would."""

    def call(name: str, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["run.py", *words])
        runpy.run_module(f"experiments.{name}.run", run_name="__main__")

    return call


def read(out: Path) -> dict[str, Any]:
    """report.json; checks the page and that every part with figures has them on disk."""
    page = (out / "index.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "the page needs another file"
    assert "http://" not in page and "https://" not in page
    assert list((out / "figures").glob("*/*.png"))
    assert "NaN" not in (out / "report.json").read_text()
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert report["facts"].keys() >= {"command", "space", "songs", "source", "target", "held_out", "seconds"}
    return report


def test_genre_structure(tiny_run: Path, tmp_path: Path, experiment: Any) -> None:
    experiment("genre_structure", f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", *QUICK["genre_structure"])
    report = read(tmp_path)
    for side in ("music", "dance"):
        assert report[side].keys() >= {"probe", "silhouette", "embedding_silhouettes", "variance"}
        assert report[side]["probe"]["permutations"] == 19
        assert report[side]["songs"] == 6  # one of validation and one of test in each genre
        assert set(report[side]["embedding_silhouettes"]) == {"PCA", "t-SNE", "PCA (5) + t-SNE"}


def test_zumba_to_ballet(tiny_run: Path, tmp_path: Path, experiment: Any) -> None:
    words = (f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", "source=drive", "target=flow")
    experiment("zumba_to_ballet", *words, *QUICK["zumba_to_ballet"])
    report = read(tmp_path)
    for way in ("drive_to_flow", "flow_to_drive"):
        assert [r["dance"] for r in report[way]["readings"]] == ["original", "neutral", "target"]
        assert len(report[way]["energy_per_joint"]["original"]) == 14
        edits = {e["edit"]: e for e in report[f"{way}_edits"]["edits"]}
        assert edits.keys() >= {"mean_shift", "boundary", "erasure"}
        assert edits["mean_shift"]["strength"] == 1
        assert len(report[f"{way}_edits"]["random_changes"]) == 2
        assert report[way]["songs"][0].startswith(way.split("_")[0])
    assert len(list((tmp_path / "videos").glob("*.mp4"))) == 2
    assert (tmp_path / "index.html").read_text().count("data:video/mp4") == 2


def test_joint_space(tiny_run: Path, tmp_path: Path, experiment: Any, capsys: pytest.CaptureFixture[str]) -> None:
    experiment("joint_space", f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", *QUICK["joint_space"])
    held = read(tmp_path)["held_out"]
    assert held["recordings"] == 6
    for way in ("music to dance", "dance to music"):
        assert held["retrieval"][way].keys() >= {"R@1", "R@5", "R@10"}
        assert held["retrieval"][way]["R@1"]["chance"] == pytest.approx(1 / 6)
    assert held.keys() >= {"linear_cka_debiased", "mmd", "direction_cosine"}
    with pytest.raises(SystemExit) as stop:
        experiment("joint_space", f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", f"music={tmp_path}")
    assert stop.value.code == 2
    assert "corpus=DIR" in capsys.readouterr().err


def test_music_edits_on_the_users_songs(tiny_run: Path, tmp_path: Path, experiment: Any) -> None:
    rng = np.random.default_rng(0)
    for genre, beat in (("slow", 0.9), ("fast", 0.4)):
        (tmp_path / "music" / genre).mkdir(parents=True)
        for k in range(3):
            t = np.arange(7 * SAMPLE_RATE) / SAMPLE_RATE
            tone = 0.2 * np.sin(2 * np.pi * (220 + 40 * k) * t)
            hits = 0.5 * rng.normal(size=len(t)) * np.exp(-30 * (t % beat))
            soundfile.write(tmp_path / "music" / genre / f"{k}.wav", (tone + hits).clip(-1, 1), SAMPLE_RATE)
    out = tmp_path / "out"
    words = (f"bundle={tiny_run / 'bundle'}", f"out={out}", f"music={tmp_path / 'music'}", "source=slow")
    experiment("music_edits", *words, *QUICK["music_edits"])
    report = read(out)
    assert report["facts"]["target"] == "fast" and not report["facts"]["held_out"]
    names = [e["edit"] for e in report["slow_to_fast"]["edits"]]
    assert names[:2] == ["first half", "second half"] and {"tempo x0.8", "percussive only"} <= set(names)
    assert report["slow_to_fast"]["fitted_on"] == "the songs that are not danced to"
    assert {e["songs"] for e in report["fast_to_slow"]["edits"]} == {1}


def test_runs_are_measured_together(tiny_run: Path, tmp_path: Path, experiment: Any) -> None:
    words = ("folds=2", "seeds=1", "pairs=1", "edit_seconds=4", "half_seconds=12", "permutations=19")
    experiment("ballroom", f"run={tiny_run}", f"out={tmp_path / 'one'}", *words)
    one = json.loads((tmp_path / "one" / "report.json").read_text())
    expected = {
        "style", "probe", "judged", "edits", "energy", "variance", "retrieval", "music_edits", "halves", "training",
    }  # fmt: skip
    assert one["parts"].keys() == expected
    assert all(part["lines"] for part in one["parts"].values())
    before = f"before={tmp_path / 'one' / 'report.json'}"
    words = (*words, "folds=0", before)
    experiment("ballroom", f"runs=[{tiny_run},{tiny_run}]", f"out={tmp_path / 'two'}", *words)
    two = json.loads((tmp_path / "two" / "report.json").read_text())
    assert "style" not in two["parts"]
    for part in ("probe", "judged", "edits", "energy", "retrieval"):  # the same songs twice are the same songs
        for a, b in zip(one["parts"][part]["lines"], two["parts"][part]["lines"], strict=True):
            assert b["pooled"] == pytest.approx(a["pooled"], abs=1e-6, nan_ok=True), (part, a["name"])
    page = (tmp_path / "two" / "index.html").read_text()
    assert ">before<" in page and not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    assert "| before |" in (tmp_path / "two" / "report.md").read_text()
    assert (tmp_path / "two" / "figures" / "variance.png").is_file()


def test_a_genre_that_was_not_trained_on(
    tiny_run: Path, corpora: Path, tmp_path: Path, experiment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = next(corpora.glob("synthetic-*"))
    known = read_manifest(raw)
    lines = [f"{r.name},{r.genre},{r.audio},{r.pose}" for r in known]
    lines += [f"{r.name}_again,late,{r.audio},{r.pose}" for r in known[:2]]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "manifest.csv").write_text("\n".join(["name,genre,audio,pose", *lines]) + "\n")
    corpus = prepare(tmp_path / "raw", tmp_path / "corpora", yaws=[0.0])
    words = (f"run={tiny_run}", f"corpus={corpus}", "seeds=1")
    experiment("fourth_genre", *words, f"out={tmp_path / 'out'}", "genre=late")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["ratios"]) == ["drive", "flow", "groove", "late"]
    assert {s["song"] for s in report["songs"] if s["genre"] == "late"} == {f"{r.name}_again" for r in known[:2]}
    assert len(report["songs"]) == 2 + 6 and len(report["facts"]["training_songs"]) == 3
    assert all(v[0] > 0 for row in report["ratios"].values() for v in row.values())
    assert (tmp_path / "out" / "report.md").read_text().count("\n") == 2 + 4
    with pytest.raises(SystemExit) as stop:
        experiment("fourth_genre", *words, f"out={tmp_path / 'no'}", "genre=drive")
    assert stop.value.code == 2 and "genre=drive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "give run=DIR"),
        (("run=RUN", "runs=[RUN]"), "give run=DIR"),
        (("run=RUN", "folds=1"), "folds=0 or from 2"),
        (("run=RUN", "folds=4"), "a genre has 3 songs"),
        (("run=RUN", "folds=0", "source=waltz"), "no genre 'waltz'"),
        (("run=RUN", "before=nowhere.json"), "before=nowhere.json"),
        (("run=RUN", "corpora=[a,b]"), "corpora: 2 for 1 runs"),
    ],
)
def test_wrong_requests_for_a_report_are_one_line(
    tiny_run: Path, tmp_path: Path, experiment: Any, capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...], named: str,
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        experiment("ballroom", f"out={tmp_path / 'out'}", *(w.replace("RUN", str(tiny_run)) for w in words))
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("out=OUT",), "bundle="),
        (("bundle=BUNDLE", "out=OUT", "genre=waltz"), "genre=waltz"),
        (("bundle=BUNDLE", "out=OUT", "source=waltz"), "waltz"),
        (("bundle=BUNDLE", "out=OUT", "source=flow", "target=flow"), "two different genres"),
        (("bundle=OUT/none", "out=OUT"), "no such bundle"),
        (("bundle=BUNDLE", "out=OUT", "corpus=OUT/none"), "not a prepared corpus"),
    ],
)
def test_errors_of_use_are_one_line(
    tiny_run: Path, tmp_path: Path, experiment: Any, capsys: pytest.CaptureFixture[str],
    name: str, words: tuple[str, ...], named: str,
) -> None:  # fmt: skip
    filled = [w.replace("BUNDLE", str(tiny_run / "bundle")).replace("OUT", str(tmp_path)) for w in words]
    with pytest.raises(SystemExit) as stop:
        experiment(name, *filled)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0]
    assert not (tmp_path / "index.html").exists()


def test_matched_strength_moves_equally_far() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 6))
    genre = np.repeat(["a", "b"], 20)
    z[genre == "b"] += 2
    shift = make_direction("mean_shift", "a", "b").fit(z, genre)
    own = z[genre == "a"]
    far = float(np.linalg.norm(shift.shift(own)))
    for name in ("boundary", "erasure", "transport", "random"):
        other = direction_between(name, "a", "b").fit(z, genre)
        strength = matched_strength(other, shift, own)
        moved = np.linalg.norm(other.transform(own, strength) - own, axis=1).mean()
        assert moved == pytest.approx(far, rel=1e-9)
