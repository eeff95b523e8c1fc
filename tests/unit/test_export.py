"""Exported dances: what other programs read is where the dancer was, in every format, at every rate."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import waving
from scipy.spatial.transform import Rotation

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS
from d2m.export.formats import RATES, Export, Exported, resample_positions
from d2m.export.gltf import write_gltf
from d2m.export.lift import lift
from d2m.export.openpose import colour
from d2m.export.rig import NAMES, OURS, PARENTS, places, pose_rig
from d2m.motion.camera import centre, project
from d2m.prepare.sources.bvh import read_bvh
from d2m.prepare.sources.openpose import read_openpose
from d2m.toy.clock import draw_clock
from d2m.toy.dancers import dance, draw_dancer
from d2m.toy.genres import GENRES, draw_character

ORDER = [NAMES.index(OURS[j]) for j in JOINTS]


def toy(genre: str = "drive", seed: int = 0, n: int = 300) -> np.ndarray:
    """A 3-D dance of the embedded corpus (n, 14, 3) cm, y up, in the middle."""
    rng = np.random.default_rng(seed)
    chosen = GENRES[genre]
    clock = draw_clock(chosen.tempo, rng)
    dancer = draw_dancer(chosen, draw_character(rng), rng)
    return centre(dance(chosen, dancer, clock, n, np.ones(40), rng).joints)


# -- depth ---------------------------------------------------------------------------------------------------------


def test_flat_claims_no_depth_and_bones_keep_the_picture() -> None:
    poses = project(toy(), [0])[0]
    flat, bones = lift(poses, "flat"), lift(poses, "bones")
    assert not flat[..., 2].any() and np.abs(bones[..., 2]).max() > 10
    np.testing.assert_array_equal(flat[..., :2], bones[..., :2])
    torso = np.linalg.norm(flat[:, 1] - 0.5 * (flat[:, 8] + flat[:, 11]), axis=-1)
    assert np.median(torso) == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("yaw", [0.0, 45.0])
def test_depth_from_bones_is_nearer_to_the_truth_than_none(genre: str, yaw: float) -> None:
    joints = toy(genre)
    picture = project(joints, [yaw])[0]
    scale = lift(picture, "flat")[:, 1, 1].mean() / joints[:, 1, 1].mean()
    angle = np.deg2rad(yaw)
    true = scale * (np.sin(angle) * joints[..., 0] + np.cos(angle) * joints[..., 2])
    true -= 0.5 * (true[:, 8] + true[:, 11])[:, None]
    found = lift(picture, "bones")[..., 2]
    arms = [3, 4, 6, 7]
    assert np.abs(found - true)[:, arms].mean() < 0.75 * np.abs(true)[:, arms].mean()
    assert np.abs(found - true).mean() < np.abs(true).mean()
    # Left and right of the trunk are told apart: a dancer is not turned inside out.
    turned = true[:, 5] - true[:, 2]
    clear = np.abs(turned) > 10
    assert not clear.any() or (np.sign(found[:, 5] - found[:, 2]) == np.sign(turned))[clear].mean() > 0.7


def test_a_knee_bends_forward_and_depth_does_not_jump() -> None:
    poses = project(toy("groove"), [0])[0]
    z = lift(poses, "bones")[..., 2]
    for hip in (8, 11):
        assert (z[:, hip + 1] - 0.5 * (z[:, hip] + z[:, hip + 2])).mean() > 0  # towards the camera, as it faces us
    assert np.abs(np.diff(z, axis=0)).max() < 25  # cm in 1/15 s


@pytest.mark.parametrize(
    ("poses", "how", "says"),
    [
        (waving(), "round", "lift=round: choose from flat, bones"),
        (waving() * np.nan, "flat", "not finite"),
        (np.zeros((9, 14, 2)), "bones", "neck and hips coincide"),
    ],
)
def test_what_cannot_be_lifted_is_refused(poses: np.ndarray, how: str, says: str) -> None:
    with pytest.raises(D2MError, match=says):
        lift(poses, how)


# -- bones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["flat", "bones"])
@pytest.mark.parametrize("yaw", [0.0, 90.0])
def test_the_rig_is_where_the_dancer_is(how: str, yaw: float) -> None:
    joints = lift(project(toy(), [yaw])[0], how)
    posed = pose_rig(joints)
    np.testing.assert_allclose(places(posed)[:, ORDER], joints, atol=1e-9)
    np.testing.assert_allclose(
        posed.turns @ np.swapaxes(posed.turns, -1, -2), np.eye(3)[None, None] + 0 * posed.turns, atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(posed.turns), 1, atol=1e-9)
    # Bones turn to where their ends are: a program that reads rotations alone sees the same directions.
    stiff = type(posed)(posed.rest, np.where(np.arange(16)[:, None] == 0, posed.offsets, posed.rest), posed.turns)
    a, b = places(stiff), places(posed)
    for name in ("RightForeArm", "LeftHand", "RightLeg", "LeftFoot"):
        i, k = NAMES.index(name), NAMES.index(str(PARENTS[name]))
        one, other = a[:, i] - a[:, k], b[:, i] - b[:, k]
        cosine = (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.maximum(np.linalg.norm(other, axis=-1), 1e-9)
        assert (cosine > 0.999).mean() > 0.99


def test_bones_that_point_backwards_still_have_an_orientation() -> None:
    joints = np.repeat(lift(waving(4), "flat"), 1, axis=0)
    joints[:, 9, 1], joints[:, 10, 1] = joints[:, 8, 1] + 40, joints[:, 8, 1] + 80  # a leg straight up
    posed = pose_rig(joints)
    assert np.isfinite(posed.turns).all()
    np.testing.assert_allclose(places(posed)[:, ORDER], joints, atol=1e-9)


# -- rates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_beats_stay_where_they_are(rate: int) -> None:
    # The wrist turns round every half second: its speed is least there.
    seconds = np.arange(120) / FPS
    poses = waving(120)
    poses[:, 4, 1] = 150 + 40 * np.cos(2 * np.pi * seconds)
    out = Exported.of(poses, FPS, Export(("csv",), fps=rate))
    assert len(out.pictures) == int(119 * rate / FPS + 1e-6) + 1
    turned = np.abs(np.diff(np.sign(np.diff(out.pictures[:, 4, 1])))) > 0
    at = (np.flatnonzero(turned) + 1) / rate
    np.testing.assert_allclose(at, np.round(2 * at) / 2, atol=1 / rate + 1e-9)
    assert len(at) >= 14
    if rate % FPS == 0:
        np.testing.assert_allclose(out.pictures[:: rate // FPS], poses, atol=1e-9)


def test_one_frame_is_one_frame_at_any_rate() -> None:
    assert [len(resample_positions(1, FPS, r)) for r in RATES] == [1, 1, 1, 1]


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    poses = project(toy(n=90), [0])[0]
    np.save(out / "poses.npy", poses)
    written = Export(("bvh", "gltf", "openpose", "csv"), "bones", 30, 256).write(out, "d", poses)
    assert [p.name for p in written] == ["d.bvh", "d.glb", "d_openpose", "d_openpose.mp4", "d.csv"]
    assert all(p.exists() for p in written)
    return out


def expected(out: Path) -> Exported:
    return Exported.of(np.load(out / "poses.npy"), FPS, Export(("csv",), "bones", 30, 256))


def test_bvh_is_read_back_as_the_same_poses(exported: Path) -> None:
    clip = read_bvh(exported / "d.bvh", unit="cm", up="y")
    assert clip.fps == pytest.approx(30, abs=1e-3)
    np.testing.assert_allclose(clip.joints, expected(exported).joints, atol=1e-3)
    guessed = read_bvh(exported / "d.bvh")  # neither unit nor up given
    assert np.corrcoef(guessed.joints.ravel(), clip.joints.ravel())[0, 1] > 0.999


def test_blender_reads_the_bvh(exported: Path) -> None:
    bpy = pytest.importorskip("bpy", reason="needs pip install bpy")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_anim.bvh(filepath=str(exported / "d.bvh"), rotate_mode="QUATERNION", update_scene_fps=True)
    rig = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    joints = expected(exported).joints
    for frame in (0, 40):
        bpy.context.scene.frame_set(frame + 1)
        for j, name in enumerate(JOINTS):
            x, y, z = (rig.matrix_world @ rig.pose.bones[OURS[name]].matrix).translation
            np.testing.assert_allclose([x, z, -y], joints[frame, j], atol=1e-2)


def read_glb(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    (n,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + n]), data[28 + n :]


def array(document: dict[str, Any], binary: bytes, number: int) -> np.ndarray:
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    kind = {5126: "<f4", 5123: "<u2"}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
    flat = np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"])
    return flat.reshape(accessor["count"], width)


def test_gltf_plays_the_same_poses_in_metres(exported: Path) -> None:
    document, binary = read_glb(exported / "d.glb")
    nodes = document["nodes"]
    parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}
    animation = document["animations"][0]
    tracks = {
        (c["target"]["node"], c["target"]["path"]): array(
            document, binary, animation["samplers"][c["sampler"]]["output"]
        )
        for c in animation["channels"]
    }
    times = array(document, binary, animation["samplers"][0]["input"])[:, 0]
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=1e-6)

    def world(node: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
        turn = Rotation.from_quat(tracks[node, "rotation"][frame]).as_matrix()
        place = tracks[node, "translation"][frame]
        if node not in parent:
            return turn, place
        above, at = world(parent[node], frame)
        return above @ turn, at + above @ place

    joints = expected(exported).joints / 100
    by_name = {node["name"]: i for i, node in enumerate(nodes)}
    for frame in (0, 77):
        for j, name in enumerate(JOINTS):
            np.testing.assert_allclose(world(by_name[OURS[name]], frame)[1], joints[frame, j], atol=1e-5)
    quaternions = tracks[0, "rotation"]
    assert (quaternions[1:] * quaternions[:-1]).sum(-1).min() > 0  # no long way round
    # The skin rests where the joints rest: binding matrices undo them.
    bind = array(document, binary, document["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4)
    at: dict[int, np.ndarray] = {}
    for i, node in enumerate(nodes[:-1]):
        at[i] = np.asarray(node["translation"]) + (at[parent[i]] if i in parent else 0)
        np.testing.assert_allclose(bind[i, 3, :3], -at[i], atol=1e-6)
    for primitive in document["meshes"][0]["primitives"]:
        points = array(document, binary, primitive["attributes"]["POSITION"])
        triangles = array(document, binary, primitive["indices"])[:, 0]
        assert triangles.max() == len(points) - 1 and len(triangles) % 3 == 0


def test_gltf_triangles_face_outwards(tmp_path: Path) -> None:
    write_gltf(tmp_path / "a.glb", lift(waving(3), "flat"), 15)
    document, binary = read_glb(tmp_path / "a.glb")
    primitive = document["meshes"][0]["primitives"][0]
    points = array(document, binary, primitive["attributes"]["POSITION"]).astype(float)
    triangles = array(document, binary, primitive["indices"]).reshape(-1, 3)
    a, b, c = points[triangles].transpose(1, 0, 2)
    # The signed volume of closed surfaces is positive if they face outwards.
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() > 0


def test_openpose_is_read_back_as_the_same_poses(exported: Path) -> None:
    clip = read_openpose(exported / "d_openpose")
    assert clip.fps == 30
    pictures = expected(exported).pictures
    scale = np.ptp(clip.joints[..., 1]) / np.ptp(pictures[..., 1])
    np.testing.assert_allclose(
        clip.joints - clip.joints.mean((0, 1)), scale * (pictures - pictures.mean((0, 1))), atol=0.01
    )
    assert clip.joints.min() > 0 and clip.joints.max() < 256  # on the canvas
    one = json.loads(next((exported / "d_openpose").glob("*_keypoints.json")).read_text())
    numbers = np.reshape(one["people"][0]["pose_keypoints_2d"], (18, 3))
    assert (numbers[:14, 2] == 1).all() and not numbers[14:].any()


def test_openpose_colours_are_its_own() -> None:
    # OpenPose's palette for COCO, red to magenta.
    assert [colour(i) for i in (0, 1, 2, 3, 4, 12, 17)] == [
        (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (0, 0, 255), (255, 0, 85),
    ]  # fmt: skip


def test_the_table_has_a_row_a_frame(exported: Path) -> None:
    rows = list(csv.DictReader((exported / "d.csv").open(encoding="utf-8")))
    joints = expected(exported).joints
    assert len(rows) == len(joints) and float(rows[30]["seconds"]) == 1.0
    assert float(rows[40]["left_wrist_z_cm"]) == pytest.approx(joints[40, JOINTS.index("left_wrist"), 2], abs=1e-3)
    feet = [float(r["right_ankle_y_cm"]) for r in rows]
    assert -15 < min(feet) < 15  # the floor is at 0


def test_a_second_export_replaces_the_first(exported: Path, tmp_path: Path) -> None:
    poses = np.load(exported / "poses.npy")
    for n in (30, 10):
        Export(("openpose",), fps=15).write(tmp_path, "d", poses[:n])
    assert len(list((tmp_path / "d_openpose").glob("*.json"))) == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d_openpose", "d_openpose.mp4"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"formats": ("fbx",)}, "format=fbx: choose from bvh, gltf, openpose, csv"),
        ({"formats": ()}, "choose from bvh"),
        ({"formats": ("bvh",), "fps": 25}, "fps=25: choose from 15, 24, 30, 60"),
        ({"formats": ("bvh",), "lift": "round"}, "lift=round"),
        ({"formats": ("bvh",), "canvas": 9}, "canvas=9"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(D2MError, match=says):
        Export(**options)


def test_the_experiment_measures_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.lift_error.run import main

    np.savez(tmp_path / "a.npz", joints=toy(n=90))
    main([f"poses={tmp_path}"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[3:]]
    mean = {name: (float(flat), float(bones)) for name, flat, bones in rows}
    assert mean["mean"][1] < mean["mean"][0] and mean["right wrist"][0] > 5
    with pytest.raises(D2MError, match="no npz here"):
        main([f"poses={tmp_path / 'none'}"])
