"""infer.py as a user calls it: outputs, edits, odd names, and all user errors.

One call is a process of its own; what can be wrong is the same in the test's.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from d2m.core.skeleton import JOINTS, SAMPLE_RATE
from d2m.draw.video import probe
from tests.commands import called

from .conftest import assert_one_line, call


@pytest.fixture(scope="module")
def songs(a_song: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good song of an awkward name and length, a corrupt one, and a text file."""
    folder = tmp_path_factory.mktemp("my songs [a=b] & (c)")
    wave, rate = soundfile.read(a_song)
    soundfile.write(folder / "it's (live) [2] a=b & c.wav", wave[: int(4.21 * rate)], rate)
    (folder / "broken.mp3").write_bytes(b"this is no sound" * 100)
    (folder / "notes.txt").write_text("ignored")
    return folder


def test_a_folder_is_danced_to_and_the_bad_song_is_named(tiny_run: Path, songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out {x}"
    done = call("infer.py", f"bundle={tiny_run / 'bundle'}", f"music={songs}", f"out={out}", "seed=3", "seed=5")
    assert_one_line(done, "1 of 2 dances", "broken.mp3")
    name = "it's (live) [2] a=b & c"
    assert sorted(p.name for p in out.iterdir()) == [f"{name}.json", f"{name}.mp4", f"{name}.npz"]
    song = songs / f"{name}.wav"
    seconds = soundfile.info(song).duration
    with np.load(out / f"{name}.npz") as f:
        assert set(f.files) == {"poses", "fps", "joint_names", "music_beats", "dance_beats", "z_dan", "seed"}
        assert f["poses"].shape == (round(seconds * 15), 14, 2) and f["poses"].dtype == np.float32
        assert np.isfinite(f["poses"]).all() and f["z_dan"].shape[1] == 32
        assert f["seed"] == 5 and f["fps"] == 15 and tuple(f["joint_names"]) == JOINTS
        assert (np.diff(f["dance_beats"]) > 0).all() and f["dance_beats"].max() <= seconds
    info = probe(out / f"{name}.mp4")
    assert info.video_codec == "h264" and info.audio_codec is not None
    assert abs(info.video_seconds - seconds) <= 1 / info.fps + 1e-3
    facts = json.loads((out / f"{name}.json").read_text())
    assert facts["seed"] == 5 and facts["song"] == song.name and len(facts["bundle_weights_sha256"]) == 64


def test_songs_dance_the_same_on_two_processes_and_in_one_batch(
    tiny_run: Path, songs: Path, a_song: Path, tmp_path: Path
) -> None:
    """Three songs in batches of two, the third one broken; every process writes its own."""
    shutil.copytree(songs, tmp_path / "songs")
    wave, rate = soundfile.read(a_song)
    soundfile.write(tmp_path / "songs" / "second.wav", wave[: 3 * rate], rate)
    words = [f"bundle={tiny_run / 'bundle'}", f"music={tmp_path / 'songs'}", "video=false", "batch=2"]
    for name, more in (("one", []), ("two", ["devices=2"])):
        done = called("infer", *words, f"out={tmp_path / name}", *more)
        assert_one_line(done, "2 of 3 dances", "broken.mp3")
    files = sorted((tmp_path / "one").glob("*.npz"))
    assert len(files) == 2 and len(list((tmp_path / "two").iterdir())) == 4
    for path in files:
        with np.load(path) as one, np.load(tmp_path / "two" / path.name) as two:
            assert all(np.array_equal(one[k], two[k]) for k in one.files)


@pytest.fixture(scope="module")
def short(songs: Path) -> Path:
    return next(songs.glob("*.wav"))


def test_an_edit_shows_three_dances_and_strength_zero_one(tiny_run: Path, short: Path, tmp_path: Path) -> None:
    bundle, edit = f"bundle={tiny_run / 'bundle'}", ["edit=mean_shift", "edit.source=drive", "edit.target=flow"]
    for name, strength in (("one", 1.0), ("zero", 0)):
        out = tmp_path / name
        done = called(
            "infer", bundle, f"music={short}", f"out={out}", *edit, f"edit.strength={strength}",
            f"video={'true' if name == 'one' else 'false'}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert probe(tmp_path / "one" / f"{short.stem}.mp4").width == 3 * 512
    with (
        np.load(tmp_path / "one" / f"{short.stem}.npz") as one,
        np.load(tmp_path / "zero" / f"{short.stem}.npz") as zero,
    ):
        assert not np.array_equal(one["poses"], one["poses_original"])
        assert np.array_equal(zero["poses"], zero["poses_original"])
        assert np.array_equal(zero["poses_original"], one["poses_original"])
        assert np.array_equal(zero["z_dan"], one["z_dan_original"])
        np.save(tmp_path / "z.npy", one["z_dan"])
    out = tmp_path / "fed"
    done = called("infer", bundle, f"music={short}", f"out={out}", f"z_dan={tmp_path / 'z.npy'}", "video=false")
    assert done.returncode == 0, done.stderr
    with np.load(out / f"{short.stem}.npz") as fed, np.load(tmp_path / "one" / f"{short.stem}.npz") as one:
        np.testing.assert_array_equal(fed["z_dan"], one["z_dan"])


def test_the_dance_shown_is_exported_with_it(tiny_run: Path, short: Path, tmp_path: Path) -> None:
    edit = ["edit=mean_shift", "edit.source=drive", "edit.target=flow"]
    words = [f"bundle={tiny_run / 'bundle'}", f"music={short}", "video=false", *edit, "export=[csv,openpose]"]
    out = tmp_path / "out"
    for seed in (1, 2):  # again: in place of the older ones
        done = called("infer", *words, f"out={out}", f"seed={seed}", "lift=bones", "export_fps=15")
        assert done.returncode == 0, done.stderr
    endings = (".csv", ".json", ".npz", "_openpose", "_openpose.mp4")
    assert sorted(p.name for p in out.iterdir()) == [f"{short.stem}{e}" for e in endings]
    assert not list(out.glob(".*"))
    by_itself = ["format=csv", "lift=bones", "fps=15", f"out={tmp_path / 'exported'}"]
    assert called("export", f"dance={out / short.stem}.npz", *by_itself).returncode == 0
    name = f"{short.stem}.csv"
    assert (out / name).read_text() == (tmp_path / "exported" / name).read_text()


def _bad_audio(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.wav"
    if kind == "empty":
        path.touch()
    elif kind == "corrupt":
        path.write_bytes(os.urandom(5000))
    elif kind == "silent":
        soundfile.write(path, np.zeros(5 * SAMPLE_RATE), SAMPLE_RATE)
    elif kind == "short":
        soundfile.write(path, 0.3 * np.ones(SAMPLE_RATE // 5), SAMPLE_RATE)
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "corrupt", "silent", "short"])
def test_bad_audio_is_one_line(kind: str, tiny_run: Path, tmp_path: Path) -> None:
    path = _bad_audio(kind, tmp_path)
    out = tmp_path / "out"
    done = called("infer", f"bundle={tiny_run / 'bundle'}", f"music={path}", f"out={out}")
    assert_one_line(done, str(path))
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edit=mean_shift", "edit.source=drive", "edit.target=polka"], ["polka", "flow"]),
        (["edit=mean_shift"], ["edit.source", "drive"]),
        (["edit=nonsense"], ["edit=nonsense", "choose from", "mean_shift"]),
        (["seed=abc"], ["seed=abc", "a whole number"]),
        (["seed=null"], ["seed=null", "give a value"]),
        (["video=perhaps"], ["video=perhaps", "true or false"]),
        (["nonsense=1"], ["nonsense: no such key"]),
        (["z_dan=nowhere.npy"], ["nowhere.npy"]),
        (["seed=99999999999999999999"], ["seed"]),
        (["device=banana"], ["device=banana"]),
        (["music=null"], ["music="]),
        (["devices=0"], ["devices=0", "at least 1"]),
        (["batch=0"], ["batch=0", "at least 1"]),
        (["export=[fbx]"], ["export=fbx", "choose from bvh"]),
        (["export=[bvh]", "export_fps=25"], ["export_fps=25", "choose from"]),
        (["export=[bvh]", "lift=guess"], ["lift=guess", "choose from"]),
        (["device=cuda:0", "devices=2"], ["device="]),
    ],
)
def test_a_bad_request_is_one_line(
    arguments: list[str], words: list[str], tiny_run: Path, short: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = called("infer", f"bundle={tiny_run / 'bundle'}", f"music={short}", f"out={out}", *arguments)
    assert_one_line(done, *words)
    assert not out.exists() or not list(out.iterdir())


def test_a_bad_bundle_is_one_line(tiny_run: Path, short: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_run / "bundle", tmp_path / "b")
    (broken / "genres.json").unlink()
    done = called("infer", f"bundle={broken}", f"music={short}", f"out={tmp_path / 'out'}")
    assert_one_line(done, "genres.json", "missing")
    done = called("infer", "bundle=nowhere", f"music={short}", f"out={tmp_path / 'out'}")
    assert_one_line(done, "nowhere")


def test_an_output_folder_that_cannot_be_made_is_one_line(tiny_run: Path, short: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = called("infer", f"bundle={tiny_run / 'bundle'}", f"music={short}", f"out={tmp_path / 'file' / 'out'}")
    assert_one_line(done, "out=", "file")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stages=[nonsense]"], ["nonsense", "choose from", "du_vae"]),
        (["stages=[mm_gan]"], ["mm_gan starts from du_vae", "init_from.du_vae"]),
        (["stages=du_vae"], ["stages=du_vae", "a list"]),
        (["data=nonsense"], ["data=nonsense", "choose from", "synthetic"]),
        (["model.du_vae.optimizer.lr=fast"], ["model.du_vae.optimizer.lr=fast", "a number"]),
        (["model.du_vae.nonsense=1"], ["model.du_vae.nonsense: no such key"]),
        (["data=ballroom", "data.root=nowhere at all"], ["nowhere at all"]),
        (["init_from.du_vae=nowhere.ckpt", "stages=[mm_gan]"], ["nowhere.ckpt"]),
        (["resume=nowhere"], ["nowhere"]),
    ],
)
def test_a_bad_training_request_is_one_line(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = called("train", *arguments, f"hydra.run.dir={tmp_path / 'run'}", f"data.cache={tmp_path / 'cache'}")
    assert_one_line(done, *words)
