"""Other people's files as dances: formats agree, songs are found by name, what is wrong is one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import write_manifest
from dancing import coco17, dancer, picture

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, SAMPLE_RATE
from d2m.prepare.run import read_options
from d2m.prepare.sources.axes import UNITS
from d2m.reports.files import ReadDance, find_source, read_dances

SECONDS = 3.0


def save(path: Path, joints: np.ndarray, fps: float = 30.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=joints, fps=fps, joint_names=np.array(JOINTS))
    return path


def clicks(path: Path, seconds: float = SECONDS, bpm: float = 120.0) -> Path:
    wave = np.random.default_rng(0).normal(size=round(seconds * SAMPLE_RATE)) * 1e-3
    for beat in np.arange(0, seconds - 0.1, 60 / bpm):
        first = round(beat * SAMPLE_RATE)
        wave[first : first + 800] += 0.8 * np.exp(-np.arange(800) / 150) * np.sin(0.4 * np.arange(800))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
    return path


def read(folder: Path, music: Path | None = None, genres: dict | None = None, **stated: object) -> list[ReadDance]:
    source = find_source(folder, "poses")
    options = read_options(source, (0.0,), "mfcc", "librosa", None, 1.0, {"repair": False}, "orthographic", stated)
    return read_dances(folder, options, music, genres or {}, "poses")


def openpose(folder: Path, clip: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for k, frame in enumerate(clip):
        points = np.zeros((18, 3))
        points[:14] = np.concatenate([frame, np.ones((14, 1))], -1)
        text = json.dumps({"people": [{"pose_keypoints_2d": points.ravel().tolist()}]})
        (folder / f"f_{k:04d}_keypoints.json").write_text(text)


def brace(path: Path, clip: np.ndarray) -> None:
    points = coco17(clip)
    frames = {f"v/img-{k:04d}.png": {"keypoints": [[*p, 0.9] for p in f.tolist()]} for k, f in enumerate(points)}
    path.write_text(json.dumps(frames))


def bvh(path: Path) -> None:
    from test_sources_bvh import body, rig_names, swing, write

    tree = body(rig_names("mixamo"))
    path.write_text(write(tree, swing(tree, SECONDS, fps=60.0), fps=60.0))


@pytest.mark.parametrize("kind", ["npz", "coco17", "coco17 npz", "npy", "openpose", "d2m infer"])
def test_one_dance_in_every_picture_format_is_one_dance(tmp_path: Path, kind: str) -> None:
    clip = picture(SECONDS)
    expected = read(save(tmp_path / "first" / "a.npz", clip).parent)[0].views[0].poses
    folder = tmp_path / "poses"
    folder.mkdir()
    if kind == "npz":
        np.savez(folder / "a.npz", joints=clip, fps=30.0)
    elif kind == "coco17":
        brace(folder / "a.json", clip)
    elif kind == "coco17 npz":
        np.savez(folder / "a.npz", keypoints=coco17(clip), fps=30.0)
    elif kind == "npy":
        np.save(folder / "a.npy", coco17(clip))
    elif kind == "openpose":
        openpose(folder / "a", clip)
    else:  # beside its description and film, which are not poses
        np.savez(folder / "a.npz", poses=clip, fps=30.0, joint_names=np.array(JOINTS), z_dan=np.zeros((2, 8)))
        (folder / "a.json").write_text("{}")
        (folder / "a.mp4").write_bytes(b"film")
    (got,) = read(folder)
    assert (got.name, got.views[0].fps, got.has_song) == ("a", 15, False) and got.views[0].poses.shape == (45, 14, 2)
    # COCO has no neck, and with the middle of the shoulders the torso is another one.
    tolerance = 5.0 if "coco17" in kind or kind == "npy" else 1e-3
    assert np.abs(got.views[0].poses - expected).mean() < tolerance


def test_bodies_in_space_are_seen_as_a_corpus_sees_them(tmp_path: Path) -> None:
    body = dancer(SECONDS)
    aist = tmp_path / "aist"
    aist.mkdir()
    (aist / "gBR_sBM_cAll_d04_mBR0_ch01.pkl").write_bytes(pickle.dumps({"keypoints3d_optim": coco17(dancer(3, 60.0))}))
    (got,) = read(aist)
    assert (got.views[0].song, got.views[0].genre) == ("mBR0", "break")
    flat = read(save(tmp_path / "cm" / "a.npz", body).parent)[0].views[0].poses
    np.testing.assert_allclose(got.views[0].poses[:, 2:], flat[:, 2:], atol=1.5)
    hips = 0.5 * (flat[:, 8] + flat[:, 11])
    np.testing.assert_allclose(hips[:, 0], 0.0, atol=1e-4)  # in place
    bvh(tmp_path / "mine.bvh")
    (captured,) = read(_alone(tmp_path / "mine.bvh"))
    assert captured.views[0].poses.shape == (45, 14, 2) and (captured.views[0].poses[:, 0, 1] < 0).all()


def test_bodies_in_space_are_seen_from_every_yaw(tmp_path: Path) -> None:
    folder = save(tmp_path / "p" / "a.npz", dancer(SECONDS)).parent
    options = read_options("npz", (0.0, 180.0), "mfcc", "librosa", None, 1.0, None, "orthographic")
    (dance,) = read_dances(folder, options, None, {}, "poses")
    front, back = dance.views
    np.testing.assert_allclose(front.poses[..., 0], -back.poses[..., 0], atol=1e-4)
    np.testing.assert_allclose(front.poses[..., 1], back.poses[..., 1], atol=1e-4)


def _alone(file: Path) -> Path:
    folder = file.parent / f"only_{file.stem}"
    folder.mkdir()
    file.rename(folder / file.name)
    return folder


def test_what_is_stated_of_the_poses_is_believed_and_looked_at(tmp_path: Path) -> None:
    body = dancer(SECONDS)
    true = read(save(tmp_path / "cm" / "a.npz", body).parent)[0].views[0].poses
    metres = np.stack([body[..., 0], -body[..., 2], body[..., 1]], -1) / UNITS["m"]  # z up
    folder = save(tmp_path / "m" / "a.npz", metres).parent
    with pytest.raises(D2MError, match="set unit=m"):
        read(folder)
    with pytest.raises(D2MError, match="lies on its side throughout; set up=z"):
        read(folder, unit="m")
    np.testing.assert_allclose(read(folder, unit="m", up="z")[0].views[0].poses, true, atol=1e-3)
    assert len(read(folder, unit="m", up="z", fps=20.0)[0].views[0].poses) == round(15 * SECONDS * 30 / 20)
    named = tmp_path / "h36m"
    named.mkdir()
    np.savez(named / "a.npz", joints=coco17(body), fps=30.0)
    assert len(read(named, order="coco17")) == 1


def test_leaps_of_a_dance_are_its_own(tmp_path: Path) -> None:
    body = dancer(SECONDS, 15.0)
    body[20, 4] += [90.0, 0, 0]
    folder = save(tmp_path / "p" / "a.npz", body, 15.0).parent
    (kept,) = read(folder)
    assert kept.clip.dropped == 0 and kept.facts()["filled"] == 0
    options = read_options("npz", (0.0,), "mfcc", "librosa", None, 1.0, None, "orthographic")
    (mended,) = read_dances(folder, options, None, {}, "poses")
    assert mended.clip.dropped > 0
    jump = lambda d: np.abs(np.diff(d.views[0].poses[:, 4, 0])).max()  # noqa: E731
    assert jump(kept) > 70 > 40 > jump(mended)


def test_songs_are_found_by_name(tmp_path: Path) -> None:
    poses, music = tmp_path / "poses", tmp_path / "music"
    save(poses / "waltz" / "one.npz", picture(SECONDS, seed=1))
    save(poses / "two.npz", picture(SECONDS, seed=2))
    clicks(music / "deep" / "one.flac")
    clicks(music / "two.wav", bpm=100.0)
    clicks(music / "other.wav")
    two, one = sorted(read(poses, music), key=lambda d: d.views[0].genre)
    assert (one.views[0].song, one.views[0].genre, two.views[0].song, two.views[0].genre) == ("one", "waltz", "two", "")
    np.testing.assert_allclose(np.diff(one.views[0].music_beats), 0.5, atol=0.03)
    np.testing.assert_allclose(np.diff(two.views[0].music_beats), 0.6, atol=0.03)
    assert one.views[0].music_features is not None and one.views[0].music_features.shape[1] == 28 and one.has_song
    known = read(poses, music, {"two": ("DANCE_2", "tango")})
    assert ("DANCE_2", "tango") in {(d.views[0].song, d.views[0].genre) for d in known}


def test_songs_beside_the_poses_or_in_a_manifest(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a.npz", picture(SECONDS))
    clicks(tmp_path / "p" / "a.wav")
    assert len(read(tmp_path / "p")[0].views[0].music_beats) > 3
    raw = tmp_path / "raw"
    save(raw / "first.npz", picture(2 * SECONDS))
    clicks(raw / "song.wav", 2 * SECONDS)
    row = {"name": "a", "genre": "waltz", "audio": "song.wav", "pose": "first.npz", "start": "1", "end": "4"}
    write_manifest(raw, [row, {**row, "name": "b"}])
    a, b = read(raw)
    assert (a.views[0].song, a.views[0].genre, len(a.views[0].poses)) == ("song", "waltz", 45) and b.views[
        0
    ].song == "song"
    np.testing.assert_allclose(np.diff(a.views[0].music_beats), 0.5, atol=0.03)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), "no pose file; give npz"),
        (lambda p: (p.mkdir(), (p / "a.fbx").write_text("x")), r"no pose file \(there is a.fbx\); give npz"),
        (lambda p: (save(p / "a.npz", picture(3.0)), bvh(p / "b.bvh")), r"formats, .*a.npz \(npz\).*set source="),
        (lambda p: save(p / "a.npz", picture(3.0)[:1]), "1 frames; a motion needs at least 2"),
        (lambda p: save(p / "a.npz", picture(1.0)), "too short: 1.00 s"),
        (lambda p: (p.mkdir(), (p / "a.npz").write_bytes(b"PK")), "not readable as an npz"),
        (lambda p: (p.mkdir(), (p / "a.pkl").write_bytes(b"cos\nsystem\n(S'touch x'\ntR.")), "refused"),
        (lambda p: (p.mkdir(), np.savez(p / "a.npz", z=np.ones(3))), "no key"),
    ],
)  # fmt: skip
def test_what_is_no_dance_is_one_line(tmp_path: Path, make: object, told: str) -> None:
    make(tmp_path / "p")  # type: ignore[operator]
    with pytest.raises(D2MError, match=told) as e:
        read(tmp_path / "p")
    assert "\n" not in str(e.value)


def test_music_that_does_not_belong_is_one_line(tmp_path: Path) -> None:
    poses = save(tmp_path / "poses" / "one.npz", picture(SECONDS)).parent
    save(poses / "two.npz", picture(SECONDS))
    music = clicks(tmp_path / "music" / "three.wav").parent
    with pytest.raises(D2MError, match=r"no song for the dance 'one' and 1 more; name songs like their dances"):
        read(poses, music)
    clicks(music / "one.wav"), clicks(music / "two.wav"), clicks(music / "again" / "two.wav")
    with pytest.raises(D2MError, match="2 songs are named 'two'; keep one"):
        read(poses, music)
    (music / "again" / "two.wav").unlink()
    clicks(music / "two.wav", 2 * SECONDS)
    with pytest.raises(D2MError, match=r"3.0 s of motion but 6.0 s of music.*set fps=15"):
        read(poses, music)
    with pytest.raises(D2MError, match=r"music=.*no such file"):
        read(poses, tmp_path / "none")
