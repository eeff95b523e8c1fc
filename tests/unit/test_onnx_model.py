"""Front ends `onnx:SAMPLE_RATE`: a model of the user's own, here a tiny one: the mean square of every 20 ms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.skeleton import FPS, HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.front_ends import features, front_end
from d2m.music.front_ends.onnx_model import MODEL_VARIABLE

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write_model(path: Path, hop: int = 441, gain: float = 1.0, batched: bool = True, n: str | int = "n") -> Path:
    """(1, n) or (n,) -> (1, n // hop, 2): mean square and minus mean square of every ``hop`` samples."""
    from onnx import TensorProto, helper, numpy_helper

    shape = [1, n] if batched else [n]
    nodes = [
        helper.make_node("Reshape", ["wave", "row"], ["x"]),
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("AveragePool", ["square"], ["mean"], kernel_shape=[hop], strides=[hop]),
        helper.make_node("Conv", ["mean", "weight"], ["two"]),
        helper.make_node("Transpose", ["two"], ["frames"], perm=[0, 2, 1]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 1, -1], np.int64), "row"),
        numpy_helper.from_array(np.array([gain, -gain], np.float32).reshape(2, 1, 1), "weight"),
    ]
    wave = helper.make_tensor_value_info("wave", TensorProto.FLOAT, shape)
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, "m", 2])
    graph = helper.make_graph(nodes, "tiny", [wave], [frames], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_model(tmp_path / "tiny.onnx")
    monkeypatch.setenv(MODEL_VARIABLE, str(path))
    return path


def loudening(seconds: float) -> np.ndarray:
    """A tone whose mean square grows from 0 to 1 over 100 s."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (np.sqrt(t / 50) * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)


@pytest.mark.parametrize("batched", [True, False])
def test_rows_are_the_models_at_fifteen_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batched: bool
) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, str(write_model(tmp_path / "m.onnx", batched=batched)))
    rows = features(loudening(75), "onnx")  # three parts
    assert rows.shape == (75 * FPS, 2) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[2:-2, 0], np.arange(2, 75 * FPS - 2) / FPS / 100, atol=1e-3)
    np.testing.assert_allclose(rows[:, 1], -rows[:, 0])


def test_at_the_models_own_sample_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, str(write_model(tmp_path / "m.onnx", hop=320)))
    rows = features(loudening(40), "onnx:16000")
    np.testing.assert_allclose(rows[2:-2, 0], np.arange(2, 40 * FPS - 2) / FPS / 100, atol=2e-3)


def test_the_name_holds_the_models_digest(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hears = front_end("onnx")
    assert hears.name == f"onnx:{SAMPLE_RATE}:{sha256(model)[:12]}"
    assert hears.params["sha256"] == sha256(model) and hears.width == 2
    assert front_end(hears.name) is hears
    monkeypatch.setenv(MODEL_VARIABLE, str(write_model(tmp_path / "other.onnx", gain=2.0)))
    with pytest.raises(D2MError, match=r"other\.onnx: sha256 .*, not"):
        features(loudening(3), hears.name)


@pytest.mark.parametrize("n", [0, 1, 800, HOP, 5000])
def test_short_sounds(model: Path, n: int) -> None:
    rows = features(loudening(1)[:n], "onnx")
    assert rows.shape == (n_frames(n), 2) and np.isfinite(rows).all()


def test_one_line_for_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    with pytest.raises(D2MError, match=f"set {MODEL_VARIABLE}"):
        front_end("onnx")
    with pytest.raises(D2MError, match="as in onnx:24000"):
        front_end("onnx:fast")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path / "bad.onnx"))
    with pytest.raises(D2MError, match=r"bad\.onnx: not an ONNX model") as e:
        front_end("onnx")
    assert "\n" not in str(e.value)
    monkeypatch.setenv(MODEL_VARIABLE, str(write_model(tmp_path / "fixed.onnx", n=1000)))
    with pytest.raises(D2MError, match=r"fixed\.onnx: fails on 22050 samples") as e:
        front_end("onnx")
    assert "\n" not in str(e.value)
