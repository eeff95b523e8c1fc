"""The participants' folder reveals no conditions, the key reveals all, and failures leave no partial output."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from d2m.blind.build import INTRO, Look, Page, build
from d2m.blind.design import Plan
from d2m.blind.key import Key
from d2m.blind.material import asked_genres, read_manifest, read_results
from d2m.core.errors import D2MError
from d2m.draw.video import probe, render_dance
from tests.blind_study import LOOK, PLAN, SONGS, SYSTEMS, clips, write_dances, write_study
from tests.commands import d2m
from tests.figures import star, swaying

#: In the middle of a file, where a name could only be by intent.
Files = dict[str, bytes]


def contents(folder: Path) -> Files:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blind") / "dances"
    write_dances(root)
    return root


@pytest.fixture(scope="module")
def key(root: Path) -> Key:
    return write_study(root)


@pytest.fixture(scope="module")
def study(root: Path, key: Key) -> Path:
    return root.parent / "study"


def page_data(study: Path) -> Any:
    text = (study / "study.js").read_text()
    return json.loads(text.removeprefix("const STUDY = ").removesuffix(";\n"))


def test_no_name_of_a_system_or_song_is_in_any_byte(study: Path) -> None:
    for name, data in contents(study).items():
        for word in (*SYSTEMS, *SONGS, "songof", "model", str(study.parent)):
            assert word.encode() not in data and word not in name, (name, word)


def test_genres_are_named_as_choices_only(study: Path, root: Path) -> None:
    data = page_data(study)
    assert {g for slot in data["slots"] for g in slot.pop("options")} == set(SONGS.values())
    assert not any(g in json.dumps(data) for g in SONGS.values())
    assert not any(g.encode() in b for n, b in contents(study).items() if n != "study.js" for g in SONGS.values())
    write_study(root, "without", Plan(2, 2, 0, 0, 0))
    assert not any(g.encode() in b for b in contents(root.parent / "without").values() for g in SONGS.values())


def test_the_page_knows_neither_the_secret_nor_which_trials_check(study: Path, key: Key) -> None:
    data = page_data(study)
    assert set(data) == {"study", "title", "intro", "question", "seconds", "watch", "slots"}
    assert all(set(t) == {"shown"} for slot in data["slots"] for t in slot["trials"])
    for data in contents(study).values():
        assert key.secret.hex().encode() not in data and key.secret not in data
    for word in (b"frozen", b"check", b"repeat"):
        assert word not in (study / "study.js").read_bytes()


def test_videos_are_alike_in_all_but_what_they_show(study: Path, key: Key) -> None:
    videos = sorted((study / "media").iterdir())
    assert {v.stem for v in videos} == set(key.videos) and all(re.fullmatch(r"[0-9a-f]{24}", v.stem) for v in videos)
    assert len({v.stat().st_size for v in videos}) == 1
    assert len({v.read_bytes() for v in videos}) == len(videos)
    assert len({probe(v) for v in videos}) == 1
    info = probe(videos[0])
    assert (info.width, info.height, info.video_codec, info.audio_codec) == (64, 64, "h264", "aac")
    assert info.n_frames == 30 and info.seconds == pytest.approx(1, abs=0.05)
    for video in videos:
        with av.open(str(video)) as f:
            assert set(f.metadata) <= {"major_brand", "minor_version", "compatible_brands"}
            assert all(set(s.metadata) <= {"language", "handler_name"} for s in f.streams)
        assert b"Lavf" not in video.read_bytes()


def test_all_files_have_one_time_and_one_mode(study: Path) -> None:
    paths = [study, *study.rglob("*")]
    assert len({p.stat().st_mtime_ns for p in paths}) == 1
    assert len({p.stat().st_mode for p in paths if p.is_file()}) == 1


def test_the_sound_of_a_song_is_the_same_with_every_system(study: Path, key: Key) -> None:
    heard: dict[str, set[bytes]] = {}
    for name, row in key.videos.items():
        with av.open(str(study / "media" / f"{name}.mp4")) as f:
            packets = b"".join(bytes(p) for p in f.demux(audio=0))
        heard.setdefault(row["song"], set()).add(packets)
    assert [len(v) for v in heard.values()] == [1, 1] and not set.intersection(*heard.values())


def test_a_frozen_dance_stands_still_and_the_others_do_not(study: Path, key: Key) -> None:
    moving = {True: [], False: []}
    for name, row in key.videos.items():
        with av.open(str(study / "media" / f"{name}.mp4")) as f:
            frames = np.stack([x.to_ndarray(format="gray") for x in f.decode(video=0)]).astype(float)
        moving[row["frozen"]].append(np.abs(frames[5:] - frames[:-5]).mean())
    assert len(moving[True]) == 1 and len(moving[False]) == 6
    assert max(moving[True]) < 0.3 * min(moving[False])


def test_the_key_rebuilds_the_folder_to_the_byte_and_another_secret_does_not(root: Path, key: Key) -> None:
    before = contents(root.parent / "study")
    shutil.move(root.parent / "study", root.parent / "moved")
    again = write_study(root)
    assert again == key and contents(root.parent / "study") == before
    shutil.rmtree(root.parent / "moved")
    other = write_study(root, "other")
    assert other.study != key.study and not set(other.videos) & set(key.videos)
    assert page_data(root.parent / "other")["slots"] != page_data(root.parent / "study")["slots"]


def test_a_seed_locks_the_assignment(root: Path, key: Key) -> None:
    """Under one secret: the same seed gives the same slots, another seed others."""
    from d2m.blind.design import deal
    from d2m.blind.key import generator

    def dealt(secret: bytes, seed: int) -> Any:
        return deal(3, 2, [0, 1, 2], 2, PLAN, generator(secret, seed))

    assert dealt(key.secret, 0) == dealt(key.secret, 0)
    assert dealt(key.secret, 1) != dealt(key.secret, 0) != dealt(bytes(32), 0)


def test_the_key_is_read_as_it_was_written(root: Path, key: Key, study: Path) -> None:
    assert Key.read(root.parent / "study-key.json") == key
    assert key.systems == sorted(SYSTEMS) and len(key.slots) == PLAN.participants
    shown = {v for slot in key.slots for _, names in slot for v in names}
    assert shown == set(key.videos)
    told = [[t["shown"] for t in slot["trials"]] for slot in page_data(study)["slots"]]
    assert told == [[list(names) for _, names in slot] for slot in key.slots]


def test_a_question_of_a_genre_names_the_one_that_edits_went_to(tmp_path: Path) -> None:
    root = tmp_path / "dances"
    folder = root / "edits"
    folder.mkdir(parents=True)
    for song in SONGS:
        poses = swaying(30).astype(np.float32)
        versions = {"poses_original": poses, "poses_neutral": poses[::-1], "poses": poses + 1}
        np.savez(folder / f"{song}.npz", fps=15, **versions)
        edit = {"source": SONGS[song], "target": "tango"}
        (folder / f"{song}.json").write_text(json.dumps({"edit": edit, "song_sha256": song}))
    found = read_results(root, ("edits:original", "edits:target", "edits:neutral"), {})
    assert {(c.system, c.genre) for c in found if c.song == "songofday"} == {
        ("edits:original", "foxtrot"), ("edits:target", "tango"), ("edits:neutral", None),
    }  # fmt: skip
    assert asked_genres(found) == dict.fromkeys(SONGS, "tango")
    look, page = Look(**{**LOOK.__dict__, "sound": False}), Page(question="genre")
    key = build(found, tmp_path / "study", None, Plan(2, 4, 0, 0, 4), page, look, 0)
    trials = page_data(tmp_path / "study")["slots"][0]["trials"]
    assert {t.get("genre") for t in trials} == {"tango", None}
    guessed = {key.videos[n]["system"] for slot in key.slots for kind, s in slot if kind == "genre" for n in s}
    assert guessed == {"edits:original", "edits:target"}
    assert probe(next((tmp_path / "study/media").iterdir())).audio_codec is None


def test_anybodys_videos_from_a_manifest(tmp_path: Path) -> None:
    rows = []
    for k, system in enumerate(("ours", "theirs")):
        poses, path = swaying(30, k), tmp_path / f"{system}.mp4"
        render_dance(path, [poses], [system], audio=np.zeros(44100), size=(96, 64), seconds=2.0)
        rows.append({"system": system, "song": "one", "genre": "waltz", "video": path.name})
    with open(tmp_path / "videos.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    words = ("size=64", "seconds=1", "genre_trials=0", "question=Which is better?", "participants=3")
    d2m("blind", "build", f"manifest={tmp_path / 'videos.csv'}", f"out={tmp_path / 'study'}", *words)
    assert len(list((tmp_path / "study/media").iterdir())) == 4  # two dances, and two held still
    data = page_data(tmp_path / "study")
    assert data["question"] == "Which is better?" and data["intro"] == INTRO.split("\n\n")
    (tmp_path / "ours.mp4").unlink()
    with pytest.raises(D2MError, match="no such video"):
        read_manifest(tmp_path / "videos.csv")


def npz(root: Path, name: str, **arrays: Any) -> None:
    np.savez(root / name, **{"poses": star(30), "fps": 15, **arrays})


#: What is done to a copy of the dances -> a word of the refusal.
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a song is missing": (lambda r: (r / "betamodel/songofday.npz").unlink(), "betamodel has no dance to 'songofday'"),
    "too short": (lambda r: npz(r, "betamodel/songofday.npz", poses=star(9)), "lasts 0.6 s"),
    "another shape": (lambda r: npz(r, "betamodel/songofday.npz", poses=np.zeros((30, 5, 2))), "14, 2"),
    "no array": (lambda r: (r / "betamodel/songofday.npz").write_text("x"), "no poses"),
    "no folder": (lambda r: shutil.rmtree(r), "no such folder"),
    "no sound": (lambda r: shutil.rmtree(r.parent / "music"), "no sound file named"),
    "facts": (lambda r: (r / "betamodel/songofday.json").write_text("["), "not readable as the facts"),
    "another song": (
        lambda r: [(r / f"{s}/songofday.json").write_text(json.dumps({"song_sha256": s})) for s in SYSTEMS],
        "different files",
    ),
    "one has no poses": (
        lambda r: (r / "betamodel/songofday.npz").rename(r / "betamodel/songofday.mp4"),
        "has no npz of poses and others have one",
    ),
    "occupied": (lambda r: (r.parent / "study").mkdir() or (r.parent / "study/x").touch(), "not empty"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_material_that_cannot_be_shown_is_one_line_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    root = tmp_path / "dances"
    write_dances(root)
    act, word = BROKEN[fault]
    act(root)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(D2MError, match=word) as e:
        write_study(root)
    assert "\n" not in str(e.value) and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"look": Look(seconds=0)}, "seconds=0"),
        ({"look": Look(size=65)}, "size=65"),
        ({"look": Look(start=-1)}, "start=-1"),
        ({"look": Look(draw="oil")}, "draw=oil"),
        ({"look": Look(seconds=1, size=64, draw="video")}, "has no mp4"),
        ({"look": Look(seconds=1, size=64)}, "no video of it has sound"),
        ({"page": Page(watch=2)}, "watch=2"),
        ({"page": Page(question=" ")}, "question="),
        ({"page": Page(question="genre"), "genres": {}}, "no single genre"),
        ({"genres": {"songofday": "foxtrot"}, "plan": PLAN}, "genre is not known"),
        ({"genres": dict.fromkeys(SONGS, "foxtrot"), "plan": PLAN}, "nothing to guess"),
        ({"key": "study/key.json"}, "keep it elsewhere"),
        ({"key": "foreign.json"}, "not a study's key"),
        ({"key": "study-key.json"}, "another study"),
        (
            {"key": "study-key.json", "plan": PLAN, "genres": {"songofday": "tango", "songofnight": "jive"}},
            "another study",
        ),
    ],
)
def test_requests_that_cannot_be_met_are_one_line(
    root: Path, key: Key, tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    (tmp_path / "foreign.json").write_text("{}")
    shutil.copy(root.parent / "study-key.json", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    a = {"plan": Plan(2, 2, 0, 0, 0), "page": Page(), "look": LOOK, "genres": SONGS, "key": None} | change
    if a["look"] is LOOK:
        a["look"] = Look(**{**LOOK.__dict__, "music": root.parent / "music"})
    with pytest.raises(D2MError, match=re.escape(word)) as e:
        key_file = None if a["key"] is None else tmp_path / a["key"]
        found = read_results(root, (), a["genres"])
        build(found, tmp_path / ("study" if a["key"] else "new"), key_file, a["plan"], a["page"], a["look"], 0)
    assert "\n" not in str(e.value) and sorted(tmp_path.rglob("*")) == before


def test_a_failure_midway_leaves_no_folder_and_no_key(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("d2m.blind.build.level", full)
    look = Look(**{**LOOK.__dict__, "music": root.parent / "music"})
    with pytest.raises(D2MError, match="No space left"):
        build(clips(root), tmp_path / "study", None, PLAN, Page(), look, 0)
    assert not list(tmp_path.iterdir())


def test_systems_and_versions_that_are_not_there_are_named(root: Path) -> None:
    for system, word in (("deltamodel", "deltamodel is not a folder"), ("alphamodel:best", "no version 'best'")):
        with pytest.raises(D2MError, match=word):
            read_results(root, (system,), {})
