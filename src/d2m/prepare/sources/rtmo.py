"""RTMO on ONNX Runtime: all people in a picture and their COCO-17 keypoints in one pass.

Lu et al., "RTMO: Towards High-Performance One-Stage Real-Time Multi-Person Pose Estimation", CVPR 2024 (Apache-2.0;
MMPose's deploy export). Input: (1, 3, h, w) float32, BGR, 0 to 255, the picture scaled into the upper left corner, 114
elsewhere. Outputs: ``dets`` (1, n, 5) boxes and scores, ``keypoints`` (1, n, 17, 3). Any ONNX model with this interface
works. docs/adr/0033 says why no existing package is used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError

_PAD = 114
_SIDE = 640  # used if the model has a dynamic input size
_NMS_IOU = 0.65


class Rtmo:
    """A :class:`d2m.prepare.sources.video.PoseEstimator`.

    Args:
        weights: an ONNX file.
        min_score: people with lower scores are ignored.
        threads: of ONNX Runtime on the CPU; 0: its default.

    Raises:
        D2MError: onnxruntime is not installed, no such file, not an ONNX model, or one with other inputs or outputs.
    """

    def __init__(self, weights: str | Path, min_score: float = 0.3, threads: int = 1) -> None:
        path = Path(weights).expanduser()
        try:
            runtime: Any = importlib.import_module("onnxruntime")
        except ImportError as e:
            raise D2MError("pose estimation needs onnxruntime; install it with pip install 'd2m[video]'") from e
        if not path.is_file():
            raise D2MError(f"{path}: no such weights file; give the ONNX file of an RTMO model")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        known = runtime.get_available_providers()
        wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in known]
        try:
            self._session: Any = runtime.InferenceSession(str(path), options, providers=wanted)
        except Exception as e:  # onnxruntime's own exceptions have no common base class
            raise D2MError(
                f"{path}: not an ONNX model that this machine can run ({type(e).__name__}); export it again"
            ) from e
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [len(o.shape) for o in outputs]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or sorted(shapes) != [3, 4]:
            raise D2MError(
                f"{path}: has {len(inputs)} input(s) and {len(outputs)} output(s); "
                "RTMO has one input, and dets and keypoints"
            )
        self._input = inputs[0].name
        # Boxes have three axes, keypoints four; order and names of the outputs vary between exports.
        self._outputs = [outputs[shapes.index(3)].name, outputs[shapes.index(4)].name]
        self._size = tuple(n if isinstance(n, int) and n > 0 else _SIDE for n in inputs[0].shape[2:])
        self._weights, self._min_score = path, min_score

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 RGB (h, w, 3) -> (people, 17, 3), best first: pixels of the picture, confidence in [0, 1]."""
        height, width = self._size
        scale = min(height / picture.shape[0], width / picture.shape[1])
        inner = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
        canvas = np.full((height, width, 3), _PAD, np.uint8)
        canvas[: inner[1], : inner[0]] = cv2.resize(picture[..., ::-1], inner, interpolation=cv2.INTER_LINEAR)
        batch = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
        try:
            boxes, points = self._session.run(self._outputs, {self._input: batch})
        except Exception as e:
            raise D2MError(f"{self._weights}: fails on a picture ({type(e).__name__}); give an RTMO model") from e
        if boxes.shape[-1] != 5 or points.shape[-2:] != (17, 3) or boxes.shape[1] != points.shape[1]:
            raise D2MError(f"{self._weights}: gives {boxes.shape} and {points.shape}; RTMO has 5, and 17 x 3 numbers")
        keep = suppress(boxes[0, :, :4], boxes[0, :, 4], self._min_score)
        people = np.array(points[0][keep], np.float32)
        people[..., :2] /= scale
        people[..., 2] = np.clip(people[..., 2], 0.0, 1.0)
        return people


def suppress(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], min_score: float, max_iou: float = _NMS_IOU
) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best first: non-maximum suppression of boxes that overlap by more than ``max_iou``.

    Args:
        boxes: (n, 4) x0, y0, x1, y1. scores: (n,).
    """
    order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= min_score]
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    for i in order:
        if kept:
            inner = np.minimum(boxes[kept, 2:], boxes[i, 2:]) - np.maximum(boxes[kept, :2], boxes[i, :2])
            common = np.prod(np.maximum(inner, 0.0), axis=1)
            if (common > max_iou * np.maximum(area[kept] + area[i] - common, 1e-9)).any():
                continue
        kept.append(i)
    return np.asarray(kept, np.int64)
