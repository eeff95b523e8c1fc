"""Video: what is decoded, who is followed; RTMO's adapter run for real, on a small ONNX model that finds discs."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from dancing import coco17, picture

from d2m.core.errors import D2MError
from d2m.draw.render import draw_dance
from d2m.draw.video import render_dance, write_video
from d2m.prepare.sources import SOURCES
from d2m.prepare.sources.rtmo import Rtmo, suppress
from d2m.prepare.sources.video import WEIGHTS_VARIABLE, decode, read_video

SIZE = (480, 640)
#: One colour a keypoint: the corners and edges of the RGB cube, without black and its neighbours.
COLOURS = np.array([c for c in np.ndindex(3, 3, 3) if max(c) == 2][:17], np.float32) * 127.5


def dance(seconds: float = 2.0, fps: float = 30.0, seed: int = 0) -> np.ndarray:
    """(t, 14, 2) in a picture of 640 x 480."""
    return (picture(seconds, fps, seed, torso_px=90) - [640, 620]) * 0.9 + [320, 440]


def draw(keypoints: np.ndarray) -> list[np.ndarray]:
    """(t, 17, 2) -> pictures with a disc of its own colour for every keypoint."""
    pictures = []
    for points in keypoints:
        image = np.zeros((*SIZE, 3), np.uint8)
        for point, colour in zip(points, COLOURS, strict=True):
            cv2.circle(image, tuple(np.round(point * 16).astype(int).tolist()), 7 * 16, colour.tolist(), -1, shift=4)
        pictures.append(image)
    return pictures


def spread(joints: np.ndarray) -> np.ndarray:
    """COCO-17 of ours with eyes and ears beside the nose, so that no disc hides another."""
    points = coco17(joints)
    points[:, 1:5] += np.array([[12, -14], [-12, -14], [26, 0], [-26, 0]])
    return points


def find_discs(image: np.ndarray) -> np.ndarray:
    """The estimator of these tests: the middle of the pixels of each colour, as sure as there are many."""
    out = np.zeros((1, 17, 3), np.float32)
    y, x = np.nonzero(image.max(axis=-1) > 60)
    lit = image[y, x].astype(np.float32)
    away = np.square(lit[:, None] - COLOURS).sum(axis=-1)
    nearest = np.where(away.min(axis=1) < 50**2, away.argmin(axis=1), 17)
    for k in range(17):
        mine = nearest == k
        if mine.sum() > 20:
            out[0, k] = x[mine].mean(), y[mine].mean(), min(1.0, mine.sum() / 100)
    return out if out[..., 2].any() else out[:0]


def expected(joints: np.ndarray) -> np.ndarray:
    out = joints.copy()
    out[:, 1] = 0.5 * (out[:, 2] + out[:, 5])
    return out


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of coloured discs at 30 fps."""
    return write_video(tmp_path_factory.mktemp("film") / "f.mp4", draw(spread(dance())), 30, crf=4)


# --- decoding ------------------------------------------------------------------------------------------------------


def test_a_rendered_dance_is_decoded_frame_by_frame(tmp_path: Path) -> None:
    poses = picture(2, 15)
    render_dance(tmp_path / "d.mp4", [poses], size=(240, 320), fps_out=30, crf=10)
    fps, pictures = decode(tmp_path / "d.mp4")
    got = list(pictures)
    drawn = list(draw_dance([poses], size=(240, 320), fps_out=30))
    assert fps == 30 and len(got) == len(drawn) == 60
    np.testing.assert_allclose([t for t, _ in got], np.arange(60) / 30, atol=1e-3)
    for (_, a), b in zip(got, drawn, strict=True):
        assert a.shape == b.shape and a.dtype == np.uint8
        assert np.abs(a.astype(float) - b).mean() < 3


def test_fast_films_are_thinned(tmp_path: Path) -> None:
    write_video(tmp_path / "f.mp4", draw(spread(dance(1, 60))), 60)
    fps, pictures = decode(tmp_path / "f.mp4")
    assert fps == 30 and [t for t, _ in pictures] == pytest.approx(np.arange(30) / 30, abs=1e-3)
    assert decode(tmp_path / "f.mp4", max_fps=16)[0] == 15


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film " * 200)
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_video(tmp_path / "v.mp4", draw(spread(dance(1))), 30, audio=np.zeros(22050))
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=22050, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 22050, 0, Fraction(1, 22050)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    for name, told in (
        ("text.mp4", "not a readable video"), ("empty.mp4", "not a readable video"), ("none.mp4", "no such video"),
        ("sound.m4a", "no picture"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told) as e:
            read_video(tmp_path / name, estimator=find_discs)
        assert name in str(e.value) and "\n" not in str(e.value)
    # Cut after its header (which comes first): what is there is used, and the end is not held against it.
    whole = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(len(whole) * 0.7)])
    try:
        assert len(read_video(tmp_path / "cut.mp4", estimator=find_discs).joints) < 30
    except D2MError as e:
        assert ("breaks off" in str(e) or "is cut off" in str(e)) and "\n" not in str(e)


# --- people in it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_film_that_is_cut_off_is_refused(film: Path, tmp_path: Path, share: float) -> None:
    """Its header comes first, and FFmpeg stops without an error where the pictures end."""
    with (
        av.open(str(film)) as source,
        av.open(str(tmp_path / "whole.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert len(list(decode(tmp_path / "whole.mp4")[1])) == 60
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: round(share * len(data))])
    with pytest.raises(D2MError, match=r"(cut off or damaged, \d+ of its 60 pictures|breaks off)"):
        list(decode(tmp_path / "cut.mp4")[1])


def test_joints_are_found_in_a_film(film: Path) -> None:
    clip = read_video(film, estimator=find_discs)
    joints = expected(dance())
    assert clip.joints.shape == joints.shape and clip.fps == 30
    seen = np.isfinite(clip.joints).all(-1)
    assert seen.mean() > 0.97
    away = np.linalg.norm(clip.joints - joints, axis=-1)[seen]
    assert np.median(away) < 0.7 and np.percentile(away, 95) < 4  # discs that overlap are seen in part


def test_dropped_pictures_are_unseen(tmp_path: Path) -> None:
    frames = draw(spread(dance(2)))
    with av.open(str(tmp_path / "v.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"crf": "4"}
        stream.codec_context.time_base = Fraction(1, 30)
        for k, image in enumerate(frames):
            if not 20 <= k < 26:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = k, Fraction(1, 30)
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    clip = read_video(tmp_path / "v.mp4", estimator=find_discs)
    gone = np.isnan(clip.joints).all(axis=(1, 2))
    # The rate that such a file states is lower; its clock is right all the same.
    first, last = np.flatnonzero(gone)[[0, -1]]
    assert first / clip.fps == pytest.approx(20 / 30, abs=0.07) and last / clip.fps == pytest.approx(25 / 30, abs=0.07)
    assert clip.seconds == pytest.approx(2.0, abs=0.07)


def test_an_empty_stage_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [np.zeros((*SIZE, 3), np.uint8)] * 10, 30)
    with pytest.raises(D2MError, match="no dancer in 10 pictures"):
        read_video(tmp_path / "v.mp4", estimator=find_discs)


# --- RTMO ----------------------------------------------------------------------------------------------------------


def disc_model(path: Path, side: int = 320, keypoints: int = 17, people: int = 1) -> Path:
    """An ONNX model with RTMO's inputs and outputs that really finds the discs: weighted means of colour matches."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: no model can be built")
    from onnx import TensorProto, helper, numpy_helper

    bgr = COLOURS[:keypoints, ::-1].astype(np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    constants = {
        "kernel": bgr[:, :, None, None] * -2, "squares": np.square(bgr).sum(1)[None, :, None, None],
        "tolerance": np.float32(70.0**2), "one": np.float32(1), "tiny": np.float32(1e-6), "area": np.float32(12),
        "x": x[None, None], "y": y[None, None], "shape": np.array([1, 1, keypoints, 1], np.int64),
        "box_shape": np.array([1, 1, 1], np.int64), "tile_boxes": np.array([1, people, 1], np.int64),
        "tile_points": np.array([1, people, 1, 1], np.int64), "hw": np.array([2, 3], np.int64),
        "c": np.array([1], np.int64), "k": np.array([2], np.int64),
    }  # fmt: skip
    steps = [
        ("Conv", ["image", "kernel"], "cross"), ("Mul", ["image", "image"], "squared"),
        ("ReduceSum", ["squared", "c"], "own"), ("Add", ["cross", "own"], "partly"),
        ("Add", ["partly", "squares"], "far"),
        ("Div", ["far", "tolerance"], "ratio"), ("Sub", ["one", "ratio"], "signed"), ("Relu", ["signed"], "match"),
        ("ReduceSum", ["match", "hw"], "mass"), ("Max", ["mass", "tiny"], "safe"),
        ("Mul", ["match", "x"], "mx"), ("ReduceSum", ["mx", "hw"], "sx"), ("Div", ["sx", "safe"], "cx"),
        ("Mul", ["match", "y"], "my"), ("ReduceSum", ["my", "hw"], "sy"), ("Div", ["sy", "safe"], "cy"),
        ("Div", ["mass", "area"], "many"), ("Min", ["many", "one"], "sure"),
        ("Reshape", ["cx", "shape"], "px"), ("Reshape", ["cy", "shape"], "py"), ("Reshape", ["sure", "shape"], "ps"),
    ]  # fmt: skip
    nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in steps]
    nodes.append(helper.make_node("Concat", ["px", "py", "ps"], ["points"], axis=3))
    for name, kind, of in (("x0", "ReduceMin", "px"), ("y0", "ReduceMin", "py"), ("x1", "ReduceMax", "px"),
                           ("y1", "ReduceMax", "py"), ("score", "ReduceMean", "ps")):  # fmt: skip
        nodes.append(helper.make_node(kind, [of, "k"], [f"{name}_4"]))
        nodes.append(helper.make_node("Reshape", [f"{name}_4", "box_shape"], [name]))
    nodes.append(helper.make_node("Concat", ["x0", "y0", "x1", "y1", "score"], ["box"], axis=2))
    nodes.append(helper.make_node("Tile", ["box", "tile_boxes"], ["dets"]))
    nodes.append(helper.make_node("Tile", ["points", "tile_points"], ["keypoints"]))
    graph = helper.make_graph(
        nodes, "discs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, people, 5]),
         helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, [1, people, keypoints, 3])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def runtime() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra video)")


def test_rtmo_reads_a_film(runtime: None, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = disc_model(tmp_path / "m.onnx")
    clip = read_video(film, weights=weights)
    joints = expected(dance())
    seen = np.isfinite(clip.joints).all(-1)
    away = np.linalg.norm(clip.joints - joints, axis=-1)[seen]
    assert clip.joints.shape == joints.shape and seen.mean() > 0.97
    assert np.median(away) < 1.0  # the model sees the film at half its size: pixels come back doubled
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(weights))
    np.testing.assert_array_equal(SOURCES["video"](film).joints, clip.joints)


def test_rtmo_keeps_one_of_those_that_overlap(runtime: None, tmp_path: Path) -> None:
    image = draw(spread(dance(0.1)))[0]
    one, three = (Rtmo(disc_model(tmp_path / f"{n}.onnx", people=n))(image) for n in (1, 3))
    assert one.shape == three.shape == (1, 17, 3)
    assert Rtmo(disc_model(tmp_path / "m.onnx"), min_score=0.9)(np.zeros_like(image)).shape == (0, 17, 3)


def test_boxes_that_overlap_are_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 9.0]])
    assert suppress(boxes, np.array([0.6, 0.9, 0.5, 0.2]), 0.3).tolist() == [1, 2]
    assert suppress(boxes[:0], np.zeros(0), 0.3).tolist() == []


def test_wrong_weights_are_one_line(runtime: None, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    (tmp_path / "text.onnx").write_text("weights")
    with pytest.raises(D2MError, match=WEIGHTS_VARIABLE):
        SOURCES["video"](film)
    for weights, told in (
        (tmp_path / "none.onnx", "no such weights"), (tmp_path / "text.onnx", "not an ONNX model"),
        (disc_model(tmp_path / "few.onnx", keypoints=16), "RTMO has 5, and 17 x 3"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=told) as e:
            read_video(film, weights=weights)
        assert weights.name in str(e.value) and "\n" not in str(e.value)


def test_without_the_extra_it_says_so(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(D2MError, match=r"d2m\[video\]"):
        read_video(film, weights="any.onnx")
