"""Preparing: what is kept, what is refused and why, that it is repeatable, and what the corpus then holds."""

from __future__ import annotations

import errno
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import read_manifest_rows, tree, write_manifest, write_pose, write_raw

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE
from d2m.data.corpus import Corpus
from d2m.data.manifest import read_manifest
from d2m.prepare import parts as parts_module
from d2m.prepare.discover import find_recordings
from d2m.prepare.plan import SplitOptions
from d2m.prepare.process import Options, process
from d2m.prepare.run import merge, prepare, prepare_into

OPTIONS = Options(yaws=(0.0, 90.0))
NAMES = {"a": "groove", "b": "groove", "c": "groove", "d": "flow", "e": "flow", "f": "flow"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), NAMES)


@pytest.fixture(scope="module")
def out(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "corpus"
    assert run(folder, raw) == 6
    return folder


def run(folder: Path, raw: Path, **options: object) -> int:
    return prepare_into(folder, raw, OPTIONS, SplitOptions(), **{"workers": 1, **options})  # type: ignore[arg-type]


@pytest.fixture
def mine(raw: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(raw, tmp_path / "raw"))


# --- what a corpus holds ---------------------------------------------------------------------------------------


def test_every_recording_is_named_with_what_became_of_it(out: Path) -> None:
    report = json.loads((out / "corpus.json").read_text())
    assert [(r["name"], r["kept"]) for r in report["recordings"]] == [(n, True) for n in NAMES]
    assert report["left_out"] == []
    for genre, row in report["table"].items():
        assert row["recordings"] == 3 == row["train"] + row["val"] + row["test"], genre
        assert row["hours"] == pytest.approx(3 * 12 / 3600, abs=1e-4)
        assert row["units"] > 0 and row["music_beats"] > 30 and row["onsets"] > 30 and row["motion_beats"] > 20
    card = (out / "DATA.md").read_text()
    assert "| made | 6 |" in card and "groove" in card


def test_recordings_beats_and_onsets_come_back(out: Path, raw: Path) -> None:
    corpus = Corpus.open(out)
    assert [r.name for r in corpus.recordings] == list(NAMES) and corpus.recordings[-1].name == "f"
    assert [r.name for r in corpus.recordings[1:3]] == ["b", "c"]
    for i in range(6):
        direct = process(read_manifest(raw)[i], OPTIONS)
        np.testing.assert_array_equal(corpus.song_beats(i), direct.beats)
        first, n = corpus.onset_bounds[i]
        np.testing.assert_array_equal(corpus.onsets[first : first + n], direct.onsets)
        np.testing.assert_array_equal(corpus.song_features(i), direct.features)
        assert len(corpus.song_features(i)) == 12 * FPS  # the whole span, not a window of it
        assert corpus.audio_path(i) == raw / "audio" / f"{list(NAMES)[i]}.flac"
        mine = corpus.unit_recording == i
        np.testing.assert_array_equal(corpus.units[mine], direct.units.reshape(-1, 32, 28))
    assert corpus.n_views(0) == 2 and corpus.song_poses(0, 1).shape == (180, 14, 2)


def test_features_over_the_whole_span_of_a_sequence(out: Path) -> None:
    from d2m.data.sampling import Items
    from d2m.data.spans import span_rows, unit_frame_times

    corpus = Corpus.open(out)
    starts = np.concatenate([corpus.sequence_starts(s) for s in ("train", "val", "test")])
    for start in starts[:5]:
        span = corpus.span_features(int(start))
        begin, end = corpus.unit_span[start, 0], corpus.unit_span[start + 2, 1]
        assert len(span) == pytest.approx((end - begin) * FPS, abs=1.5)
        song = corpus.song_features(int(corpus.unit_recording[start]))
        np.testing.assert_array_equal(span[0], song[int(np.ceil(begin * FPS - 1e-6))])
    rows = span_rows(corpus, starts)
    assert rows.shape == (len(starts), 96) and (np.diff(rows, axis=1) >= 0).all()
    times = unit_frame_times(corpus.unit_span[starts], corpus.unit_beats[starts])
    np.testing.assert_allclose(times[:, [3, 11, 19, 27]], corpus.unit_beats[starts])
    first = corpus.feature_bounds[corpus.unit_recording[starts], 0]
    beat_row = first + np.floor(corpus.unit_beats[starts, 0] * FPS + 0.5).astype(int)
    np.testing.assert_array_equal(rows[:, 3], beat_row)
    items = Items(corpus, "sequences", "train", span_features=True)
    batch = items.read(np.arange(4), np.random.default_rng(0), (0, 0), centred=True)
    assert batch["span_features"].shape == (4, 96, 188) and batch["features"].shape == (4, 30, 188)


# --- repeatable --------------------------------------------------------------------------------------------------


def test_a_second_run_writes_nothing(out: Path, raw: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.suffix != ".log"}
    assert run(out, raw) == 6
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.suffix != ".log"}


def test_the_same_bytes_elsewhere_with_workers_and_nothing_of_the_machine(out: Path, raw: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(raw, tmp_path / "deep" / "other name"))
    again = tmp_path / "again" / "here" / "o"
    run(again, moved, workers=2)
    assert tree(again) == tree(out)
    for name, content in tree(again).items():
        assert str(tmp_path).encode() not in content and b"other name" not in content, name


def test_shards_merge_to_the_same_bytes(out: Path, raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    with pytest.raises(D2MError, match="no shards"):
        merge(folder)
    assert run(folder, raw, shard="2/3") == 2
    with pytest.raises(D2MError, match="prepar"):
        Corpus.open(folder)
    assert run(folder, raw, shard="0/3") == 2
    with pytest.raises(D2MError, match="shard 1/3 has not finished"):
        merge(folder)
    run(folder, raw, shard="1/3")
    merge(folder)
    assert tree(folder) == tree(out)
    run(folder, raw, shard="1/3")
    merge(folder)
    assert run(folder, raw) == 6
    assert tree(folder) == tree(out)


@pytest.mark.parametrize("shard", ["8/8", "1", "a/b", "-1/2", "0/0"])
def test_bad_shards(raw: Path, tmp_path: Path, shard: str) -> None:
    with pytest.raises(D2MError, match="shard="):
        run(tmp_path / "o", raw, shard=shard)


def test_a_new_recording_costs_itself_only(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_manifest_rows(mine)
    write_manifest(mine, rows[:5])
    assert run(tmp_path / "o", mine) == 5
    write_manifest(mine, rows)
    made: list[str] = []
    real = parts_module.process
    monkeypatch.setattr(parts_module, "process", lambda r, o: (made.append(r.name), real(r, o))[1])
    assert run(tmp_path / "o", mine) == 6 and made == ["f"]
    write_manifest(mine, rows[:5])  # and what is gone goes
    run(tmp_path / "o", mine)
    assert made == ["f"] and len(list((tmp_path / "o/parts").rglob("*.npz"))) == 5


def test_a_changed_file_is_seen_and_a_damaged_part_is_made_again(mine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    run(folder, mine)
    clean = tree(folder)
    shutil.copy(mine / "audio/a.flac", mine / "audio/b.flac")
    run(folder, mine)
    changed = tree(folder)
    assert changed["beats.npy"] != clean["beats.npy"]
    part = next((folder / "parts").rglob("*.npz"))
    part.write_bytes(part.read_bytes()[:-500])
    (folder / "corpus.json").unlink()
    run(folder, mine)
    assert tree(folder) == changed


def test_prepare_names_its_folder_by_content(raw: Path, tmp_path: Path) -> None:
    one = prepare(raw, tmp_path, yaws=[0], workers=1)
    assert one == prepare(raw, tmp_path, yaws=[0], workers=1)
    copy = shutil.copytree(raw, tmp_path / "copy")
    assert prepare(copy, tmp_path, yaws=[0], workers=1) == one
    assert prepare(raw, tmp_path, yaws=[0], seed=1, workers=1) != one


# --- broken recordings -------------------------------------------------------------------------------------------


def break_it(raw: Path, how: str) -> None:
    pose, song = raw / "pose3d/a.npz", raw / "audio/a.flac"
    joints = np.load(pose)["joints"]
    if how == "empty audio":
        song.write_bytes(b"")
    elif how == "corrupt mp3":
        rows = read_manifest_rows(raw)
        rows[0]["audio"] = "audio/a.mp3"
        write_manifest(raw, rows)
        (raw / "audio/a.mp3").write_bytes(b"\xff\xfb\x90\x00" + b"\x13junk" * 4000)
    elif how == "empty pose":
        pose.write_bytes(b"")
    elif how == "missing pose":
        pose.unlink()
    elif how == "nan":
        write_pose(pose, np.full_like(joints, np.nan))
    elif how == "no dancer":
        write_pose(pose, np.zeros_like(joints))
    elif how == "0.3 s":
        write_pose(pose, joints[:5])
    elif how == "silent":
        soundfile.write(song, np.zeros(12 * SAMPLE_RATE), SAMPLE_RATE, format="FLAC")
    elif how == "sample count":
        wave, _ = soundfile.read(song)
        soundfile.write(song, wave[: 6 * SAMPLE_RATE], SAMPLE_RATE, format="FLAC")


BROKEN = {
    "empty audio": "empty", "corrupt mp3": "corrupt", "empty pose": "a.npz", "missing pose": "no such file",
    "nan": "no dancer", "no dancer": "dancer", "0.3 s": "short", "silent": "silent",
    "sample count": "12.0 s of motion but 6.0 s of music",
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_recording_is_left_out_with_its_reason(mine: Path, tmp_path: Path, how: str) -> None:
    break_it(mine, how)
    folder = tmp_path / "o"
    assert run(folder, mine) == 5
    report = json.loads((folder / "corpus.json").read_text())
    (refused,) = report["left_out"]
    assert refused["name"] == "a" and BROKEN[how] in refused["reason"] and str(tmp_path) not in refused["reason"]
    assert report["table"]["groove"]["rejected"] == 1
    assert [r["kept"] for r in report["recordings"]].count(False) == 1
    before = tree(folder)
    with pytest.raises(D2MError, match="strict=true: recording 'a'") as e:
        run(folder, mine, strict=True)
    assert "\n" not in str(e.value)
    assert run(folder, mine) == 5 and tree(folder) == before


def test_each_broken_recording_has_the_reason_that_names_its_own_files(mine: Path, tmp_path: Path) -> None:
    rows = read_manifest_rows(mine)
    for row, pose in zip(rows, ("gone1.npz", "gone2.npz", "empty1.npz", "empty2.npz"), strict=False):
        row |= {"pose": pose, "audio": ""}
        if pose.startswith("empty"):
            (mine / pose).write_bytes(b"")
    write_manifest(mine, rows)
    run(tmp_path / "o", mine)
    refused = json.loads((tmp_path / "o/corpus.json").read_text())["left_out"]
    assert [r["reason"].split(":")[0] for r in refused] == ["gone1.npz", "gone2.npz", "empty1.npz", "empty2.npz"]
    for number in (1, 0):
        prepare_into(tmp_path / "s", mine, OPTIONS, SplitOptions(), 1, f"{number}/2")
    merge(tmp_path / "s")
    assert tree(tmp_path / "s") == tree(tmp_path / "o")


def test_nothing_usable_is_an_error(mine: Path, tmp_path: Path) -> None:
    write_manifest(mine, read_manifest_rows(mine)[:1])
    break_it(mine, "nan")
    with pytest.raises(D2MError, match="no usable recordings"):
        run(tmp_path / "o", mine)
    assert not (tmp_path / "o/corpus.json").exists()


def test_an_excerpt(mine: Path, tmp_path: Path) -> None:
    rows = read_manifest_rows(mine)
    rows[0] |= {"start": "2", "end": "9"}
    write_manifest(mine, rows)
    run(tmp_path / "o", mine)
    corpus = Corpus.open(tmp_path / "o")
    assert len(corpus.song_features(0)) == 7 * FPS == len(corpus.song_poses(0))
    assert corpus.recordings[0].start_s == 2.0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("where", ["part", "corpus"])
def test_no_room_is_one_line_and_nothing_half(
    raw: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    folder = tmp_path / "o"
    real = Path.write_bytes
    calls = iter(range(1000))

    def full(self: Path, data: bytes) -> int:
        if next(calls) < 2:
            return real(self, data)
        real(self, data[: len(data) // 2])
        raise OSError(number, "No space left on device" if number == errno.ENOSPC else "Permission denied")

    from d2m.prepare import writer

    def no_append(self: object, rows: object) -> None:
        raise OSError(number, "No space left on device" if number == errno.ENOSPC else "Permission denied")

    with monkeypatch.context() as patch:
        if where == "part":
            patch.setattr(Path, "write_bytes", full)
        else:
            patch.setattr(writer.ArrayWriter, "append", no_append)
        with pytest.raises(D2MError, match=r"cannot write .*(No space|Permission)") as e:
            run(folder, raw)
    assert "\n" not in str(e.value) and not (folder / "corpus.json").exists()
    with pytest.raises(D2MError):
        Corpus.open(folder)
    assert run(folder, raw) == 6 and tree(folder) == tree(out)


def test_a_folder_that_cannot_be_made(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(D2MError, match="cannot write"):
        run(tmp_path / "file" / "o", raw)


# --- without a manifest --------------------------------------------------------------------------------------------


def test_genre_folders(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", {"a": "groove", "b": "flow"}, manifest=False)
    write_pose(raw / "flow/pose/c.npz", np.load(raw / "flow/b.npz")["joints"])  # no music
    shutil.copy(raw / "flow/b.flac", raw / "flow/alone.flac")
    assert run(tmp_path / "o", raw) == 3
    corpus = Corpus.open(tmp_path / "o")
    assert {r.name: (r.genre, r.audio) for r in corpus.recordings} == {
        "a": ("groove", "groove/a.flac"), "b": ("flow", "flow/b.flac"), "c": ("flow", ""),
    }  # fmt: skip
    (left,) = corpus.report["left_out"]
    assert left["name"] == "flow/alone.flac" and "without poses" in left["reason"]


def test_out_within_raw_is_not_read_as_recordings(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", {"a": "groove"}, manifest=False)
    assert run(raw / "prepared", raw) == 1
    before = tree(raw)
    assert run(raw / "prepared", raw) == 1 and tree(raw) == before
    assert Corpus.open(raw / "prepared").report["left_out"] == []


def test_folders_of_other_files_are_left_alone(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "home"
    for name in ("parts/ab/photo", "shards/photo", "index.json"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text("mine")
    before = tree(other)
    for shard in (None, "0/2"):
        with pytest.raises(D2MError, match="home: contains other files"):
            prepare_into(other, raw, Options(), SplitOptions(), 1, shard)
        with pytest.raises(D2MError, match="is the raw recordings' own folder"):
            prepare_into(raw, raw, Options(), SplitOptions(), 1, shard)
    assert tree(other) == before


def test_files_without_folder_say_their_genre_themselves(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "x", {"a": "groove"})
    joints = np.load(raw / "pose3d/a.npz")["joints"]
    write_pose(tmp_path / "flat/one.npz", joints, genre="salsa")
    write_pose(tmp_path / "flat/two.npz", joints)
    run(tmp_path / "o", tmp_path / "flat")
    assert {r.name: r.genre for r in Corpus.open(tmp_path / "o").recordings} == {"one": "salsa", "two": "flat"}
    with pytest.raises(D2MError, match="not a recording in"):
        run(tmp_path / "p", tmp_path / "flat", groups={"pair": ["one", "three"]})
    with pytest.raises(D2MError, match=r"neither a manifest.csv nor any \*.npz"):
        run(tmp_path / "p", tmp_path / "x" / "audio")
    with pytest.raises(D2MError, match="no such folder"):
        run(tmp_path / "p", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "options",
    [{"source": "fax"}, {"front_end": "x"}, {"beats": "x"}, {"yaws": ()}, {"camera": "x"}, {"max_gap_s": -1.0}],
)
def test_unknown_options(options: dict) -> None:
    with pytest.raises(D2MError):
        Options(**options)


@pytest.mark.parametrize(
    "clean, told",
    [
        ({"foo": 1}, r"clean\.foo: no such option; choose from min_confidence, .*max_filled"),
        ({"max_filled": "much"}, "clean.max_filled=much: give a number"),
        ({"normalise": 1}, "clean.normalise=1: give true or false"),
        ({"smoothing": "butter"}, "smoothing=butter: choose from auto"),
        ({"name": "x"}, r"clean\.name: no such option"),
    ],
)
def test_options_of_cleaning_are_checked_once_before_the_work(
    raw: Path, tmp_path: Path, clean: dict, told: str
) -> None:
    with pytest.raises(D2MError, match=told) as e:
        prepare(raw, tmp_path / "o", clean=clean, workers=1)
    assert "\n" not in str(e.value) and not (tmp_path / "o").exists()


def test_finding_recordings_is_linear_in_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting every name among all others took 6 s for 20,000 and 22 minutes for 360,000 of them."""
    n = 20_000
    files = [tmp_path / "salsa" / f"{i}.npz" for i in range(n - 1)] + [tmp_path / "tango" / "0.npz"]
    monkeypatch.setattr("d2m.prepare.discover.walk_files", lambda root, skip: files)
    began = time.process_time()
    found = find_recordings(tmp_path, "npz").recordings
    took = time.process_time() - began
    names = {r.name for r in found}
    assert len(names) == n and {"salsa/0", "tango/0", "1"} <= names and took < 4.0


def test_beat_this_needs_its_checkpoint(raw: Path) -> None:
    with pytest.raises(D2MError, match="beats_checkpoint"):
        process(read_manifest(raw)[0], Options(beats="beat_this"))


def test_2d_motion_does_not_depend_on_the_cameras_distance(raw: Path, tmp_path: Path) -> None:
    from d2m.data.manifest import Recording
    from d2m.motion.camera import centre, project

    joints = np.load(raw / "pose3d/a.npz")["joints"]
    picture = project(centre(joints), [0])[0]
    far = process(Recording("a", "g", None, write_pose(tmp_path / "far.npz", picture * 0.5 + 300), "a"), OPTIONS)
    near = process(Recording("a", "g", None, write_pose(tmp_path / "near.npz", picture * 3.0 - 70), "a"), OPTIONS)
    np.testing.assert_allclose(far.poses, near.poses, atol=0.02)
    np.testing.assert_allclose(far.unit_beats, near.unit_beats, atol=0.05)
    assert far.poses.shape[0] == 1


def test_progress_on_a_terminal_only(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for shown in (False, True):
        if shown:
            monkeypatch.setenv("FORCE_COLOR", "1")
        run(tmp_path / f"o{shown}", raw)
        err = capsys.readouterr().err
        assert ("6/6" in err and "ETA" in err and "preparing" in err) if shown else err == ""
