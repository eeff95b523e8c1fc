"""Mean and standard deviation of poses and music features, fitted on the training split; in every bundle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FEATURE_DIM, POSE_DIM

#: Below these a coordinate is constant in the data (the hips' x after centring, say) and would only amplify
#: noise.
POSE_STD_FLOOR = 1.0  # px
#: Nor may a coordinate's deviation be less than this share of the largest: with the hips centred theirs is 2 px
#: beside a wrist's 26, and an L1 in normalised units would be spent on the trunk instead of the movement.
POSE_STD_SHARE = 0.2
FEATURE_STD_FLOOR = 1e-3


class NormalizerTensors(NamedTuple):
    """The four statistics as (28,) tensors."""

    pose_mean: torch.Tensor
    pose_std: torch.Tensor
    feature_mean: torch.Tensor
    feature_std: torch.Tensor


def mean_and_std(chunks: Iterable[NDArray[np.floating]], floor: float, dim: int) -> tuple[NDArray[np.float32], ...]:
    """Over all rows of arrays (n, dim), in one pass with float64 sums about the first chunk's mean.

    Returns:
        mean (dim,) and std (dim,), the latter at least ``floor``; zeros and ones where there is no row.
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
    """Statistics of the training split, (28,) float32: poses in pixels, features in the front end's unit."""

    pose_mean: NDArray[np.float32]
    pose_std: NDArray[np.float32]
    feature_mean: NDArray[np.float32]
    feature_std: NDArray[np.float32]

    def __post_init__(self) -> None:
        width = np.size(self.feature_mean)
        for name, dim in zip(NormalizerTensors._fields, (POSE_DIM, POSE_DIM, width, width), strict=True):
            value = np.ascontiguousarray(getattr(self, name), np.float32)
            if value.shape != (dim,) or not np.isfinite(value).all() or (name.endswith("std") and value.min() <= 0):
                raise D2MError(f"normalizer: {name} must be {dim} finite numbers, positive where a deviation")
            object.__setattr__(self, name, value)

    @classmethod
    def fit(cls, units: Iterable[NDArray[np.floating]], features: Iterable[NDArray[np.floating]]) -> Normalizer:
        """From chunks of poses (n, 28) and of features (n, 28) of the training split."""
        pose_mean, pose_std = mean_and_std(units, POSE_STD_FLOOR, POSE_DIM)
        pose_std = np.maximum(pose_std, POSE_STD_SHARE * pose_std.max())
        feature_mean, feature_std = mean_and_std(features, FEATURE_STD_FLOOR, FEATURE_DIM)
        return cls(pose_mean, pose_std, feature_mean, feature_std)

    @classmethod
    def load(cls, path: str | Path) -> Normalizer:
        """Read what :meth:`save` wrote.

        Raises:
            D2MError: missing, unreadable or incomplete file.
        """
        try:
            with np.load(path, allow_pickle=False) as f:
                return cls(**{name: f[name] for name in NormalizerTensors._fields})
        except D2MError as e:
            raise D2MError(f"{path}: {e}; prepare the corpus or copy the bundle again") from e
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise D2MError(f"{path}: not a readable normalizer; prepare the corpus or copy the bundle again") from e

    def save(self, path: str | Path) -> None:
        """Write an npz, into a folder that is not yet in its place: bundles and corpora appear whole by a rename.

        Raises:
            OSError: it cannot be written.
        """
        buffer = io.BytesIO()  # numpy would add a suffix to the name
        np.savez(buffer, **{name: getattr(self, name) for name in NormalizerTensors._fields})
        Path(path).write_bytes(buffer.getvalue())

    def tensors(self, device: torch.device | str | None = None) -> NormalizerTensors:
        """As float32 tensors on a device."""
        return NormalizerTensors(*(torch.from_numpy(getattr(self, n)).to(device) for n in NormalizerTensors._fields))

    def normalize_poses(self, poses: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., 28) pixels -> (..., 28)."""
        return ((poses - self.pose_mean) / self.pose_std).astype(np.float32)

    def denormalize_poses(self, poses: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., 28) -> (..., 28) pixels."""
        return (poses * self.pose_std + self.pose_mean).astype(np.float32)

    def normalize_features(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., 28) -> (..., 28)."""
        return ((features - self.feature_mean) / self.feature_std).astype(np.float32)
