"""Implausible bodies are refused, and the option that the error message names gives the true pose."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bodies import in_order
from dancing import dancer, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.manifest import Recording
from d2m.prepare.filters import mend_sides
from d2m.prepare.plausible import look, read_pose
from d2m.prepare.process import Options, process, read_recording
from d2m.prepare.rates import likely_rate
from d2m.prepare.sources.axes import UNITS, UPS
from d2m.prepare.sources.clip import make_clip
from d2m.prepare.sources.orders import check_order, reorder
from d2m.prepare.stated import Stated, read_stated

RIGHT, LEFT = [2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]


def walker(seconds: float = 4.0, fps: float = 30.0) -> np.ndarray:
    """(t, 14, 3) cm: knees bend forward only, as a human's do; the nose is in front."""
    body, t = dancer(seconds, fps), np.arange(round(seconds * fps)) / fps
    for hip, phase in ((8, 0.0), (11, np.pi)):
        bend = 0.6 + 0.5 * np.sin(2 * np.pi * t + phase)
        body[:, hip + 1] = body[:, hip] + 42 * np.stack([0 * t, -np.cos(bend), np.sin(bend)], -1)
        body[:, hip + 2] = body[:, hip + 1] + 42 * np.stack([0 * t, -np.cos(bend), -np.sin(bend)], -1)
        body[:, [hip + 1, hip + 2], 0] += body[:, hip, :1] * 0
    return body


def save(path: Path, joints: np.ndarray, fps: float = 30.0, **more: object) -> Path:
    np.savez(path, joints=joints, fps=fps, joint_names=np.array(JOINTS), **more)
    return path


def advice(error: str) -> dict[str, object]:
    """What a refusal says that should be said: ``set up=-y`` -> {"up": "-y"}."""
    key, value = re.search(r"set (\w+)=([^\s,;)]+)", error).groups()  # type: ignore[union-attr]
    return {key: {"true": True}.get(value, float(value) if re.fullmatch(r"[\d.]+", value) else value)}


def as_file(joints: np.ndarray, up: str) -> np.ndarray:
    """y up -> the axes of a file in which ``up`` is up."""
    axes, signs = UPS[up]
    out = np.empty_like(joints)
    for ours, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        out[..., axis] = joints[..., ours] * sign
    return out


# --- 3-D: unit, axes, sides --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    unit=st.sampled_from(["m", "dm", "inch", "cm", "mm", "cmu"]), up=st.sampled_from(sorted(UPS)),
    size=st.floats(0.85, 1.15), seed=st.integers(0, 20),
)  # fmt: skip
def test_every_unit_and_axis_is_right_or_refused_with_what_mends_it(
    tmp_path_factory: pytest.TempPathFactory, unit: str, up: str, size: float, seed: int
) -> None:
    true = dancer(3.0, 30.0, seed) * size
    path = save(tmp_path_factory.mktemp("p") / "a.npz", as_file(true, up) / UNITS[unit])
    stated: dict[str, object] = {}
    for _ in range(3):
        try:
            clip = read_pose("npz", path, read_stated(stated))
            break
        except D2MError as e:
            assert "\n" not in str(e)
            stated |= advice(str(e))
    assert stated == ({} if unit == "cm" else {"unit": unit}) | ({} if up == "y" else {"up": up})
    np.testing.assert_allclose(clip.joints, true, atol=1e-3)
    auto = read_pose("npz", path, Stated(unit="auto", up="auto"))
    np.testing.assert_allclose(auto.joints, true, atol=1e-3)


def test_a_unit_that_the_file_names_is_believed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", dancer(3) / 100, units="m")
    np.testing.assert_allclose(read_pose("npz", path, Stated()).joints, dancer(3), atol=1e-3)
    np.testing.assert_allclose(read_pose("npz", path, Stated(unit="m")).joints, dancer(3), atol=1e-3)


def test_a_wrong_statement_is_refused_too(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", dancer(3))
    for stated, told in (
        (Stated(unit="m"), "with unit=m"), (Stated(up="-y"), "stands on its head"),
        (Stated(up="z"), "lies on its side"),
        (Stated(picture=(1280, 720)), "3-D poses have no picture"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told):
            read_pose("npz", path, stated)
    flat = save(tmp_path / "b.npz", picture(3))
    for stated, told in (
        (Stated(picture=(1280, 720)), "omit picture="), (Stated(unit="m"), "omit unit=m"),
        (Stated(up="y"), "stands on its head"), (Stated(up="z"), "no z"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told):
            read_pose("npz", flat, stated)


@pytest.mark.parametrize("fault, mend", [("mirror", "mirror"), ("sides", "swap_sides")])
def test_knees_that_bend_backwards(tmp_path: Path, fault: str, mend: str) -> None:
    true = walker()
    wrong = true * [-1.0, 1.0, 1.0] if fault == "mirror" else true.copy()
    if fault == "sides":
        wrong[:, RIGHT + LEFT] = true[:, LEFT + RIGHT]
    path = save(tmp_path / "a.npz", wrong)
    np.testing.assert_allclose(read_pose("npz", save(tmp_path / "t.npz", true), Stated()).joints, true, atol=1e-3)
    with pytest.raises(D2MError, match=rf"knees bend backwards.*{mend}=true"):
        read_pose("npz", path, Stated())
    np.testing.assert_allclose(read_pose("npz", path, Stated(**{mend: True})).joints, true, atol=1e-3)
    np.testing.assert_allclose(read_pose("npz", path, Stated(mirror=False)).joints, wrong, atol=1e-3)
    with pytest.raises(D2MError, match=rf"with {mend}=true its knees bend backwards"):
        read_pose("npz", save(tmp_path / "t.npz", true), Stated(**{mend: True}))


def test_who_stands_on_his_hands_may_say_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", dancer(3) * [1, -1, -1])
    with pytest.raises(D2MError, match=r"set up=-y \(or up=y if it does\)"):
        read_pose("npz", path, Stated())
    np.testing.assert_allclose(read_pose("npz", path, Stated(up="y")).joints, dancer(3) * [1, -1, -1], atol=1e-3)


# --- pictures: shares of the picture, a film on its side, order, sides --------------------------------------------


def test_shares_of_the_picture_become_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", picture(3) / [1280, 720])
    with pytest.raises(D2MError, match=r"set picture=\[WIDTH,HEIGHT\]"):
        read_pose("npz", path, Stated())
    clip = read_pose("npz", path, read_stated({"picture": [1280, 720]}))
    np.testing.assert_allclose(clip.joints, picture(3), atol=1e-2)


@pytest.mark.parametrize("up", ["y", "x", "-x"])
def test_a_film_on_its_side_or_head(tmp_path: Path, up: str) -> None:
    x, y = np.moveaxis(picture(3), -1, 0)
    turned = {"y": (x, -y), "x": (-y, x), "-x": (y, -x)}[up]
    path = save(tmp_path / "a.npz", np.stack(turned, -1))
    with pytest.raises(D2MError, match=rf"set up={up} ") as e:
        read_pose("npz", path, Stated())
    np.testing.assert_allclose(read_pose("npz", path, read_stated(advice(str(e.value)))).joints, picture(3), atol=1e-3)


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize(
    "true, taken",
    [("h36m", "coco17"), ("coco17", "h36m"), ("body25b", "body25"), ("body25", "body25b"), ("lsp14", "d2m")],
)
def test_an_order_is_told_by_the_body(true: str, taken: str, c: int) -> None:
    for seed in range(3):
        body = picture(3, seed=seed) if c == 2 else dancer(3, seed=seed)
        points = in_order(body, true)
        check_order(points, true, "file")
        with pytest.raises(D2MError, match=f"set order={true}$"):
            check_order(points, taken, "file")
        sure = np.ones((*points.shape[:2], 1))
        got = reorder(np.concatenate([points, sure], -1), true)[..., :-1]
        np.testing.assert_allclose(np.delete(got, 1, 1), np.delete(body, 1, 1), atol=1e-3)


def test_points_of_no_body_and_orders_of_other_counts_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", keypoints=picture(3)[:, np.random.default_rng(3).permutation(14)][:, [*range(14), 0, 1, 2]]
    )
    with pytest.raises(D2MError, match="no body in the order"):
        read_pose("coco17", tmp_path / "a.npz", Stated())
    with pytest.raises(
        D2MError, match="order=body25 has 25 points, but the file has 17; set order=coco17 or order=h36m"
    ):
        read_pose("coco17", tmp_path / "a.npz", Stated(order="body25"))
    np.savez(tmp_path / "b.npz", joints=in_order(dancer(3), "smpl24"), fps=30)
    with pytest.raises(D2MError, match="24 joints without joint_names; name them, or set order=smpl24"):
        read_pose("npz", tmp_path / "b.npz", Stated())
    clip = read_pose("npz", tmp_path / "b.npz", Stated(order="smpl24"))
    np.testing.assert_allclose(clip.joints, dancer(3), atol=1e-3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    flips=st.lists(st.integers(2, 88), min_size=1, max_size=6, unique=True), seed=st.integers(0, 10),
    c=st.sampled_from([2, 3]), noise=st.floats(0, 0.02),
)  # fmt: skip
def test_sides_that_a_detector_exchanged_are_exchanged_back(flips: list[int], seed: int, c: int, noise: float) -> None:
    true = picture(6, 25, seed)[:90] if c == 2 else dancer(6, 25, seed)[:90]
    true += noise * 50 * np.random.default_rng(seed).normal(size=true.shape)
    exchanged = np.zeros(len(true), bool)
    for k in flips:
        exchanged[k:] ^= True
    wrong = true.copy()
    wrong[np.ix_(exchanged, RIGHT + LEFT)] = true[np.ix_(exchanged, LEFT + RIGHT)]
    got, count = mend_sides(wrong)
    if exchanged.mean() > 0.5:  # most frames are believed
        true[:, RIGHT + LEFT] = true[:, LEFT + RIGHT]
    if exchanged.mean() != 0.5:
        np.testing.assert_array_equal(got, true)
        assert count == min(exchanged.sum(), (~exchanged).sum())


def test_a_turn_is_no_exchange_of_sides() -> None:
    body, t = dancer(6, 15), np.arange(90) / 15
    body -= body[:, 1:2] * [1, 0, 1]
    for hz in (0.5, 1.0, 2.0):  # two turns a second: 48 degrees a frame
        a = 2 * np.pi * hz * t[:, None]
        seen = np.stack([np.cos(a) * body[..., 0] + np.sin(a) * body[..., 2], -body[..., 1]], -1)
        got, count = mend_sides(seen)
        np.testing.assert_array_equal(got, seen)
        assert count == 0


# --- rates -------------------------------------------------------------------------------------------------------


def test_a_rate_that_no_body_keeps_up_with_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", dancer(6, 15), fps=120)
    with pytest.raises(D2MError, match=r"at 120 frames per second hands and feet move at \d+ m/s; set .* fps=") as e:
        read_pose("npz", path, Stated())
    assert "\n" not in str(e.value)
    assert read_pose("npz", path, Stated(fps=15)).fps == 15


@settings(max_examples=60, deadline=None)
@given(
    true=st.sampled_from([12.5, 15, 23.976, 24, 25, 30, 50, 60, 120]),
    said=st.sampled_from([15, 24, 25, 30, 50, 60, 120]),
    seconds=st.floats(30, 300), late=st.floats(-0.2, 0.2),
)  # fmt: skip
def test_the_likely_rate_is_named(true: float, said: float, seconds: float, late: float) -> None:
    likely = likely_rate(said, round(seconds * true) / said, seconds + late)
    if abs(true / said - 1) < 0.002:
        assert likely is None
    else:
        assert likely is not None and abs(likely / true - 1) < 0.01
    assert likely_rate(30.0, 60.0, 41.0) is None  # 43.9 frames per second is nobody's


def test_options_that_a_source_does_not_read_are_refused() -> None:
    for source, said, told in (
        ("video", {"fps": 25}, "not take fps="), ("bvh", {"order": "coco17"}, "npz, openpose, coco17 do"),
        ("npz", {"names": {"neck": "N"}}, "bvh do"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told):
            Options(source=source, stated=read_stated(said))
    for said, told in (
        ({"unit": "furlong"}, "unit=furlong: choose m"), ({"unit": -1}, "above 0"), ({"unit": True}, "above 0"),
        ({"up": "w"}, "up=w: give y"), ({"fps": 0}, "fps=0"), ({"fps": "fast"}, "fps=fast"), ({"mirror": 1}, "true or"),
        ({"order": "coco"}, "order=coco: give one of coco17"), ({"picture": [1]}, r"picture=\[1280,720\]"),
        ({"names": {"tail": "x"}}, "'tail' is not one"), ({"names": 3}, "names=3"), ({"size": 1}, "poses: 'size'"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told):
            read_stated(said)
    assert "stated" not in Options().plain()  # corpora of before keep their digest
    assert Options(stated=Stated(unit="m")).plain()["stated"] == {"unit": "m"}


def test_music_that_lasts_otherwise_names_the_rate(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", dancer(8, 25), fps=30)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 8 * 22050), 22050)
    recording = Recording("a", "x", tmp_path / "a.wav", path, "a")
    with pytest.raises(
        D2MError,
        match=r"6\.7 s of motion but 8\.0 s of music.*set fps=25; if they end together, set audio_offset=-1\.33$",
    ):
        read_recording(recording, Options())
    assert len(read_recording(recording, Options(stated=Stated(fps=25)))[1]) == 120


@pytest.mark.parametrize("c", [2, 3])
def test_music_without_a_unit_is_kept(tmp_path: Path, c: int) -> None:
    still = np.repeat(dancer(0.1)[:1] if c == 3 else picture(0.1)[:1], 90, axis=0)
    path = save(tmp_path / "a.npz", still, fps=15)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 6 * 22050), 22050)
    got = process(Recording("a", "x", tmp_path / "a.wav", path, "a"), Options(yaws=(0.0,)))
    assert got.units.shape == (1, 0, 32, 28) and len(got.features) == 90


# --- gaps and missing people -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(first=st.integers(0, 60), length=st.integers(0, 90), joint=st.integers(0, 13), c=st.sampled_from([2, 3]))
def test_gaps_do_not_make_a_body_implausible(first: int, length: int, joint: int, c: int) -> None:
    body = picture(4) if c == 2 else walker()
    body[first : first + length] = np.nan
    body[:, joint] = np.nan
    look(make_clip(body, 30, "x"), Stated(), "x")


def test_nobody_passes_the_look_and_is_left_to_cleaning() -> None:
    look(make_clip(np.full((60, 14, 2), np.nan), 30, "x"), Stated(), "x")


def test_real_dances_are_plausible(shared_folder: Path) -> None:
    folder = shared_folder / "data"
    files = [("npz", f) for f in sorted(folder.glob("ballroom/pose3d/*.npz"))[::6]]
    files += [("npz", f) for f in sorted(folder.glob("mocap/npz/*.npz"))[::6]]
    files += [("npz", f) for f in sorted(folder.glob("aist2d/*.npz"))]
    files += [("bvh", f) for f in sorted(folder.glob("mocap/bvh/*.bvh"))]
    assert len(files) > 15
    for source, file in files:
        clip = read_pose(source, file, Stated())
        assert mend_sides(clip.joints)[1] == 0


def test_embedded_corpora_are_plausible(tmp_path: Path) -> None:
    from d2m.toy import write_corpus

    write_corpus(tmp_path / "raw", n_songs_per_genre=1, seconds=6.0)
    files = sorted(f for f in (tmp_path / "raw").rglob("*.npz") if "truth" not in f.parts)
    assert files
    for file in files:
        assert mend_sides(read_pose("npz", file, Stated()).joints)[1] == 0


# --- reported cases -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, case, stated, told",
    [
        ("npz", "npz_units_axes/raw/house/metres.npz", {}, "set unit=m"),
        ("npz", "npz_units_axes/raw/house/z_up.npz", {}, "set up=z"),
        ("npz", "npz_units_axes/raw/house/y_down.npz", {}, "set up=-y"),
        ("coco17", "coco17_normalised_or_h36m/raw/house/b_xyn_of_1280x720.npz", {}, "picture=[1280,720]"),
        ("coco17", "coco17_normalised_or_h36m/raw/house/c_h36m_order.npz", {}, "set order=h36m"),
        ("openpose", "openpose_body25b/raw/house/dance", {}, "set order=body25b"),
        ("openpose", "openpose_two_films/raw/house/dance", {}, "two films, 'filmA_' and 'filmB_'"),
        ("coco17", "coco17_detector_json/raw/house/ultralytics.json", {}, "does not tell which frame"),
        ("npz", "npz_units_axes/raw/house/cm_y_up.npz", {}, None),
        ("npz", "npz_units_axes/raw/house/metres.npz", {"unit": "m"}, None),
        ("coco17", "coco17_normalised_or_h36m/raw/house/a_pixels.npz", {}, None),
        ("coco17", "coco17_normalised_or_h36m/raw/house/c_h36m_order.npz", {"order": "h36m"}, None),
        ("openpose", "openpose_body25b/raw/house/dance", {"order": "body25b"}, None),
        ("coco17", "coco17_detector_json/raw/house/alphapose.json", {}, None),
        ("coco17", "coco17_detector_json/raw/house/mmpose.json", {}, None),
        ("bvh", "bvh_side_suffix/raw/house/suffix_L.bvh", {}, None),
        ("bvh", "bvh_side_suffix/raw/house/blender_rigify.bvh", {}, None),
    ],
)
def test_reported_cases(
    shared_folder: Path, source: str, case: str, stated: dict[str, object], told: str | None
) -> None:
    path = shared_folder / "cases" / case
    if not path.exists():
        pytest.skip("no reported cases here")
    if told is None:
        assert len(read_pose(source, path, read_stated(stated)).joints) > 2
    else:
        with pytest.raises(D2MError, match=re.escape(told)):
            read_pose(source, path, read_stated(stated))


def test_the_reported_exchange_of_sides_is_undone(shared_folder: Path) -> None:
    path = shared_folder / "cases/openpose_sides_swapped/raw/house/swapped"
    if not path.exists():
        pytest.skip("no reported cases here")
    assert mend_sides(read_pose("openpose", path, Stated()).joints)[1] == 12
