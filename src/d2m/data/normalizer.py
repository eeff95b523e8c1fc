"""Mean and standard deviation of poses and music features, fitted on the training split; in every bundle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import POSE_DIM

#: Lower bounds of standard deviations. Coordinates below them are constant (such as the hips' x after centring), and
#: dividing by their deviation would only amplify noise.
POSE_STD_FLOOR = 1.0  # px
#: Lower bound of a coordinate's deviation as a share of the largest one. With centred hips, theirs is 2 px against 26
#: px for a wrist, so that an L1 in normalised units would be dominated by the trunk instead of the movement.
POSE_STD_SHARE = 0.2
FEATURE_STD_FLOOR = 1e-3


#: Names of the four statistics in files and fields.
FIELDS = ("pose_mean", "pose_std", "feature_mean", "feature_std")


def mean_and_std(chunks: Iterable[NDArray[np.floating]], floor: float, dim: int) -> tuple[NDArray[np.float32], ...]:
    """Statistics over all rows of arrays (n, dim), in one pass with float64 sums relative to the first chunk's mean.

    Returns:
        mean (dim,) and std (dim,), the latter at least ``floor``; zeros and ones if there are no rows.
    """
    count, total, squares = 0, np.zeros(dim), np.zeros(dim)
    origin: NDArray[np.float64] | None = None
    for chunk in chunks:
        if not len(chunk):
            continue
        x = np.asarray(chunk, np.float64)
        if origin is None:
            origin = x.mean(axis=0)
        x = x - origin
        count += len(x)
        total += x.sum(axis=0)
        squares += np.square(x).sum(axis=0)
    if origin is None:
        return np.zeros(dim, np.float32), np.ones(dim, np.float32)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    return (origin + mean).astype(np.float32), np.maximum(std, floor).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Statistics of the training split, float32: poses (28,) in pixels, features (f,) in the front end's unit.

    Accepts arrays and tensors. Arrays are returned in float32, tensors on their device and in their dtype.
    """

    pose_mean: NDArray[np.float32]
    pose_std: NDArray[np.float32]
    feature_mean: NDArray[np.float32]
    feature_std: NDArray[np.float32]
    _tensors: dict[Any, torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        width = np.size(self.feature_mean)
        for name, dim in zip(FIELDS, (POSE_DIM, POSE_DIM, width, width), strict=True):
            value = np.ascontiguousarray(getattr(self, name), np.float32)
            positive = not name.endswith("std") or (value > 0).all()
            if value.shape != (dim,) or not np.isfinite(value).all() or not positive:
                raise D2MError(
                    f"normalizer: {name} must be {dim} finite numbers, and standard deviations must be positive"
                )
            object.__setattr__(self, name, value)

    @property
    def n_features(self) -> int:
        """The front end's width."""
        return len(self.feature_mean)

    @classmethod
    def fit(
        cls, units: Iterable[NDArray[np.floating]], features: Iterable[NDArray[np.floating]], n_features: int
    ) -> Normalizer:
        """From chunks of poses (n, 28) and of features (n, n_features) of the training split."""
        pose_mean, pose_std = mean_and_std(units, POSE_STD_FLOOR, POSE_DIM)
        pose_std = np.maximum(pose_std, POSE_STD_SHARE * pose_std.max())
        feature_mean, feature_std = mean_and_std(features, FEATURE_STD_FLOOR, n_features)
        return cls(pose_mean, pose_std, feature_mean, feature_std)

    @classmethod
    def identity(cls, n_features: int) -> Normalizer:
        """Means of zero and deviations of one."""
        return cls(*(np.full(dim, v, np.float32) for dim in (POSE_DIM, n_features) for v in (0, 1)))

    @classmethod
    def load(cls, path: str | Path) -> Normalizer:
        """Read what :meth:`save` wrote.

        Raises:
            D2MError: missing, unreadable or incomplete file.
        """
        try:
            with np.load(path, allow_pickle=False) as f:
                return cls(**{name: f[name] for name in FIELDS})
        except D2MError as e:
            raise D2MError(f"{path}: {e}; prepare the corpus or copy the bundle again") from e
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise D2MError(f"{path}: not a readable normalizer; prepare the corpus or copy the bundle again") from e

    def save(self, path: str | Path) -> None:
        """Write an npz. Not atomic by itself: bundles and corpora are written to a temporary folder and renamed.

        Raises:
            OSError: it cannot be written.
        """
        buffer = io.BytesIO()  # numpy.savez would append a suffix to a path
        np.savez(buffer, **{name: getattr(self, name) for name in FIELDS})
        Path(path).write_bytes(buffer.getvalue())

    @overload
    def normalize_poses(self, poses: NDArray[np.floating]) -> NDArray[np.float32]: ...
    @overload
    def normalize_poses(self, poses: torch.Tensor) -> torch.Tensor: ...
    def normalize_poses(self, poses: Any) -> Any:
        """(..., 28) pixels -> (..., 28)."""
        return self._normalize(poses, "pose")

    @overload
    def denormalize_poses(self, poses: NDArray[np.floating]) -> NDArray[np.float32]: ...
    @overload
    def denormalize_poses(self, poses: torch.Tensor) -> torch.Tensor: ...
    def denormalize_poses(self, poses: Any) -> Any:
        """(..., 28) -> (..., 28) pixels."""
        return self._denormalize(poses, "pose")

    @overload
    def normalize_features(self, features: NDArray[np.floating]) -> NDArray[np.float32]: ...
    @overload
    def normalize_features(self, features: torch.Tensor) -> torch.Tensor: ...
    def normalize_features(self, features: Any) -> Any:
        """(..., f) -> (..., f)."""
        return self._normalize(features, "feature")

    def _normalize(self, x: Any, what: str) -> Any:
        mean, std = self._like(f"{what}_mean", x), self._like(f"{what}_std", x)
        out = (x - mean) / std
        return out.astype(np.float32) if isinstance(out, np.ndarray) else out

    def _denormalize(self, x: Any, what: str) -> Any:
        mean, std = self._like(f"{what}_mean", x), self._like(f"{what}_std", x)
        out = x * std + mean
        return out.astype(np.float32) if isinstance(out, np.ndarray) else out

    def _like(self, name: str, x: Any) -> Any:
        """The statistic as an array, or as a tensor on the device of ``x`` (cached)."""
        if not isinstance(x, torch.Tensor):
            return getattr(self, name)
        key = name, x.device, x.dtype
        if key not in self._tensors:
            with torch.inference_mode(False):  # it may be used with gradients later
                self._tensors[key] = torch.as_tensor(getattr(self, name), dtype=x.dtype, device=x.device)
        return self._tensors[key]
