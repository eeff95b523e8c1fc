"""BVH: parsing, forward kinematics against rotations by hand, rigs of every convention, units, and real captures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.prepare.clean import clean
from d2m.prepare.sources import SOURCES
from d2m.prepare.sources.bvh import Bvh, forward_kinematics, parse_bvh, read_bvh
from d2m.prepare.sources.rigs import RIGS, Rig, nose, plain, resolve

Tree = list[tuple[str, str, tuple[float, float, float]]]


def body(names: dict[str, str], scale: float = 1.0) -> Tree:
    """(name, parent, offset) of a T-pose, 180 cm; ``names`` maps our joints, head and hips to the rig's names."""
    rest = {
        "hips": ("", (0, 0, 0)), "spine": ("hips", (0, 20, 0)), "neck": ("spine", (0, 30, 0)),
        "head": ("neck", (0, 10, 2)),
    }  # fmt: skip
    for side, sign in (("left", 1), ("right", -1)):
        rest |= {
            f"{side}_collar": ("spine", (sign * 3, 25, 0)), f"{side}_shoulder": (f"{side}_collar", (sign * 14, 0, 0)),
            f"{side}_elbow": (f"{side}_shoulder", (sign * 28, 0, 0)),
            f"{side}_wrist": (f"{side}_elbow", (sign * 25, 0, 0)),
            f"{side}_hip": ("hips", (sign * 9, -4, 0)), f"{side}_knee": (f"{side}_hip", (0, -42, 0)),
            f"{side}_ankle": (f"{side}_knee", (0, -41, 0)),
        }  # fmt: skip
    called = {k: names.get(k, k.upper().replace("_", "")) for k in rest}
    return [
        (called[k], called.get(p, ""), (x * scale, y * scale, z * scale))
        for k, (p, (x, y, z)) in rest.items()
    ]  # fmt: skip


def write(tree: Tree, motion: np.ndarray, fps: float = 120.0, order: str = "ZXY", extra: str = "") -> str:
    """BVH text; motion is (t, 3 + 3 joints): the root's position, then rotations of all joints in file order."""
    children: dict[str, list[int]] = {}
    for i, (_, parent, _) in enumerate(tree):
        children.setdefault(parent, []).append(i)
    lines, sequence = ["HIERARCHY"], []

    def visit(i: int, depth: int) -> None:
        name, parent, offset = tree[i]
        sequence.append(i)
        pad = "\t" * depth
        spin = " ".join(f"{a}rotation" for a in order)
        lines.append(f"{pad}{'JOINT' if parent else 'ROOT'} {name}")
        lines.append(f"{pad}{{\n{pad}\tOFFSET {offset[0]:.6f} {offset[1]:.6f} {offset[2]:.6f}")
        lines.append(f"{pad}\tCHANNELS " + (f"3 {spin}" if parent else f"6 Xposition Yposition Zposition {spin}"))
        for child in children.get(name, []):
            visit(child, depth + 1)
        if name not in children:
            lines.append(f"{pad}\tEnd Site\n{pad}\t{{\n{pad}\t\tOFFSET 0 5 0\n{pad}\t}}")
        lines.append(f"{pad}}}")

    visit(0, 0)
    columns = [0, 1, 2, *(3 + 3 * i + k for i in sequence for k in range(3))]
    lines += [extra + "MOTION", f"Frames: {len(motion)}", f"Frame Time: {1 / fps:.8f}"]
    lines += [" ".join(f"{x:.6f}" for x in row[columns]) for row in motion]
    return "\n".join(lines) + "\n"


def swing(tree: Tree, seconds: float = 3.0, fps: float = 120.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Rotations that swing, and a root that walks."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * fps))[:, None] / fps
    n = 3 * len(tree)
    turns = rng.uniform(5, 35, n) * np.sin(2 * np.pi * rng.uniform(0.3, 1.5, n) * t + rng.uniform(0, 6, n))
    turns[:, :3] *= 0.3
    return np.concatenate([scale * np.concatenate([20 * t, 95 + 0 * t, 5 * t], 1), turns], axis=1)


def by_hand(tree: Tree, motion: np.ndarray, order: str) -> dict[str, np.ndarray]:
    """Positions by SciPy's rotations, joint by joint and frame by frame."""
    where: dict[str, np.ndarray] = {}
    turn: dict[str, list[Rotation]] = {}
    for i, (name, parent, offset) in enumerate(tree):
        local = [Rotation.from_euler(order, row[3 + 3 * i : 6 + 3 * i], degrees=True) for row in motion]
        if not parent:
            where[name], turn[name] = motion[:, :3], local
        else:
            where[name] = where[parent] + np.stack([r.apply(offset) for r in turn[parent]])
            turn[name] = [a * b for a, b in zip(turn[parent], local, strict=True)]
    return where


def rig_names(rig: str, left: str = "Left", right: str = "Right", prefix: str = "") -> dict[str, str]:
    parts = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    names = {
        f"{side}_{part}": f"{prefix}{spelt}{theirs.capitalize()}"
        for side, spelt in (("left", left), ("right", right))
        for part, theirs in zip(parts, RIGS[rig], strict=True)
    }
    return names | {"neck": f"{prefix}Neck", "head": f"{prefix}Head", "hips": f"{prefix}Hips"}


# --- the format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["ZXY", "ZYX", "XYZ", "YXZ"])
def test_forward_kinematics_is_right_in_every_order(order: str) -> None:
    tree = body(rig_names("mixamo"))
    motion = swing(tree, 0.2, seed=3)
    bvh = parse_bvh(write(tree, motion, order=order), "x")
    places, turns = forward_kinematics(bvh)
    assert places.shape == (24, len(bvh.names), 3) and bvh.fps == pytest.approx(120, abs=1e-3)
    for name, expected in by_hand(tree, motion, order).items():
        np.testing.assert_allclose(places[:, bvh.names.index(name)], expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)


def test_only_what_is_wanted_is_computed() -> None:
    tree = body(rig_names("mixamo"))
    bvh = parse_bvh(write(tree, swing(tree, 0.1)), "x")
    places, _ = forward_kinematics(bvh, [bvh.names.index("LeftHand")])
    known = {n for n, p in zip(bvh.names, places[0], strict=True) if np.isfinite(p).all()}
    assert known == {"Hips", "SPINE", "LEFTCOLLAR", "LeftArm", "LeftForeArm".replace("A", "a"), "LeftHand"}


def test_inner_positions_replace_the_offset_unless_all_are_zero() -> None:
    names, parents, offsets = ("a", "b"), (-1, 0), np.array([[9.0, 9, 9], [1, 2, 3]])
    channels = tuple(tuple((f"{a}position", 3 * j + i) for i, a in enumerate("XYZ")) for j in range(2))
    motion = np.array([[1.0, 0, 0, 0, 5, 0], [2.0, 0, 0, 0, 6, 0]])
    places, _ = forward_kinematics(Bvh(names, parents, offsets, channels, motion, 30.0))
    np.testing.assert_allclose(places[:, 1], [[1, 5, 0], [2, 6, 0]])
    motion[:, 3:] = 0
    places, _ = forward_kinematics(Bvh(names, parents, offsets, channels, motion, 30.0))
    np.testing.assert_allclose(places[:, 1], [[2, 2, 3], [3, 2, 3]])


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    good = write(tree, swing(tree, 0.1))
    head, _, tail = good.partition("MOTION")
    for number, (text, told) in enumerate(
        [
            ("", "not a BVH"), ("hello", "not a BVH"), (head, "not a BVH"),
            (good.replace("Zrotation", "Wrotation", 1), "unknown channel 'Wrotation'"),
            (good.replace("OFFSET", "OFSET", 1), "HIERARCHY is broken"), (good.replace("}", "", 1), "HIERARCHY"),
            (head.rstrip().rstrip("}") + "MOTION" + tail, "HIERARCHY is broken"),
            (head + "}MOTION" + tail, "HIERARCHY is broken"), (good[: len(good) - 60], "numbers for 12 frames"),
            (good.replace("Frames: 12", "Frames: 13"), "numbers for 13 frames"), (good + " 1 2 3", "the file is cut"),
            (good.replace("Frames: 12", "Frames: 5"), "correct its line to Frames: 12$"),
            (good.replace("Frame Time: 0.00833333", "Frame Time: 0"), "Frame Time is 0 s; set .* fps=30"),
            (good.rstrip()[:-3] + "x", "MOTION is broken"), (good.rstrip().rsplit(" ", 1)[0] + " nan", "not finite"),
        ]
    ):  # fmt: skip
        path = tmp_path / f"{number}.bvh"
        path.write_text(text)
        with pytest.raises(D2MError, match=told) as e:
            read_bvh(path)
        assert path.name in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(D2MError, match="no such file"):
        read_bvh(tmp_path / "none.bvh")


def test_keywords_in_any_case_and_encoding(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    good = write(tree, swing(tree, 0.5))
    (tmp_path / "good.bvh").write_text(good)
    true = read_bvh(tmp_path / "good.bvh")
    other = good.replace("HIERARCHY", "Hierarchy").replace("End Site", "end site").replace("Frame Time", "FrameTime")
    other = other.replace("Xrotation", "XRotation").replace("Yrotation", "yrotation").replace("JOINT", "Joint")
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.bvh").write_text(other + "\x1a", encoding=encoding)
        read = read_bvh(tmp_path / "a.bvh")
        np.testing.assert_array_equal(read.joints, true.joints)
        assert read.fps == true.fps


def test_a_frame_time_that_is_none_may_be_stated(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    good = write(tree, swing(tree, 0.5))
    for said in ("0", "nan", "-1", "30", "", "fast"):
        (tmp_path / "a.bvh").write_text(good.replace("Frame Time: 0.00833333", f"Frame Time: {said}"))
        with pytest.raises(D2MError, match=r"a\.bvh: "):
            read_bvh(tmp_path / "a.bvh")
        assert read_bvh(tmp_path / "a.bvh", fps=120).fps == pytest.approx(120)


def test_radians_are_refused(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    motion = swing(tree, 0.5)
    motion[:, 3:] = np.deg2rad(motion[:, 3:])
    (tmp_path / "a.bvh").write_text(write(tree, motion))
    with pytest.raises(D2MError, match="its rotations are radians; export degrees"):
        read_bvh(tmp_path / "a.bvh")


# --- rigs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rig, left, right, prefix",
    [
        ("mixamo", "Left", "Right", "mixamorig:"), ("mixamo", "Left", "Right", ""), ("perfume", "Left", "Right", ""),
        ("perfume", "left_", "right_", ""), ("cmu_daz", "l", "r", ""), ("cmu_asf", "l", "r", ""),
        ("xsens", "Left", "Right", ""), ("lowarm", "Left", "Right", ""), ("biped", "L ", "R ", "Bip01 "),
        ("optitrack", "L", "R", ""), ("genesis", "l", "r", ""), ("biped", "L_", "R_", "CC_Base_"),
    ],
)  # fmt: skip
def test_rigs_are_known(tmp_path: Path, rig: str, left: str, right: str, prefix: str) -> None:
    names = rig_names(rig, left, right, prefix)
    names |= {
        f"{side}_collar": f"{side.capitalize()}{'Shoulder' if rig == 'mixamo' else 'Collar'}"
        for side in ("left", "right")
    }
    tree = body(names)
    motion = swing(tree, 1.0)
    (tmp_path / "x.bvh").write_text(write(tree, motion))
    clip = SOURCES["bvh"](tmp_path / "x.bvh")
    where = by_hand(tree, motion, "ZXY")
    assert clip.joints.shape == (120, 14, 3) and clip.fps == pytest.approx(120, abs=1e-3)
    for i, joint in enumerate(JOINTS[1:], start=1):
        np.testing.assert_allclose(clip.joints[:, i], where[names[joint]], atol=1e-2)


@pytest.mark.parametrize(
    "rig, spell",
    [
        ("rigify", "{part}.{s}"), ("rigify", "DEF-{part}.{s}"), ("unity", "{part}_{s}"), ("unity", "J_Bip_{s}_{part}"),
        ("unreal", "{part}_{l}"), ("biped", "{part}-{l}"), ("mixamo", "{part}{side}"), ("rokoko", "{side}{part}"),
    ],
)  # fmt: skip
def test_sides_stand_before_or_behind_the_part(tmp_path: Path, rig: str, spell: str) -> None:
    parts = dict(zip(("shoulder", "elbow", "wrist", "hip", "knee", "ankle"), RIGS[rig], strict=True))
    names = {
        f"{side}_{part}": spell.format(part=theirs, s=side[0].upper(), l=side[0], side=side.capitalize())
        for side in ("left", "right")
        for part, theirs in parts.items()
    }
    tree = body(names | {"neck": "Neck", "head": "Head", "hips": "Hips"})
    motion = swing(tree, 0.2)
    (tmp_path / "x.bvh").write_text(write(tree, motion))
    joints, where = read_bvh(tmp_path / "x.bvh").joints, by_hand(tree, motion, "ZXY")
    for joint, name in names.items():
        np.testing.assert_allclose(joints[:, JOINTS.index(joint)], where[name], atol=1e-2)


def test_a_rig_of_its_own_names(tmp_path: Path) -> None:
    mine = {j: f"bone{i}" for i, j in enumerate(JOINTS) if j != "nose"} | {"head": "skull"}
    tree = body(mine)
    (tmp_path / "x.bvh").write_text(write(tree, swing(tree, 0.5)))
    with pytest.raises(D2MError, match="no nose, neck, right_shoulder"):
        read_bvh(tmp_path / "x.bvh")
    table = {j: n for j, n in mine.items() if j in JOINTS}
    clip = read_bvh(tmp_path / "x.bvh", names=table | {"nose": "Skull"})
    where = by_hand(tree, swing(tree, 0.5), "ZXY")
    np.testing.assert_allclose(clip.joints[:, 0], where["skull"], atol=1e-2)  # a nose that is named is taken as it is
    with pytest.raises(D2MError, match="no joint 'tail'"):
        read_bvh(tmp_path / "x.bvh", names={"nose": "tail"})
    with pytest.raises(D2MError, match="'tail' is not one of our joints"):
        read_bvh(tmp_path / "x.bvh", names={"tail": "skull"})
    with pytest.raises(D2MError, match="the rig has no joint '\u9996'"):  # a name without Latin letters
        resolve(["\u982d", "\u5de6\u624b"], {"neck": "\u9996"}, "x")


def test_names_are_compared_plainly() -> None:
    assert plain("mixamorig:LeftUpLeg") == plain("mixamorig9_Left Up_Leg") == "leftupleg"
    assert plain("Bip01 R Thigh") == "rthigh" and plain("Character1_Head") == "head"


@pytest.mark.parametrize("unit", [100.0, 10.0, 2.54 / 0.45, 2.54, 1.0, 0.1])
def test_units_are_inferred_from_the_legs(tmp_path: Path, unit: float) -> None:
    for size in (0.8, 1.0, 1.15):  # 144 to 207 cm
        tree = body(rig_names("mixamo"), scale=size / unit)
        motion = swing(tree, 0.2, scale=size / unit)
        (tmp_path / "x.bvh").write_text(write(tree, motion))
        joints = read_bvh(tmp_path / "x.bvh").joints
        assert np.linalg.norm(joints[:, 8] - joints[:, 9], axis=-1) == pytest.approx(42 * size, rel=1e-2)
    assert np.ptp(read_bvh(tmp_path / "x.bvh", unit=unit * 2).joints) == pytest.approx(2 * np.ptp(joints), rel=1e-3)


def test_a_body_of_no_size_and_bad_options_are_refused(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"), scale=1e-6)
    (tmp_path / "x.bvh").write_text(write(tree, swing(tree, 0.2)))
    with pytest.raises(D2MError, match="no known unit"):
        read_bvh(tmp_path / "x.bvh")
    with pytest.raises(D2MError, match="unit=-1"):
        read_bvh(tmp_path / "x.bvh", unit=-1)
    with pytest.raises(D2MError, match="up is 'w'"):
        read_bvh(tmp_path / "x.bvh", up="w")


def test_z_up_is_turned_up(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    flat = [(n, p, (x, -z, y)) for n, p, (x, y, z) in tree]  # the same body lying along z
    motion = np.zeros((60, 3 + 3 * len(tree)))
    motion[:, :3] = [0, -3, 95]
    (tmp_path / "z.bvh").write_text(write(flat, motion))
    motion[:, :3] = [0, 95, 3]
    (tmp_path / "y.bvh").write_text(write(tree, motion))
    upright = read_bvh(tmp_path / "y.bvh").joints
    np.testing.assert_allclose(read_bvh(tmp_path / "z.bvh").joints, upright, atol=1e-3)
    assert upright[0, 0, 1] > upright[0, 1, 1] > upright[0, 10, 1]


def test_the_nose_is_in_front_of_the_head_and_turns_with_it(tmp_path: Path) -> None:
    tree = body(rig_names("mixamo"))
    motion = np.zeros((240, 3 + 3 * len(tree)))
    motion[:, 1] = 95
    head = 3 + 3 * [n for n, _, _ in tree].index("Head")
    motion[:, head + 2] = 60 * np.sin(np.arange(240) / 240 * 2 * np.pi)  # looks left and right (y rotation)
    (tmp_path / "x.bvh").write_text(write(tree, motion))
    clip = read_bvh(tmp_path / "x.bvh")
    head_at = np.array([0, 95 + 60, 2])
    forward, up = (clip.joints[0, 0] - head_at)[[2, 1]]
    assert 5 < forward < 11 and 5 < up < 11
    np.testing.assert_allclose(np.linalg.norm(clip.joints[:, 0] - head_at, axis=-1), np.hypot(forward, up), atol=0.01)
    assert clip.joints[60, 0, 0] > 5 and clip.joints[180, 0, 0] < -5  # +y turns the face to +x, the dancer's left


# --- real captures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("take", ["salsa_01", "indian_04"])
def test_real_captures_agree_with_their_npz(shared_folder: Path, take: str) -> None:
    folder = shared_folder / "data/mocap"
    clip = SOURCES["bvh"](folder / f"bvh/{take}.bvh")
    expected = np.load(folder / f"npz/{take}.npz")["joints"]  # every eighth frame of 120
    error = np.linalg.norm(clip.joints[::8] - expected, axis=-1)
    print(f"{take}: mean {error.mean():.5f} cm, largest {error.max():.5f} cm")
    assert error.max() < 0.02
    resampled = clean(clip).joints
    n = min(len(resampled), len(expected))
    away = np.linalg.norm(resampled[2:n] - expected[2:n], axis=-1)  # frame 0 is a T-pose, dropped as a leap
    print(f"{take}: low-passed to 15 fps, mean {away.mean():.3f} cm from the decimated frames")
    assert away.mean() < 0.5


@pytest.mark.parametrize("take", ["salsa_01", "indian_04"])
def test_without_eyes_the_nose_is_near_where_they_were(shared_folder: Path, take: str) -> None:
    bvh = parse_bvh((shared_folder / f"data/mocap/bvh/{take}.bvh").read_text(), take)
    places, turns = forward_kinematics(bvh)
    rig = resolve(bvh.names, None, take)
    assert rig.face
    away = np.linalg.norm(nose(places, turns, rig) - nose(places, turns, Rig(rig.joints, rig.head)), axis=-1)
    assert away.max() < 5.0
