"""Front ends `onnx:SAMPLE_RATE`: frames of a user-supplied ONNX model (extra `onnx`).

:data:`MODEL_VARIABLE` names the file. Its only input is audio, (n,) or (1, n) float32, full scale at 1, at SAMPLE_RATE
(22,050 Hz by default); its first output is (frames, f) or (1, frames, f). Frames are assumed to cover the audio
evenly, so their rate is their number divided by the duration. The model processes blocks of 30 s with 2 s of context on
each side, so that memory does not grow with the song; its frames are resampled to 15 fps like those of an embedding.

The name recorded in corpora and bundles contains the start of the file's sha256, `onnx:24000:0f3c...`, so that another
model is refused. The file itself is not stored in them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.skeleton import FPS, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.front_ends.base import FrontEnd
from d2m.music.front_ends.embedding import resample

Floats = NDArray[np.float32]

#: Environment variable with the path of the model.
MODEL_VARIABLE = "D2M_ONNX_FRONT_END"
PART_S = 30.0
MARGIN_S = 2.0


def onnx_model(text: str) -> FrontEnd:
    """The front end of ``SAMPLE_RATE`` or ``SAMPLE_RATE:SHA256``, both of which may be left out.

    Raises:
        D2MError: an invalid rate; a missing file, one with another digest, or a model without audio input.
    """
    rate, _, digest = text.partition(":")
    if rate and not (rate.isdigit() and int(rate) >= 1000):
        raise D2MError(f"front_end=onnx:{text}: give the model's sample rate in Hz, as in onnx:24000")
    given = os.environ.get(MODEL_VARIABLE, "")
    path = Path(given).expanduser()
    if not given or not path.is_file():
        raise D2MError(f"front_end=onnx: no such file '{given}'; set {MODEL_VARIABLE} to the model's .onnx")
    actual = sha256(path)
    if not actual.startswith(digest):
        raise D2MError(
            f"{path}: sha256 {actual[:12]}..., not {digest}...; set {MODEL_VARIABLE} to the model used before"
        )
    return _front_end(str(path), int(rate or SAMPLE_RATE), actual)


#: Name of the family, and the function that makes a front end from the rest of the name.
FAMILY = ("onnx", onnx_model)


@cache
def _front_end(path: str, rate: int, digest: str) -> FrontEnd:
    model = _open(path)
    width = _frames(model, path, np.zeros(rate, np.float32)).shape[1]

    def compute(wave: Floats) -> Floats:
        length, part, margin = n_frames(len(wave)), round(PART_S * FPS), round(MARGIN_S * FPS)
        rows = np.empty((length, width), np.float32)
        for first in range(0, length, part):
            stop = min(first + part, length)
            begin, end = max(first - margin, 0), min(stop + margin, length)
            sound = _sound(wave, begin, end, rate)
            frames = _frames(model, path, sound)
            if frames.shape[1] != width:
                raise D2MError(
                    f"{path}: gave {frames.shape[1]} numbers per frame, but {width} for 1 s of silence; export it again"
                )
            at_15 = resample(frames, len(frames) / (len(sound) / rate), end - begin, name=path)
            rows[first:stop] = at_15[first - begin : stop - begin]
        return rows

    return FrontEnd(
        f"onnx:{rate}:{digest[:12]}", tuple(f"onnx_{k}" for k in range(width)), PART_S + MARGIN_S, compute,
        {"sha256": digest, "sample_rate": rate, "part_s": PART_S, "margin_s": MARGIN_S},
    )  # fmt: skip


def _sound(wave: Floats, begin: int, end: int, rate: int) -> Floats:
    """The sound of dance frames ``begin`` to ``end`` at the model's rate; silence beyond the end of the song."""
    import soxr

    hop = SAMPLE_RATE // FPS
    part = wave[begin * hop : end * hop]
    part = np.pad(part, (0, (end - begin) * hop - len(part)))
    return part if rate == SAMPLE_RATE else np.asarray(soxr.resample(part, SAMPLE_RATE, rate), np.float32)


def _open(path: str) -> Callable[[Floats], Any]:
    """A function from the model's sound (n,) to its first output."""
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError as e:
        raise D2MError("front_end=onnx needs onnxruntime; pip install 'd2m[onnx]'") from e
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as e:  # its exceptions have no common base class
        raise D2MError(f"{path}: not an ONNX model ({type(e).__name__}); export it again") from e
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) not in (1, 2):
        shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise D2MError(f"{path}: its inputs are {shown}; a front end takes one, float32 audio of shape (n,) or (1, n)")
    first, batched = session.get_outputs()[0].name, len(inputs[0].shape) == 2

    def run(sound: Floats) -> Any:
        return session.run([first], {inputs[0].name: sound[None] if batched else sound})[0]

    return run


def _frames(model: Callable[[Floats], Any], path: str, sound: Floats) -> Floats:
    """(frames, f) of the sound."""
    try:
        out = np.asarray(model(sound))
    except Exception as e:  # as above
        reason = str(e).splitlines()[0]
        raise D2MError(f"{path}: fails on {len(sound)} samples ({reason}); its input length must be dynamic") from e
    rows = out[0] if out.ndim == 3 and len(out) == 1 else out
    if rows.ndim != 2 or not rows.size or not np.issubdtype(rows.dtype, np.floating):
        raise D2MError(f"{path}: gave {out.dtype} {out.shape}; a front end gives floats (frames, f) or (1, frames, f)")
    return np.asarray(rows, np.float32)
