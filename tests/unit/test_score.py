"""``d2m score``: real dances against themselves are the best there is, others are worse, errors are one line."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from corpora import write_pose, write_raw
from dancing import dancer

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.corpus import Corpus
from d2m.metrics.cards import load_card
from d2m.prepare.plan import SplitOptions
from d2m.prepare.process import Options
from d2m.prepare.run import prepare_into
from d2m.reports import judges
from d2m.reports.score import ScoreRequest, corpus_dances, same_songs, score
from tests.commands import d2m

NAMES = {f"{genre}_{i}": genre for genre in ("flow", "groove") for i in range(3)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six songs of 8 s with their dances: pose3d/NAME.npz, audio/NAME.flac."""
    return write_raw(tmp_path_factory.mktemp("raw"), NAMES, seconds=8.0)


@pytest.fixture(scope="module")
def corpus(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "real_dances"
    assert prepare_into(out, raw, Options(yaws=(0.0, 90.0), front_end="mfcc"), SplitOptions(), workers=1) == 6
    return out


@pytest.fixture(scope="module")
def noisy(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dances half as fast, shaken: on no beat, less lively in the large and more in the small."""
    folder = tmp_path_factory.mktemp("noisy")
    for number, name in enumerate(NAMES):
        joints = np.load(raw / "pose3d" / f"{name}.npz")["joints"]
        slow = joints[np.arange(len(joints)) // 2]
        shaken = slow + np.random.default_rng(number).normal(0, 1.5, slow.shape)
        write_pose(folder / f"{name}.npz", shaken)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The cards with few draws, by name."""
    folder = tmp_path_factory.mktemp("cards")
    for name in ("d2m", "fact-14", "bailando-14"):
        pins = {**asdict(load_card(name)), "halves": 5, "shifts": 50, "bootstrap": 20}
        (folder / f"{name}.yaml").write_text(json.dumps(pins))
    return {p.stem: str(p) for p in folder.iterdir()}


def rows(out: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads((out / "report.json").read_text())["rows"]


def test_real_dances_against_themselves_are_the_best_there_is(
    raw: Path, corpus: Path, noisy: Path, small: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(judges, "STEPS", 10)
    words = [f"music={raw / 'audio'}", f"reference={corpus}", "split=all", f"card={small['d2m']}"]
    d2m("score", f"poses={raw / 'pose3d'}", *words, f"out={tmp_path / 'same'}")
    d2m("score", f"poses={noisy}", *words, f"out={tmp_path / 'noisy'}")
    told = capsys.readouterr().out
    assert "card d2m" in told and "pose3d" in told and f"report: {tmp_path / 'noisy' / 'report.json'}" in told
    assert "multimodality is not measured: " in told
    same, other = rows(tmp_path / "same"), rows(tmp_path / "noisy")
    assert set(same) == {"real", "pose3d"} and set(other) == {"real", noisy.name}
    assert same["real"] == other["real"]
    mine, real, bad = same["pose3d"], same["real"], other[noisy.name]
    unmeasured = {"multimodality", "boundary_jump", "beat_hit_unwarped"}  # one draw each, and nothing as decoded
    assert all(mine[name]["value"] is None for name in unmeasured)
    assert {"judged_network", "judged_features"} <= mine.keys()
    for name, figure in mine.items():
        if name in unmeasured:
            continue
        for key in ("value", "chance", "low", "high"):
            expected = real[name][key]
            assert figure[key] == (expected if expected is None else pytest.approx(expected, 1e-3, 1e-3)), (name, key)
        assert figure["n"] == real[name]["n"] and figure["better"] in ("higher", "lower", "real")
    assert mine["fid"]["value"] == pytest.approx(mine["fid_floor"]["value"], rel=1e-3)
    assert bad["fid"]["value"] > mine["fid"]["value"]
    assert mine["energy_ratio"]["value"] == pytest.approx(1, abs=1e-3)
    assert mine["beat_hit"]["z"] > 3 > bad["beat_hit"]["z"]
    assert bad["jerk_ratio"]["value"] > 1.5
    report = json.loads((tmp_path / "same" / "report.json").read_text())
    assert report["card"]["name"] == "d2m" and set(report["judges"]) == {"network", "features"}
    assert report["reference"]["corpus"] == {"digest": Corpus.open(corpus).digest, "split": "all"}
    assert [d["song"] for d in report["dances"]] == list(NAMES) and report["dances"][0]["genre"] == "flow"
    assert str(tmp_path) not in (tmp_path / "same" / "report.json").read_text()


def test_a_folder_of_real_dances_is_a_reference(raw: Path, noisy: Path, small: dict[str, str], tmp_path: Path) -> None:
    request = ScoreRequest(str(noisy), str(tmp_path / "o"), str(raw / "audio"), str(raw), card=small["fact-14"])
    table, _ = score(request)
    assert list(table.rows) == ["real", noisy.name]
    bad, real = table.rows[noisy.name], table.rows["real"]
    assert bad["fid_k"].value > 2 * real["fid_k"].value == 2 * real["fid_k_floor"].value
    assert real["beat_align"].value > bad["beat_align"].value
    assert real["beat_align"].z is not None and real["beat_align"].z > 3


def test_without_music_there_are_no_beats(noisy: Path, corpus: Path, small: dict[str, str], tmp_path: Path) -> None:
    request = ScoreRequest(str(noisy), str(tmp_path / "o"), None, str(corpus), card=small["bailando-14"], split="all")
    table, _ = score(request)
    figure = table.rows[noisy.name]["beat_align"]
    assert np.isnan(figure.value) and figure.n == 0 and figure.note
    assert np.isfinite(table.rows["real"]["beat_align"].value) and np.isfinite(table.rows[noisy.name]["fid_k"].value)


def test_real_dances_of_other_songs_are_left_out(corpus: Path) -> None:
    real = corpus_dances(Corpus.open(corpus), ("train", "val", "test"))
    assert len(real) == 12  # of both views
    assert [d.song for d in same_songs(real, real[:2])] == [real[0].song] * 2
    stranger = replace(real[0], song="another")
    assert len(same_songs(real, [real[0], stranger])) == 12  # one of the songs has no real dance


def test_feet_on_the_floor(tmp_path: Path) -> None:
    body = dancer(4.0, 60.0)
    toes = body[:, [13, 10]] + [0, -6.0, 12.0]
    names = np.array([*JOINTS, "left_toe", "right_toe"])
    for name, shift in (("standing", 0.0), ("skating", 40.0)):
        joints = np.concatenate([body, toes], axis=1)
        if not shift:  # both feet where they were
            joints[:, [10, 13, 14, 15]] = joints[:1, [10, 13, 14, 15]]
        folder = tmp_path / name
        folder.mkdir()
        np.savez(folder / "a.npz", joints=joints, fps=60.0, joint_names=names)
        pfc = score(ScoreRequest(str(folder), str(tmp_path / "o"), card="edge")).table.rows[name]["pfc"]
        assert pfc.value > 1 if shift else pfc.value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "words, told",
    [
        (["card=edge"], "needs 3-D poses with toes"),
        (["card=edge", "reference=CORPUS"], "a corpus has no toes"),
        (["card=d2m"], "card d2m measures beside real dances; give reference="),
        (["card=[d2m,fact-14]"], "give one card; figures of different cards are never put in one table"),
        (["card=nothing"], "no card 'nothing'; choose from"),
        (["reference=EMPTY"], "no pose file; give npz"),
        (["reference=CORPUS", "split=mine"], "split=mine: choose from held_out"),
        (["reference=CORPUS", "yaws=[x]"], r"yaws=.*degrees"),
        (["reference=CORPUS", "music=EMPTY"], "no songs"),
        (["reference=CORPUS", "names={left_wrist:Hand_L}"], "source=npz does not take names=; bvh do"),
        (["reference=CORPUS", "source=bvh"], r"neither a manifest.csv nor any \*.bvh"),
        (["reference=CORPUS", "repair=null"], "repair=null: give a value"),
    ],
)
def test_wrong_requests_are_one_line_and_write_nothing(
    noisy: Path, corpus: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    (tmp_path / "empty").mkdir()
    given = [w.replace("CORPUS", str(corpus)).replace("EMPTY", str(tmp_path / "empty")) for w in words]
    with pytest.raises(D2MError, match=told) as e:
        d2m("score", f"poses={noisy}", *given, f"out={tmp_path / 'o'}")
    assert "\n" not in str(e.value) and not (tmp_path / "o").exists()


def test_a_song_without_training_dances_in_the_split_is_no_reference(corpus: Path) -> None:
    class Silent(Corpus):
        def recordings_in(self, *args: object, **more: object) -> np.ndarray:
            return np.empty(0, np.int64)

    opened = Corpus.open(corpus)
    silent = Silent(**{k: getattr(opened, k) for k in opened.__dataclass_fields__})
    with pytest.raises(D2MError, match="no dances with music in its val and test split"):
        corpus_dances(silent, ("val", "test"))


def test_the_cards_in_the_help_are_those_there_are() -> None:
    from d2m.cli.commands import conf_dir
    from d2m.metrics.cards import card_names

    text = (conf_dir() / "measure" / "score.yaml").read_text()
    assert all(name in text and load_card(name) for name in card_names())
