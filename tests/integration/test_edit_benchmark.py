"""The edit benchmark on a tiny run: measuring, resuming, publishing; its verdicts; its axes during training."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m.bundle.run_folder import RunFolder
from d2m.reports import judges
from d2m.train import curriculum
from experiments.edit_benchmark import edits as e
from experiments.edit_benchmark import run as benchmark
from experiments.edit_benchmark.results import compare_at_success, cross_fit, halves, left_of, row, verdict
from experiments.edit_benchmark.scores import Scores, score

from .conftest import compose_train

QUICK = ("songs=1", "seconds=6.5", "strengths=[1.0]", "controls=1", "permuted=1", "steps=1")


@pytest.fixture(autouse=True)
def _quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good judges take a minute; these tests do not ask what they are worth."""
    monkeypatch.setattr(judges, "STEPS", 20)
    monkeypatch.setattr(judges, "WINDOWS_PER_RECORDING", 10)


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    benchmark.main()


def test_a_benchmark_is_measured_and_continues(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", *QUICK)
    call(monkeypatch, *words)
    report = json.loads((tmp_path / "report.json").read_text())
    names = {*e.METHODS, *e.VARIANTS, e.NO_EDIT, e.RANDOM, e.PERMUTED, e.REAL}
    assert set(report["rows"]) - {e.MATCHED_TEMPO} == names - {e.MATCHED_TEMPO, "transport"}  # of one song a genre
    assert report["broken"] and "judge network" in report["paragraph"]  # it was hardly trained
    assert len(report["songs"]) == 3 and len(set(report["songs"].values())) == 3
    unedited = report["rows"][e.NO_EDIT]
    assert unedited["content"] == pytest.approx(1, abs=1e-3) and unedited["aggregate"] == 0
    assert report["rows"][e.REAL]["naturalness"] == pytest.approx(1)
    assert report["rows"][e.MEAN_SHIFT]["length_chosen"] == pytest.approx(1, abs=1e-3)
    assert all(0 <= r["aggregate"] <= 1 and r["n_songs"] == 3 for r in report["rows"].values() if r["aggregate"])
    assert set(report["rescoring"]) >= {"genre", "energy", "tempo ratio"}
    page = (tmp_path / "index.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page) and "is broken" in page
    assert (tmp_path / "figures" / "benchmark.png").is_file() and "NaN" not in (tmp_path / "report.json").read_text()
    assert report["optimiser"]["answer"] in {"yes", "no", "cannot be said"}

    files = sorted((tmp_path / "songs").glob("*.json"))
    files[0].unlink()
    before = {p: p.stat().st_mtime_ns for p in files[1:]}
    call(monkeypatch, *words)
    assert {p: p.stat().st_mtime_ns for p in files[1:]} == before and files[0].is_file()
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["rows"] == report["rows"]  # the same seed, the same numbers


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("strengths=[0.5,2.0]",), "strengths="),
        (("strengths=[2.0,1.0]",), "strengths="),
        (("seconds=3.0",), "seconds"),
        (("seconds=100.0",), "fewer seconds"),
        (("bundle=nowhere",), "nowhere"),
    ],
)
def test_what_cannot_be_run(
    words: tuple[str, ...], named: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from d2m.core.errors import D2MError

    with pytest.raises(D2MError, match=re.escape(named)):
        call(monkeypatch, f"bundle={tiny_run / 'bundle'}", f"out={tmp_path}", *words)


def rows_of(votes: dict[tuple[str, int, int], float], content: dict[str, float], target: str) -> list[dict[str, Any]]:
    """Rows of one song towards b: (method, index, place) -> vote of both judges; lengths 0, 1 and 2 by place."""
    out = []
    for (method, index, place), p in votes.items():
        kept = content.get(method, 1.0)
        out.append({
            "method": method, "target": target, "index": index, "place": place,
            "length": 0.0 if method in (e.NO_EDIT, e.REAL) else place + 1.0,
            "judged": [[1 - p, p] if target == "b" else [p, 1 - p]] * 2,
            "content": {"poses": kept, "poses in time": 1 - kept, "structure": kept, "beats": kept},
            "natural": {"jerk": 0.5, "bones": 0.5, "features": 0.5, "seams": 0.5},
        })  # fmt: skip
    return out


VOTES = {
    (e.NO_EDIT, 0, 0): 0.1, (e.ANCHOR, 0, 0): 0.1, (e.ANCHOR, 0, 1): 0.3, (e.RANDOM, 0, 0): 0.1, (e.RANDOM, 0, 1): 0.3,
    (e.MEAN_SHIFT, 0, 0): 0.5, (e.MEAN_SHIFT, 0, 1): 0.9, (e.OPTIMISE, 0, 0): 0.5, (e.OPTIMISE, 0, 1): 0.9,
    (e.REAL, 0, 0): 0.9,
}  # fmt: skip


@pytest.fixture(scope="module")
def planted() -> Scores:
    """Eight songs of two genres, all alike but for a little content; the optimiser keeps 0.8, the mean shift 0.5."""
    files = []
    for k in range(8):
        genre, target = ("a", "b") if k < 4 else ("b", "a")
        content = {e.MEAN_SHIFT: 0.5 + 0.01 * k, e.OPTIMISE: 0.8 + 0.01 * k, e.REAL: 0.0}
        files.append({"song": f"s{k}", "genre": genre, "rows": rows_of(VOTES, content, target)})
    far, near = (
        dict.fromkeys(("jerk", "bones", "features", "seams"), 2.0),
        dict.fromkeys(("jerk", "bones", "features", "seams"), 0.5),
    )
    real = [
        {"genre": g, "judged": [v, v], "shuffled": far, "real": near} for g, v in (("a", [0.9, 0.1]), ("b", [0.1, 0.9]))
    ]
    foreign = [{"song": "s0", "content": {"poses": 0.0, "poses in time": 1.0, "structure": 0.0, "beats": 0.0}}]
    return score(files, real, foreign, ["a", "b"])


def test_the_axes_of_planted_songs(planted: Scores) -> None:
    success, content, naturalness = planted.pair_mean(planted.method(e.MEAN_SHIFT)).T
    assert success == pytest.approx([0.5, 1.0])  # (0.5 - 0.1) / (0.9 - 0.1); (0.9 - 0.3) / (0.9 - 0.3)
    assert content == pytest.approx([0.535, 0.535]) and naturalness == pytest.approx([1, 1])
    assert planted.pair_mean(planted.method(e.RANDOM))[:, 0] == pytest.approx([0, 0])
    assert planted.pair_mean(planted.method(e.REAL))[0, :2] == pytest.approx([1, 0])


def test_pairs_of_genres_weigh_the_same_whatever_their_songs(planted: Scores) -> None:
    x = planted.method(e.MEAN_SHIFT)[:, :, 0, 1]
    one, other = np.nanmean(x[:4]), np.nanmean(x[4:])
    assert planted.pair_mean(x, np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3])) == pytest.approx((one + other) / 2)
    assert planted.pair_mean(x, np.array([0, 1, 2, 3])) == pytest.approx(one)


def test_strengths_are_chosen_on_the_other_half(planted: Scores) -> None:
    a, b = halves(planted.genre_of, 0)
    assert not set(a) & set(b) and sorted([*a, *b]) == list(range(8))
    x = planted.method(e.MEAN_SHIFT).copy()
    x[a, :, 0], x[b, :, 1] = 0.0, 0.0  # a would choose place 1, b place 0: each is wrong for the other
    fitted = cross_fit(planted, np.where(np.isnan(planted.method(e.MEAN_SHIFT)), np.nan, x), 0)
    assert fitted.chosen[:2] == [1, 0]
    assert fitted.of(x)[0, 1].tolist() == pytest.approx(x[0, 1].T @ fitted.share[0])


def test_the_optimiser_that_keeps_more_content_wins_at_equal_success(planted: Scores) -> None:
    found = compare_at_success(planted, e.OPTIMISE, e.MEAN_SHIFT, 0)
    assert found is not None
    top = found["levels"][0]
    assert top["success"] == pytest.approx(1) and top["difference"] == pytest.approx(0.3)
    assert top["difference_95"][0] > 0 and top["p"] < 0.05 and top["n_songs"] == 8
    assert compare_at_success(planted, e.RANDOM, e.MEAN_SHIFT, 0) is None  # it never succeeds
    left = left_of(planted, e.OPTIMISE, 1, 0)
    assert left is not None and left["left"] == pytest.approx(1) and left["pairs"] == 2


def test_controls_above_chance_break_the_benchmark(planted: Scores) -> None:
    rows = {n: row(planted, n, (1.0, 2.0), 0) for n in (e.RANDOM, e.MEAN_SHIFT)}
    rows |= {n: row(planted, n, (0.0,), 0) for n in (e.NO_EDIT, e.REAL)}
    judged = [{"name": "network", "balanced_accuracy": 1.0, "chance": 0.5}]
    assert verdict(rows, judged) == []
    assert "above chance" in verdict({**rows, e.RANDOM: rows[e.MEAN_SHIFT]}, judged)[0]
    assert "0.60" in verdict(rows, [{**judged[0], "balanced_accuracy": 0.6}])[0]
    assert "content" in verdict({**rows, e.REAL: {**rows[e.MEAN_SHIFT], "naturalness": 1.0}}, judged)[0]


def test_the_latent_study_logs_the_axes(tiny_run: Path, corpora: Path, tmp_path: Path) -> None:
    inits = [f"init_from.{s}={RunFolder(tiny_run).checkpoint(s)}" for s in ("du_vae", "music_style")]
    study = [
        "callbacks=latent", "callbacks.latent.seconds=4", "callbacks.latent.size=64", "callbacks.latent.permutations=9",
        "callbacks.dance_video=null", "stages=[mm_gan]", "fit.mm_gan.max_epochs=1",
    ]  # fmt: skip
    curriculum.run(compose_train(corpora, *study, *inits), tmp_path)
    with open(tmp_path / "csv" / "mm_gan" / "metrics.csv", newline="") as f:
        logged = [r for r in csv.DictReader(f) if r.get("latent/edit/content")]
    assert len(logged) == 1
    axes = {k: float(logged[0][f"latent/edit/{k}"]) for k in ("content", "naturalness")}
    assert axes["content"] < 1 and np.isfinite(axes["naturalness"])
    facts = json.loads((tmp_path / "latent" / "mm_gan-epoch0001" / "summary.json").read_text())
    known = {k for k in ("success", "content", "naturalness") if f"edit/{k}" in facts["scalars"]}
    assert ("edit/aggregate" in facts["scalars"]) == (len(known) == 3)
