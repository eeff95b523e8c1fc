"""200 seeded mutations of a file of every kind: read or refused in one line, never another error, never a pose that is
not finite."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dancing import coco17, dancer, picture
from test_sources_bvh import body, rig_names, swing
from test_sources_bvh import write as write_bvh

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.manifest import MANIFEST, read_manifest
from d2m.prepare.plausible import read_pose
from d2m.prepare.songlist import read_rows
from d2m.prepare.stated import Stated

MUTATIONS = 200


def small_files(folder: Path) -> dict[str, tuple[str, Path]]:
    """One small good file of every kind that a reader takes: kind -> (source, file or folder)."""
    sure = np.full((17, 1), 0.9)
    people = [np.concatenate([p, sure], -1).tolist() for p in coco17(picture(0.3)).round(1)]
    alphapose = [{"image_id": f"{k}.jpg", "keypoints": np.ravel(p).tolist()} for k, p in enumerate(people)]
    mmpose = [{"frame_id": k, "instances": [{"keypoints": [q[:2] for q in p]}]} for k, p in enumerate(people)]
    ultralytics = [[{"keypoints": dict(zip(("x", "y", "visible"), np.transpose(p).tolist()))}] for p in people]
    brace = {f"v/img-{k:04d}.png": {"keypoints": p} for k, p in enumerate(people)}
    for name, data in (("a", alphapose), ("m", mmpose), ("u", ultralytics), ("b", brace)):
        (folder / f"{name}.json").write_text(json.dumps(data))
    points = coco17(picture(0.3))
    np.savez(folder / "k.npz", keypoints=points, fps=25.0, genre="x")
    np.save(folder / "n.npy", points)
    np.savez(folder / "p.npz", **space())
    (folder / "o").mkdir()
    for k, p in enumerate(picture(0.3).round(1)):  # COCO-18: our 14, eyes, ears
        whole = np.concatenate([p[[*range(14), 0, 0, 0, 0]], np.full((18, 1), 0.9)], -1)
        text = json.dumps({"people": [{"pose_keypoints_2d": np.ravel(whole).tolist()}]})
        (folder / "o" / f"f_{k:04d}_keypoints.json").write_text(text)
    (folder / "x.pkl").write_bytes(pickle.dumps({"keypoints3d_optim": coco17(dancer(0.3, 60.0))}))
    (folder / "y.pkl").write_bytes(pickle.dumps({"keypoints2d": np.stack([np.asarray(people)] * 2)}))
    tree = body(rig_names("mixamo"))
    (folder / "r.bvh").write_text(write_bvh(tree, swing(tree, 0.05)))
    return {
        "alphapose": ("coco17", folder / "a.json"), "mmpose": ("coco17", folder / "m.json"),
        "ultralytics": ("coco17", folder / "u.json"), "brace": ("coco17", folder / "b.json"),
        "coco npz": ("coco17", folder / "k.npz"), "npy": ("coco17", folder / "n.npy"),
        "npz": ("npz", folder / "p.npz"), "openpose": ("openpose", folder / "o"),
        "aistpp": ("aistpp", folder / "x.pkl"), "aist 2-D": ("coco17", folder / "y.pkl"),
        "bvh": ("bvh", folder / "r.bvh"),
    }  # fmt: skip


KINDS = (
    "alphapose", "mmpose", "ultralytics", "brace", "coco npz", "npy", "npz", "openpose", "aistpp", "aist 2-D", "bvh",
)  # fmt: skip


def space() -> dict[str, object]:
    return {"joints": dancer(0.3), "fps": 30.0, "joint_names": np.array(JOINTS), "confidence": np.ones((9, 14))}


def spoil_bytes(raw: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, cut out, doubled, words put in, or the end cut off."""
    data = bytearray(raw)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(1, len(data))))
        kind = rng.integers(0, 5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 1:
            del data[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            words = (b"null", b"-1", b"1e99", b"NaN", b"[]", b"{}", b'"', b"0", b"99999999999999999999", b"\xff\xfe")
            data[at : at + 3] = words[int(rng.integers(0, len(words)))]
        else:
            del data[at:]
    return bytes(data)


def read_or_refused(source: str, path: Path) -> bool:
    """Whether it was read; poses are finite where they are seen."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing is printed at the user either
            clip = read_pose(source, path, Stated())
    except D2MError as e:
        assert "\n" not in str(e) and len(str(e)) < 1000
        return False
    assert np.isfinite(clip.confidence).all() and 1 <= clip.fps <= 1000
    there = clip.confidence > 0
    assert np.isfinite(clip.joints[there]).all() and np.isnan(clip.joints[~there]).all()
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_bytes(tmp_path: Path, kind: str) -> None:
    source, path = small_files(tmp_path)[kind]
    rng = np.random.default_rng(12)
    target = path if path.is_file() else sorted(path.iterdir())[2]
    good, outcomes = target.read_bytes(), []
    for _ in range(MUTATIONS):
        target.write_bytes(spoil_bytes(good, rng))
        outcomes.append(read_or_refused(source, path))
    assert outcomes.count(False) > 20 or kind == "openpose"  # of whose frames one is damaged
    target.write_bytes(good)
    assert read_or_refused(source, path)


def _odd(rng: np.random.Generator, a: np.ndarray) -> object:
    """Something else in an array's place: another shape, type or number, or nothing."""
    a = np.array(a)
    some = rng.random(a.shape) < rng.choice([0.02, 0.5, 1.0])
    kind = int(rng.integers(0, 16))
    if kind < 6:
        b = a.astype(np.float64) if a.dtype.kind in "iuf" else np.zeros(a.shape)
        b[some] = [np.nan, np.inf, -np.inf, 1e308, 0.0, 1e-320][kind]
        return b
    choices: list[Callable[[], object]] = [
        lambda: a[..., :1] if a.ndim else a[None], lambda: a.reshape(-1)[:1], lambda: a.reshape(-1)[:0],
        lambda: a.reshape(-1), lambda: a[None], lambda: np.moveaxis(a, -1, 0) if a.ndim else np.array(-1.0),
        lambda: a.astype(str),
        lambda: np.array(["x"] * max(1, len(np.atleast_1d(a)))), lambda: (a != 0) if a.dtype.kind in "iuf" else a,
        lambda: a.astype(np.complex64) if a.dtype.kind in "iuf" else np.zeros(0),
    ]  # fmt: skip
    return choices[kind - 6]()


def _respell(name: str, rng: np.random.Generator) -> str:
    return str(rng.choice([name, name.upper(), "", f"{name} ", "poses", "keypoints", "fps"]))


@pytest.mark.parametrize("kind", ["npz", "coco npz", "aistpp", "aist 2-D", "npy"])
def test_spoilt_arrays(tmp_path: Path, kind: str) -> None:
    """Whole files, in which an array is another than it should be: what a checksum cannot tell."""
    source, path = small_files(tmp_path)[kind]
    rng = np.random.default_rng(7)
    if kind == "npy":
        arrays: dict[str, object] = {"": np.load(path)}
    elif path.suffix == ".pkl":
        arrays = pickle.loads(path.read_bytes())
    else:
        with np.load(path) as f:
            arrays = {k: f[k] for k in f.files}
    outcomes = []
    for _ in range(MUTATIONS):
        spoilt = dict(arrays)
        for name in list(spoilt):
            if rng.random() < 0.6:
                new = _odd(rng, np.asarray(spoilt.pop(name)))
                spoilt[_respell(name, rng) if rng.random() < 0.2 else name] = new
            elif rng.random() < 0.1:
                del spoilt[name]
        if kind == "npy":
            np.save(path, spoilt.get("", 0))
        elif path.suffix == ".pkl":
            path.write_bytes(pickle.dumps(spoilt))
        else:
            spoilt.pop("", None)
            np.savez(path, **spoilt)
        outcomes.append(read_or_refused(source, path))
    assert 2 < outcomes.count(False) < MUTATIONS


def _odd_json(value: object, rng: np.random.Generator, depth: int = 0) -> object:
    """A JSON value with something else at a random place of it."""
    if isinstance(value, list | dict) and value and depth < 6 and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[int(rng.integers(0, len(keys)))]
        out = value.copy()
        if rng.random() < 0.2:
            del out[key]  # type: ignore[arg-type]
        else:
            out[key] = _odd_json(value[key], rng, depth + 1)  # type: ignore[index,call-overload]
        return out
    odd = [None, True, -1, 1e308, float("nan"), float("inf"), "", "x", [], {}, [[]], [value], {"x": value}, 10**30, "5"]
    return odd[int(rng.integers(0, len(odd)))]


@pytest.mark.parametrize("kind", ["alphapose", "mmpose", "ultralytics", "brace", "openpose"])
def test_spoilt_json(tmp_path: Path, kind: str) -> None:
    """Whole JSON with another value, type, key or length somewhere."""
    source, path = small_files(tmp_path)[kind]
    rng = np.random.default_rng(3)
    target = path if path.is_file() else sorted(path.iterdir())[2]
    good = json.loads(target.read_text())
    for _ in range(MUTATIONS):
        target.write_text(json.dumps(_odd_json(good, rng)))
        read_or_refused(source, path)


def test_spoilt_tables(tmp_path: Path) -> None:
    """A manifest, and the list of songs to collect."""
    rng = np.random.default_rng(5)
    manifest = 'name,genre,audio,pose,start,end,unit\na,"R&B, x",a.ogg,a.npz,1.5,20,m\nb,waltz,,b.npz,,,\n'
    songs = "url,genre,title,start,not_music\nhttps://x.org/a,tango,A,1,2.0-3;5-6\nhttps://x.org/b,waltz,B,,\n"
    for name, good, read in ((MANIFEST, manifest, lambda p: read_manifest(p.parent)), ("songs.csv", songs, read_rows)):
        path, outcomes = tmp_path / name, []
        for _ in range(MUTATIONS):
            path.write_bytes(spoil_bytes(good.encode(), rng))
            try:
                outcomes.append(bool(read(path)))
            except D2MError as e:
                assert "\n" not in str(e)
                outcomes.append(False)
        assert 20 < outcomes.count(False) < MUTATIONS
