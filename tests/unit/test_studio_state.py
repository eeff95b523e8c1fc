"""States as plain JSON: round trips, one-line errors, several edits, draws that were chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.dance.dancer import Dancer
from d2m.edits.directions import EDITS
from d2m.edits.mean_shift import MeanShift
from d2m.studio.dances import dance_of
from d2m.studio.saving import save_direction_of
from d2m.studio.session import Session
from d2m.studio.state import State
from tests.commands import called
from tests.studio import judged, library, shift, state, write_latents


@pytest.fixture(scope="module")
def at(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return library(tiny_bundle, tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def session(tiny_bundle: Path) -> Session:
    return Session(str(tiny_bundle))


CURVE = [[0.0, 0.0], [6.0, 1.5], [12.0, -0.5]]


def test_a_state_survives_its_file(at: Any, tmp_path: Path) -> None:
    plain = state(at, shift(CURVE), shift(0.25, "flow", "groove"), seed=7, warp=False, draws=[0, 1], style_mode="local")
    one = State.parse(plain)
    one.write(tmp_path / "state.json")
    assert State.read(tmp_path / "state.json") == one
    assert State.parse(json.loads(json.dumps(one.plain()))) == one


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"format": 2}, "format 1"), ({"seed": "x"}, "seed=x"), ({"seed": True}, "seed=True"),
        ({"seed": 2**70}, "seed"),
        ({"warp": 1}, "warp=1"), ({"draws": [0, -1]}, "draws"), ({"draws": "01"}, "draws"), ({"song": ""}, "song"),
        ({"style_mode": "loud"}, "style_mode=loud"), ({"edits": {}}, "edits"), ({"new": 1}, "unknown key 'new'"),
        ({"edits": [{"name": "none"}]}, "edits[0].name=none"), ({"edits": [shift("much")]}, "edits[0].strength=much"),
        ({"edits": [shift(float("nan"))]}, "strength=nan"), ({"edits": [shift([[3, 1], [1, 0]])]}, "increasing"),
        ({"edits": [shift([])]}, "write [[seconds"), ({"edits": [{**shift(), "schedule": CURVE}]}, "schedule"),
        ({"edits": [{**shift(), "source": 3}]}, "source=3"), ({"edits": [shift()] * 17}, "at most 16"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_state_is_one_line(at: Any, changed: dict[str, Any], word: str) -> None:
    with pytest.raises(D2MError, match=r"\A[^\n]*\Z") as told:
        State.parse({**state(at), **changed})
    assert word in str(told.value)


@pytest.mark.parametrize(
    "values",
    [
        {}, {"edits": [shift(0.5)]}, {"edits": [shift(CURVE), shift(0.5, "flow", "groove")], "seed": 3},
        {"edits": [shift()], "warp": False}, {"edits": [shift()], "draws": [1, 2, 0], "style_mode": "local"},
    ],
)  # fmt: skip
def test_the_screen_shows_what_is_written_to_the_bit(session: Session, at: Any, values: dict[str, Any]) -> None:
    asked = State.parse({**state(at), **values})
    shown = session.show(asked)
    written = dance_of(session.dancer, asked)
    assert shown.poses.keys() == written.versions.poses.keys()
    for name, poses in written.versions.poses.items():
        np.testing.assert_array_equal(shown.poses[name], poses)
        np.testing.assert_array_equal(shown.unwarped[name], written.versions.unwarped[name])
    np.testing.assert_array_equal(shown.original.dance.versions.draws, written.versions.draws)


@pytest.fixture(scope="module")
def informed(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Any]:
    """A bundle with a motion classifier, latents of songs, and a direction in a file."""
    folder = tmp_path_factory.mktemp("informed")
    bundle = judged(tiny_bundle, folder / "judged" / "bundle")
    latents = write_latents(folder / "latents.npz", bundle)
    session, at = Session(str(bundle)), library(bundle, folder, latents=str(latents))
    edit = State.parse(state(at, {"name": "boundary", "source": "drive", "target": "flow", "latents": str(latents)}))
    save_direction_of(at.out, session, edit.edits[0])
    return session, at


EVERY_EDIT: dict[str, dict[str, Any]] = {
    "mean_shift": {"source": "drive", "target": "flow"},
    "boundary": {"source": "drive", "target": "flow", "latents": ""},
    "erasure": {"target": "flow", "latents": ""},
    "transport": {"source": "drive", "target": "flow", "latents": ""},
    "axes": {"axis": 1, "latents": "", "rows": "all"},
    "random": {"source": "drive", "target": "flow", "seed": 3, "latents": ""},
    "optimise": {"source": "drive", "target": "flow", "steps": 1},
    "file": {},
}


@pytest.mark.parametrize("strength", [0.8, CURVE], ids=["number", "curve"])
@pytest.mark.parametrize("kind", EVERY_EDIT)
def test_every_kind_of_edit_is_shown_as_it_is_written_to_the_bit(
    informed: tuple[Session, Any], kind: str, strength: Any
) -> None:
    session, at = informed
    edit: dict[str, Any] = {**EVERY_EDIT[kind], "strength": strength}
    edit |= {"file": at.fitted()[0]["path"]} if kind == "file" else {"name": kind}
    edit |= {"latents": at.latents} if "latents" in edit else {}
    asked = State.parse(state(at, edit, seed=1, song=at.songs()[1]))
    at.check(asked)
    shown, written = session.show(asked), dance_of(session.dancer, State.parse(json.loads(json.dumps(asked.plain()))))
    assert set(EVERY_EDIT) == {*EDITS, "file"} and list(shown.poses) == ["original", "neutral", "target"]
    for name, poses in written.versions.poses.items():
        np.testing.assert_array_equal(shown.poses[name], poses)
    assert np.abs(shown.poses["target"] - shown.poses["original"]).max() > 0


def test_one_edit_of_a_state_is_that_of_the_command_line(session: Session, at: Any, tiny_bundle: Path) -> None:
    asked = State.parse(state(at, shift(0.5), seed=2))
    plain = Dancer.load(tiny_bundle)(asked.song, seed=2, edit=MeanShift("drive", "flow"), strength=0.5)
    np.testing.assert_array_equal(dance_of(session.dancer, asked).poses, plain.poses)


def test_several_edits_are_the_sum_of_what_each_changes(session: Session, at: Any) -> None:
    def target(*edits: dict[str, Any]) -> np.ndarray:
        return dance_of(session.dancer, State.parse(state(at, *edits))).z_dan.astype(np.float64)

    base, a, b = target(shift(0.0)), target(shift(CURVE)), target(shift(0.7, "flow", "groove"))
    both = target(shift(CURVE), shift(0.7, "flow", "groove"))
    assert np.abs(b - base).max() > 0.1
    np.testing.assert_allclose(both - base, (a - base) + (b - base), atol=1e-5)
    np.testing.assert_allclose(target(shift(0.7, "flow", "groove"), shift(CURVE)), both, atol=1e-5)
    np.testing.assert_array_equal(target(shift(0.0), shift(0.0, "flow", "groove")), base)


def test_a_redrawn_segment_changes_from_there_on_and_keeps_the_other_draws(session: Session, at: Any) -> None:
    before = dance_of(session.dancer, State.parse(state(at, warp=False)))
    draws = before.versions.draws.tolist()
    draws[1] = (draws[1] + 1) % session.dancer.generator.max_draws
    after = dance_of(session.dancer, State.parse(state(at, warp=False, draws=draws)))
    assert after.versions.draws.tolist() == draws
    np.testing.assert_allclose(after.poses[:96], before.poses[:96], atol=1e-3)
    assert np.abs(after.poses[96:192] - before.poses[96:192]).max() > 1
    with pytest.raises(D2MError, match="draws: 99"):
        dance_of(session.dancer, State.parse(state(at, draws=[99])))


def test_a_provisional_picture_goes_on_from_the_last_pose_and_becomes_the_exact_one(session: Session, at: Any) -> None:
    session.show(State.parse(state(at, shift(0.0), warp=False)))
    asked = State.parse(state(at, shift([[6.4, 0], [6.5, 1]]), warp=False))
    found = session.provisional(asked, 8.0)
    assert found is not None
    first, poses = found
    exact = session.show(asked).poses["target"]
    # The strength is 0 in the segment before, so that what the picture goes on from is right already.
    assert first == 96
    np.testing.assert_allclose(poses, exact[first : first + len(poses)], atol=1e-3)
    assert session.provisional(State.parse(state(at)), 8.0) is None


def test_infer_writes_the_dance_of_a_state(session: Session, at: Any, tmp_path: Path) -> None:
    asked = State.parse(state(at, shift(CURVE), shift(0.3, "flow", "groove"), seed=5))
    asked.write(tmp_path / "my state.json")
    done = called(
        "infer", f"state={tmp_path / 'my state.json'}", f"out={tmp_path / 'out'}", "video=false", "export=[csv]"
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.csv", "a.json", "a.npz"]
    with np.load(tmp_path / "out" / "a.npz") as file:
        for key, version in (("poses", "target"), ("poses_original", "original"), ("poses_neutral", "neutral")):
            np.testing.assert_array_equal(file[key], session.show(asked).poses[version])
    facts = json.loads((tmp_path / "out" / "a.json").read_text())
    assert facts["edit"]["name"] == "combined" and facts["edit"]["schedule"] == [CURVE, 0.3]


@pytest.mark.parametrize("formats", ["bvh", "[csv,gltf]"])
def test_export_of_a_studio_is_a_page_and_says_who_writes_files(formats: str) -> None:
    done = called("studio", f"export={formats}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"d2m infer state=FILE export=[{formats.strip('[]')}]" in done.stderr


@pytest.mark.parametrize("key", ["bundle", "directions", "music", "runs"])
def test_a_refused_studio_leaves_nothing_behind(at: Any, tmp_path: Path, key: str) -> None:
    given = {"bundle": at.bundles[0], "music": at.music, "directions": None, "runs": None, key: "nope"}
    done = called("studio", *(f"{k}={v or 'null'}" for k, v in given.items()), f"out={tmp_path / 'out'}")
    assert done.returncode == 2 and "nope" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", ["warp=false", "edit=mean_shift"])
def test_a_key_beside_a_state_that_says_it_is_refused(at: Any, tmp_path: Path, extra: str) -> None:
    State.parse(state(at)).write(tmp_path / "s.json")
    done = called("infer", f"state={tmp_path / 's.json'}", f"out={tmp_path / 'out'}", extra)
    assert done.returncode == 2 and "state file says" in done.stderr
    assert not (tmp_path / "out").exists()
