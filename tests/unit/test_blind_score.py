"""From answers to scores, and which participants are excluded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from d2m.blind.answers import Rules, read_answers
from d2m.blind.key import Key
from d2m.blind.report import score_study
from d2m.blind.score import score
from d2m.core.errors import D2MError
from d2m.draw.plots.preferences import confusion_maps, strength_intervals
from tests.blind_study import answer, attentive, write_answers
from tests.commands import d2m

SYSTEMS = {"good": 2.0, "fair": 1.0, "poor": 0.0}
GENRES = ("foxtrot", "quickstep")


@pytest.fixture
def key() -> Key:
    """A key as the design makes it, without videos: 3 systems, 4 songs, 12 participants who judge all pairs."""
    from d2m.blind.design import Plan, deal
    from d2m.blind.key import named

    rng = np.random.default_rng(0)
    slots = deal(3, 4, [0, 1, 2], 2, Plan(12, 12, 2, 2, 6), rng)
    shown = sorted({s for slot in slots for t in slot.trials for s in t.shown})
    names = {s: f"v{k}" for k, s in enumerate(shown)}
    videos = {
        names[s]: {"system": list(SYSTEMS)[s.system], "song": f"s{s.song}", "genre": GENRES[s.song % 2],
                   "frozen": s.frozen}
        for s in shown
    }  # fmt: skip
    return Key("study", bytes(32), 0, "Which?", GENRES, 2.0, videos, named(slots, names))


BEST = attentive(lambda row: SYSTEMS[row["system"]])


def people(key: Key, folder: Path, files: dict[str, Any], rules: Rules | None = None) -> Any:
    write_answers(folder, files)
    return read_answers(sorted(folder.glob("*.json")), key, rules or Rules())


def test_people_who_agree_give_order_shares_of_one_and_alpha_one(key: Key, tmp_path: Path) -> None:
    kept, excluded = people(key, tmp_path, {f"p{k:02d}": answer(key, k, BEST) for k in range(1, 7)})
    assert len(kept) == 6 and not excluded
    found = score(key, kept, 50, 0)
    choice, genre = found["choice"], found["genre"]
    assert choice["n"] == 72 and choice["alpha"] == 1 and choice["agreement"] == 1
    strengths = {k: v["strength"] for k, v in choice["strengths"].items()}
    assert sorted(strengths, key=lambda k: -strengths[k]) == list(SYSTEMS)
    assert np.isfinite(list(strengths.values())).all()
    pair = next(p for p in choice["pairs"] if {p["system"], p["over"]} == {"good", "poor"})
    assert pair["share"] == (pair["system"] == "good") and pair["n"] == 24
    assert pair["p"] == pytest.approx(2 * 0.5**24) and pair["q"] >= pair["p"]
    assert choice["repeated_alike"]["share"] == 1 and choice["repeated_alike"]["n"] == 12
    assert genre["share"] == 1 and genre["p"] == pytest.approx(0.5**36) and genre["alpha"] == 1
    assert np.array_equal(genre["confusion"], np.diag([18, 18]))
    assert np.sum([g["confusion"] for g in genre["systems"].values()], 0).tolist() == genre["confusion"]


def test_random_answers_are_chance(key: Key, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def guess(kind: str, shown: list[dict[str, Any]]) -> str:
        if kind == "check":
            return BEST(kind, shown)
        return str(rng.choice(GENRES if kind == "genre" else ("left", "right")))

    kept, _ = people(key, tmp_path, {f"p{k:02d}": answer(key, k, guess) for k in range(1, 25)})
    found = score(key, kept, 200, 0)
    for row in found["choice"]["strengths"].values():
        assert row["low"] < 0 < row["high"] and abs(row["strength"]) < 0.4
    for pair in found["choice"]["pairs"]:
        assert pair["low"] < 0.5 < pair["high"] and pair["p"] > 0.01
    assert abs(found["choice"]["alpha"]) < 0.1 and abs(found["genre"]["alpha"]) < 0.15
    genre = found["genre"]
    hits = np.trace(genre["confusion"])
    assert genre["p"] == pytest.approx(binom.sf(hits - 1, genre["n"], 0.5)) and genre["p"] > 0.01


def test_whoever_only_presses_left_shows(key: Key, tmp_path: Path) -> None:
    def left(kind: str, shown: list[dict[str, Any]]) -> str:
        return BEST(kind, shown) if kind in ("genre", "check") else "left"

    kept, _ = people(key, tmp_path, {"a": answer(key, 1, left), "b": answer(key, 2, left)})
    choice = score(key, kept, 20, 0)["choice"]
    assert choice["left"]["share"] == 1 and choice["left"]["p"] < 1e-6
    assert choice["repeated_alike"]["share"] == 0  # sides were swapped
    assert all(row["share"] == 0.5 for row in choice["pairs"])


def test_wider_disagreement_between_people_gives_wider_intervals(key: Key, tmp_path: Path) -> None:
    """The same share of answers: everyone is undecided, or half the people think this and half that."""
    worst = attentive(lambda row: -SYSTEMS[row["system"]])
    split = {f"p{k:02d}": answer(key, k, BEST if k % 2 else worst) for k in range(1, 13)}
    rng = np.random.default_rng(0)

    def undecided(kind: str, shown: list[dict[str, Any]]) -> str:
        return BEST(kind, shown) if kind in ("genre", "check") else str(rng.choice(("left", "right")))

    even = {f"p{k:02d}": answer(key, k, undecided) for k in range(1, 13)}
    widths = []
    for name, files in (("split", split), ("even", even)):
        kept, _ = people(key, tmp_path / name, files)
        row = score(key, kept, 300, 0)["choice"]["strengths"]["good"]
        widths.append(row["high"] - row["low"])
    assert widths[0] > 1.5 * widths[1]


def test_alpha_of_comparisons_is_that_of_agreement_whatever_the_names_are(key: Key, tmp_path: Path) -> None:
    """Two answers are equally likely by chance: alpha is near 2 * agreement - 1."""
    rng = np.random.default_rng(3)

    def mostly(kind: str, shown: list[dict[str, Any]]) -> str:
        return BEST(kind, shown) if kind in ("genre", "check") or rng.random() < 0.8 else "left"

    kept, _ = people(key, tmp_path, {f"p{k:02d}": answer(key, k, mostly) for k in range(1, 13)})
    found = score(key, kept, 5, 0)["choice"]
    assert 0.5 < found["agreement"] < 0.95
    assert found["alpha"] == pytest.approx(2 * found["agreement"] - 1, abs=0.01)
    renamed = dict(zip(SYSTEMS, ("b", "a", "c"), strict=True))
    videos = {k: {**row, "system": renamed[row["system"]]} for k, row in key.videos.items()}
    other = score(Key(**{**key.__dict__, "videos": videos}), kept, 5, 0)["choice"]
    assert (other["alpha"], other["agreement"]) == (found["alpha"], found["agreement"])
    assert other["strengths"]["b"]["strength"] == pytest.approx(found["strengths"]["good"]["strength"])


def test_one_person_has_no_interval(key: Key, tmp_path: Path) -> None:
    kept, _ = people(key, tmp_path, {"a": answer(key, 1, BEST)})
    found = score(key, kept, 20, 0)
    assert np.isnan(found["choice"]["strengths"]["good"]["low"]) and np.isnan(found["choice"]["alpha"])
    assert found["choice"]["pairs"][0]["share"] in (0, 1)


def test_who_is_left_out_and_why(key: Key, tmp_path: Path) -> None:
    def asleep(kind: str, shown: list[dict[str, Any]]) -> str:
        return {"left": "right", "right": "left"}[BEST(kind, shown)] if kind == "check" else BEST(kind, shown)

    good = answer(key, 1, BEST)
    hasty = answer(key, 3, BEST)
    for row in hasty["answers"]:
        row["seconds"] = 0.9
    cut = answer(key, 4, BEST)
    files = {
        "a_good": good,
        "b_copy": good,
        "c_again": answer(key, 1, BEST, session="other", finished="2030-01-01T12:00:00Z"),
        "d_asleep": answer(key, 2, asleep),
        "e_hasty": hasty,
        "f_cut": {**cut, "answers": cut["answers"][:5], "finished": None},
        "g_foreign": answer(key, 5, BEST, study="another"),
        "h_forged": {**answer(key, 6, BEST), "slot": 7},
        "i_text": "no json",
        "j_list": "[]",
        "k_format": answer(key, 7, BEST, format="v0"),
        "l_word": answer(key, 8, lambda kind, shown: "both"),
        "m_drawn": answer(key, 1, BEST, session="drawn", numbered=False, finished="2030-01-02"),
    }
    kept, excluded = people(key, tmp_path, files)
    assert [Path(p.file).stem for p in kept] == ["a_good", "m_drawn"]
    why = {Path(f).stem: reason for f, reason in excluded.items()}
    words = {
        "b_copy": "same session as", "c_again": "same participant number (1)", "d_asleep": "failed 2 of 2 attention",
        "e_hasty": "too fast: 0.9 s", "f_cut": "incomplete: 5 of 22", "g_foreign": "another study",
        "h_forged": "not those that the key names", "i_text": "not a readable", "j_list": "not a readable",
        "k_format": "format 'v0'", "l_word": "not those that the key names",
    }  # fmt: skip
    assert why.keys() == words.keys() and all(words[k] in why[k] for k in words)
    kept, excluded = people(key, tmp_path, {}, Rules(failures=2, fastest=0))
    assert {Path(p.file).stem for p in kept} == {"a_good", "m_drawn", "d_asleep", "e_hasty"}


def test_a_skipped_trial_counts_for_nobody(key: Key, tmp_path: Path) -> None:
    def skip(kind: str, shown: list[dict[str, Any]]) -> Any:
        return None if {"poor", "good"} == {row["system"] for row in shown} else BEST(kind, shown)

    kept, _ = people(key, tmp_path, {"a": answer(key, 1, skip), "b": answer(key, 2, skip)})
    found = score(key, kept, 20, 0)["choice"]
    assert found["n"] == 16
    pair = next(p for p in found["pairs"] if {p["system"], p["over"]} == {"good", "poor"})
    assert pair["n"] == 0 and np.isnan(pair["share"]) and "q" not in pair
    assert all(np.isfinite(row["strength"]) for row in found["strengths"].values())  # by way of "fair"


def test_systems_that_nothing_connects_are_refused(key: Key, tmp_path: Path) -> None:
    def skip(kind: str, shown: list[dict[str, Any]]) -> Any:
        return None if kind != "check" and "poor" in {row["system"] for row in shown} else BEST(kind, shown)

    kept, _ = people(key, tmp_path, {"a": answer(key, 1, skip)})
    with pytest.raises(D2MError, match=r"fair, good was never compared with poor"):
        score(key, kept, 20, 0)


def test_the_command_writes_a_report_a_table_and_figures(
    key: Key, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # no cell is broken, however long the folder
    key.write(tmp_path / "key.json")
    write_answers(tmp_path / "answers", {f"p{k}": answer(key, k, BEST) for k in range(1, 4)})
    write_answers(tmp_path / "answers", {"broken": "{"})
    words = (f"answers={tmp_path}/answers/*.json", f"key={tmp_path}/key.json", f"out={tmp_path}/out", "samples=50")
    d2m("blind", "score", *words)
    told = capsys.readouterr().out
    for word in ("Which?", "good", "Krippendorff", "Genre guesses", "3 of 4 participants count", "not a readable file"):
        assert word in told
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["participants"]["files"] == 4 and len(report["participants"]["kept"]) == 3
    assert report["choice"]["strengths"]["good"]["strength"] > 0 and report["genre"]["chance"] == 0.5
    for name in ("strengths.png", "confusion.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_figures_say_what_they_show() -> None:
    figure = strength_intervals({"b": (-0.5, np.nan, np.nan), "a": (0.5, 0.2, 0.9)}, title="Which?")
    (axes,) = figure.axes
    assert axes.get_title() == "Which?" and "log odds" in axes.get_xlabel() and axes.get_legend() is not None
    assert [t.get_text() for t in axes.get_yticklabels()] == ["b", "a"]  # the strongest on top
    maps = confusion_maps({"one": [[3, 1], [0, 0]], "two": [[0, 2], [2, 0]]}, GENRES)
    assert [a.get_title() for a in maps.axes[:2]] == ["one (n=4)", "two (n=4)"] and maps.get_suptitle()
    assert [t.get_text() for t in maps.axes[0].texts] == ["3", "1"]  # nothing was meant to be the second genre
    with pytest.raises(D2MError, match="nothing to plot"):
        strength_intervals({}, title="")
    with pytest.raises(D2MError, match=r"\(2, 2\)"):
        confusion_maps({"one": np.eye(3)}, GENRES)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"answers": "nowhere/*.json"}, "no such file"),
        ({"answers": "only"}, "none of 1 files counts"),
        ({"key": Path("nowhere.json")}, "not a study's key"),
        ({"samples": 0}, "samples=0"),
        ({"rules": Rules(failures=-1)}, "failures=-1"),
    ],
)
def test_what_cannot_be_scored_is_one_line(key: Key, tmp_path: Path, change: dict[str, Any], word: str) -> None:
    key.write(tmp_path / "key.json")
    write_answers(tmp_path / "good", {"a": answer(key, 1, BEST)})
    write_answers(tmp_path / "only", {"a": "{}"})
    a = {"answers": str(tmp_path / "good"), "key": tmp_path / "key.json", "rules": Rules(), "samples": 5} | change
    if change.get("answers") == "only":
        a["answers"] = str(tmp_path / "only")
    with pytest.raises(D2MError, match=word) as e:
        score_study(out=tmp_path / "out", seed=0, **a)
    assert "\n" not in str(e.value) and not (tmp_path / "out").exists()
