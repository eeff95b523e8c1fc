"""COCO-17 and AIST++: joints in their places, cameras, genres; pickles that cannot run anything."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dancing import coco17, dancer, picture

from d2m.core.errors import D2MError
from d2m.prepare.sources import SOURCES, SUFFIXES
from d2m.prepare.sources.aistpp import aist_genre, read_aistpp
from d2m.prepare.sources.coco17 import read_coco17
from d2m.prepare.sources.frames import number_frames
from d2m.prepare.sources.pickles import load_arrays


def neck_is_mean(joints: np.ndarray) -> np.ndarray:
    """The dancer's joints with the neck where COCO-17 lets it be known."""
    out = joints.copy()
    out[:, 1] = 0.5 * (out[:, 2] + out[:, 5])
    return out


def aist_pickle(path: Path, cameras: int = 9, n: int = 120) -> np.ndarray:
    """A keypoints2d file of AIST++'s layout; returns its keypoints."""
    one = coco17(picture(n / 60, 60))
    views = np.stack([one + 10 * k for k in range(cameras)])
    points = np.concatenate([views, np.full((*views.shape[:-1], 1), 0.8)], axis=-1)
    points[:, 5, 9] = np.nan
    data = {
        "keypoints2d": points,
        "det_scores": np.ones((cameras, n)),
        "timestamps": np.arange(n) * 16666.67,
    }
    path.write_bytes(pickle.dumps(data, protocol=4))
    return points


def test_the_table_of_sources_is_complete() -> None:
    assert set(SOURCES) == set(SUFFIXES) == {"npz", "openpose", "coco17", "aistpp", "bvh", "video"}
    assert all(s.startswith((".", "_")) for suffixes in SUFFIXES.values() for s in suffixes)


# --- AIST++ ------------------------------------------------------------------------------------------------------


def test_aist_2d_is_read_camera_by_camera(tmp_path: Path) -> None:
    path = tmp_path / "gHO_sFM_cAll_d19_mHO0_ch01.pkl"
    aist_pickle(path)
    first = read_coco17(path)
    assert (first.fps, first.genre, first.joints.shape) == (60.0, "house", (120, 14, 2))
    expected = neck_is_mean(picture(2, 60))
    seen = np.isfinite(first.joints).all(-1)
    np.testing.assert_allclose(first.joints[seen], expected[seen], rtol=1e-5)
    assert (~seen).sum() == 1 and not seen[5, 7] and first.confidence[5, 7] == 0
    np.testing.assert_allclose(first.confidence[seen], 0.8)
    for name in (f"{path}::c03", f"{path}::3"):
        np.testing.assert_allclose(SOURCES["coco17"](Path(name)).joints, first.joints + 20, rtol=1e-5)
    np.testing.assert_allclose(read_coco17(path, camera="c09").joints, first.joints + 80, rtol=1e-5)
    for camera in ("c10", "c00", "left"):
        with pytest.raises(D2MError, match=f"no camera '{camera}'; choose from c01 to c09"):
            read_coco17(f"{path}::{camera}")


def test_aist_3d_is_cm_and_y_up(tmp_path: Path) -> None:
    body = dancer(2, 60)
    points = coco17(body)
    raw = points.copy()
    raw[7, 9] = np.nan
    path = tmp_path / "gKR_sBM_cAll_d28_mKR1_ch02.pkl"
    path.write_bytes(pickle.dumps({"keypoints3d": raw, "keypoints3d_optim": points}))
    clip = read_aistpp(path)
    np.testing.assert_allclose(clip.joints, neck_is_mean(body), rtol=1e-5, atol=1e-4)
    assert clip.fps == 60 and clip.genre == "krump" and (clip.confidence == 1).all()
    path.write_bytes(pickle.dumps({"keypoints3d": raw}))
    only_raw = read_aistpp(path)
    assert np.isnan(only_raw.joints[7, 7]).all() and only_raw.confidence[7, 7] == 0


def test_aist_names() -> None:
    assert aist_genre("a/gMH_sFM_c01_d22_mMH0_ch01.pkl") == "middle hip-hop"
    assert aist_genre("waltz.pkl") is None


@pytest.mark.parametrize(
    "data, told",
    [
        ({"keypoints2d": np.zeros((9, 10, 15, 3))}, "15 points per body"),
        ({"keypoints2d": np.zeros((9, 1, 17, 3))}, "1 frames"),
        ({"smpl_poses": np.zeros((10, 72))}, "no array keypoints2d"),
        (3, "no array keypoints2d"),
        ({"keypoints2d": [[1, 2]]}, "no array keypoints2d"),
    ],
)
def test_other_pickles_are_refused(tmp_path: Path, data: object, told: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(D2MError, match=told):
        read_coco17(tmp_path / "x.pkl")
    with pytest.raises(D2MError, match="keypoints3d"):
        read_aistpp(tmp_path / "x.pkl")


# --- arrays and BRACE --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "npz", "npz views", "npy scores"])
def test_arrays_are_read(tmp_path: Path, kind: str) -> None:
    points = coco17(picture(2, 30))
    points[3, 9] = 0.0  # unseen
    path = tmp_path / f"x.{kind[:3]}"
    if kind.startswith("npy"):
        scores = np.full((*points.shape[:-1], 1), 0.5)
        np.save(path, np.concatenate([points, scores], -1) if "scores" in kind else points)
    else:
        np.savez(path, keypoints=points[None] if "views" in kind else points, fps=25.0, genre="vogue")
    clip = read_coco17(path)
    assert np.isnan(clip.joints[3, 7]).all() and clip.confidence[3, 7] == 0
    assert clip.confidence[3, 0] == (0.5 if "scores" in kind else 1.0)
    assert (clip.fps, clip.genre) == ((25.0, "vogue") if "npz" in kind else (30.0, None))
    assert read_coco17(path, fps=24).fps == 24
    np.testing.assert_allclose(clip.joints[10], neck_is_mean(picture(2, 30))[10], rtol=1e-5)


def test_brace_segments_are_read(tmp_path: Path) -> None:
    points = coco17(picture(1, 30))
    frames = {
        f"vid/img-{1234 + k:06d}.png": {"box": [0, 0, 1, 1, 1.0], "keypoints": [[*xy, 1.0] for xy in p.tolist()]}
        for k, p in enumerate(points)
        if k not in (4, 5)
    }
    path = tmp_path / "vid_1234-1263_toprock.json"
    path.write_text(json.dumps(frames))
    clip = read_coco17(path)
    assert clip.joints.shape == (30, 14, 2) and np.isnan(clip.joints[4:6]).all()
    np.testing.assert_allclose(clip.joints[6], neck_is_mean(picture(1, 30))[6], rtol=1e-5)


def two_people(seconds: float = 2.0) -> list[np.ndarray]:
    """Per frame (2, 17, 3): a dancer, and a small bystander who is listed first in every other frame."""
    one, other = coco17(picture(seconds, 30)), coco17(picture(seconds, 30, seed=1, torso_px=50))
    other += np.array([300, 100])
    frames = np.concatenate([np.stack([one, other], 1), np.full((len(one), 2, 17, 1), 0.9)], -1)
    return [f[::-1] if k % 2 else f for k, f in enumerate(frames)]


def detections(kind: str, frames: list[np.ndarray]) -> object:
    if kind in ("alphapose", "coco results"):
        name = (lambda k: f"{k}.jpg") if kind == "alphapose" else (lambda k: k)
        return [{"image_id": name(k), "keypoints": p.ravel().tolist()} for k, f in enumerate(frames) for p in f]
    if kind.startswith("mmpose"):
        entries = [
            {"frame_id": k, "instances": [
                {"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()} for p in f
            ]}
            for k, f in enumerate(frames)
        ]  # fmt: skip
        return {"meta_info": {}, "instance_info": entries} if kind == "mmpose video" else entries
    return [
        [{"name": "person", "keypoints": dict(zip(("x", "y", "visible"), p.T.tolist(), strict=True))} for p in f]
        for f in frames
    ]


@pytest.mark.parametrize("kind", ["alphapose", "coco results", "mmpose", "mmpose video", "ultralytics"])
def test_detectors_are_read_and_the_dancer_is_followed(tmp_path: Path, kind: str) -> None:
    frames = two_people()
    frames[20] = frames[20][:0]
    (tmp_path / "x.json").write_text(json.dumps(detections(kind, frames)))
    clip = read_coco17(tmp_path / "x.json", fps=25)
    assert clip.fps == 25 and np.isnan(clip.joints[20]).all()
    expected = neck_is_mean(picture(2, 30))
    np.testing.assert_allclose(np.delete(clip.joints, 20, 0), np.delete(expected, 20, 0), atol=1e-2)
    np.save(tmp_path / "x.npy", np.stack(two_people()))  # frames x people
    np.testing.assert_allclose(read_coco17(tmp_path / "x.npy").joints, expected, atol=1e-2)


def test_detections_that_do_not_say_their_frames_are_refused(tmp_path: Path) -> None:
    path, frames = tmp_path / "x.json", two_people(0.5)
    for content, told in (
        ([p for f in detections("ultralytics", frames) for p in f],
         r"json.dump\(\[json.loads\(r.to_json\(\)\) for r in results\]"),
        ([{"image_id": f"{film}_1.jpg", "keypoints": [1.0] * 51} for film in "ab"], "two films, 'a_' and 'b_'"),
        (detections("mmpose", frames) * 2, "a frame_id occurs twice"),
        ([{"image_id": "x.jpg", "keypoints": [1.0] * 51}], "not readable as detections"),
        ([{"image_id": k, "keypoints": [1.0] * n} for k, n in ((0, 51), (1, 75))], r"people with \[17, 25\] points"),
    ):  # fmt: skip
        path.write_text(json.dumps(content))
        with pytest.raises(D2MError, match=told) as e:
            read_coco17(path)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.json", b"{}"), ("b.json", b"[1]"), ("c.json", b"{"), ("d.json", b'{"x/img-1.png": {}}'),
        ("e.json", b'{"x/img-1.png": {"keypoints": []}, "x/img-9999999.png": {"keypoints": []}}'),
        ("a.npy", b""), ("a.npz", b"hello"), ("a.pkl", b""), ("b.pkl", b"hello"), ("a.txt", b"1 2 3"),
    ],
)  # fmt: skip
def test_broken_files_are_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(D2MError) as e:
        read_coco17(tmp_path / name)
    assert name in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(D2MError, match="no such file"):
        read_coco17(tmp_path / "none.pkl")


# --- pickles -----------------------------------------------------------------------------------------------------

ARRAYS = {
    "floats": np.arange(6.0).reshape(2, 3), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"), "bool": np.array([True, False]), "half": np.ones((0, 4), np.float16),
    "scalar": np.float32(2.5), "plain": [1, "a", {"b": (2.0, None)}],
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy._core", "numpy.core"])
def test_arrays_of_both_numpys_come_through(tmp_path: Path, protocol: int, core: str) -> None:
    raw = pickle.dumps(ARRAYS, protocol=protocol)
    ours = b"numpy._core" if b"numpy._core" in raw else b"numpy.core"
    if core.encode() != ours:
        if protocol >= 4:  # names carry their length there
            for module in (b".multiarray", b".numeric"):
                old, new = ours + module, core.encode() + module
                raw = raw.replace(bytes([len(old)]) + old, bytes([len(new)]) + new)
            raw = b"\x80" + bytes([protocol]) + raw[11:] if raw[2:3] == b"\x95" else raw  # drop the frame
        else:
            raw = raw.replace(ours, core.encode())
        assert core.encode() + b".multiarray" in raw and ours + b".multiarray" not in raw
    (tmp_path / "a.pkl").write_bytes(raw)
    got = load_arrays(tmp_path / "a.pkl")
    assert got["plain"] == ARRAYS["plain"]
    for name in ("floats", "fortran", "big", "bool", "half", "scalar"):
        np.testing.assert_array_equal(got[name], ARRAYS[name])
        assert np.asarray(got[name]).dtype == np.asarray(ARRAYS[name]).dtype


class Evil:
    """Reduces to a call."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    for number, evil in enumerate(
        [
            Evil(os.system, f"touch {mark}"), Evil(eval, f"open({str(mark)!r}, 'w')"), Evil(os.mkdir, str(mark)),
            Evil(subprocess.check_call, ["touch", str(mark)]), Evil(np.load, str(mark)), Evil(getattr, "", "join"),
            Evil(np.memmap, str(mark), "uint8", "w+", 0, (1,)),
        ]
    ):  # fmt: skip
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps({"keypoints2d": np.zeros((9, 4, 17, 3)), "x": evil}, protocol=protocol))
        for reader in (load_arrays, read_coco17, read_aistpp):
            with pytest.raises(D2MError, match="refused, the pickle holds") as e:
                reader(path)
            assert "\n" not in str(e.value)
    assert not mark.exists()


def test_arrays_of_objects_and_forged_states_are_refused(tmp_path: Path) -> None:
    forged = pickle.dumps(np.arange(3.0), protocol=2).replace(b"f8", b"O8")
    wrong_size = pickle.dumps(np.arange(3.0), protocol=2).replace(b"K\x03\x85", b"K\x09\x85")
    for number, raw in enumerate(
        [
            pickle.dumps(np.array([{}], object)), forged, wrong_size,
            pickle.dumps(np.array(["a"])), pickle.dumps(np.zeros(2, [("a", "f4")])),
            pickle.dumps(np.array(["2020"], "M8")), pickle.dumps(np.ma.masked_array([1.0])),
            b"cnumpy\nndarray\n)\x81.", b"cnumpy\ndtype\n.",
            b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
        ]
    ):  # fmt: skip
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(raw)
        if path.name == "8.pkl":  # a bare name is no call: it yields a harmless class, which is no array
            with pytest.raises(D2MError):
                read_coco17(path)
            continue
        with pytest.raises(D2MError):
            load_arrays(path)


def test_numbers_that_are_times_are_refused() -> None:
    with pytest.raises(D2MError, match=r"x: frame numbers are multiples of 33; number the frames 0, 1, 2"):
        number_frames([f"a_{33 * i:06d}.json" for i in range(60)], "x")
    assert len(number_frames([f"a_{8 * i:06d}.json" for i in range(60)], "x")) == 60


@pytest.mark.parametrize("key", ["frames", "keypoints"])
def test_a_list_of_frames_under_a_key(tmp_path: Path, key: str) -> None:
    points = coco17(picture(2.0)).tolist()
    (tmp_path / "plain.json").write_text(json.dumps(points))
    (tmp_path / "keyed.json").write_text(json.dumps({"version": 1, key: points}))
    read = [read_coco17(tmp_path / f"{name}.json").joints for name in ("plain", "keyed")]
    np.testing.assert_array_equal(*read)
    (tmp_path / "keyed.json").write_text(json.dumps({"fps": 25, key: points}))
    with pytest.raises(D2MError, match="write an npz with keypoints and fps"):
        read_coco17(tmp_path / "keyed.json")
