"""All formats by name, with a common interface: poses in pixels, a frame rate, depth."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS, JOINTS, N_JOINTS
from d2m.draw.view import box, poses_at
from d2m.export.bvh import write_bvh
from d2m.export.gltf import write_gltf
from d2m.export.lift import LIFTS, lift
from d2m.export.openpose import on_canvas, write_keypoints, write_skeleton_video
from d2m.motion.camera import TORSO_CM
from d2m.motion.kinematics import torso_length

Floats = NDArray[np.float64]
#: Supported frame rates: that of the dance, and those of film, television and games.
RATES = (15, 24, 30, 60)
_CANVAS = (64, 4096)


@dataclass(frozen=True)
class Export:
    """How dances are exported.

    formats: of :data:`FORMATS`. lift: one of :data:`d2m.export.lift.LIFTS`. fps: of the exported files.
    canvas: width and height of OpenPose's picture in pixels.

    Raises:
        D2MError: an invalid value.
    """

    formats: tuple[str, ...]
    lift: str = "flat"
    fps: int = 30
    canvas: int = 512

    def __post_init__(self) -> None:
        unknown = [f for f in self.formats if f not in FORMATS]
        if unknown or not self.formats:
            raise D2MError(f"format={','.join(unknown)}: choose from {', '.join(FORMATS)}")
        if self.lift not in LIFTS:
            raise D2MError(f"lift={self.lift}: choose from {', '.join(LIFTS)}")
        if self.fps not in RATES:
            raise D2MError(f"fps={self.fps}: choose from {', '.join(map(str, RATES))}")
        if not _CANVAS[0] <= self.canvas <= _CANVAS[1]:
            raise D2MError(f"canvas={self.canvas}: give {_CANVAS[0]} to {_CANVAS[1]} pixels")

    def write(self, out: Path, name: str, poses: NDArray[np.floating], fps: float = FPS) -> list[Path]:
        """Write a dance in every format.

        Args:
            out: an existing folder. name: of the files, without suffix.
            poses: (t, 14, 2) pixels, y down, at ``fps``.

        Raises:
            D2MError: poses of another shape or not finite; a file that cannot be written.
        """
        dance = Exported.of(poses, fps, self)
        return [path for f in self.formats for path in FORMATS[f](dance, out, name)]


@dataclass(frozen=True, eq=False)
class Exported:
    """A dance at the rate of the export: pictures (t, 14, 2) px, y down; joints (t, 14, 3) cm, y up, feet at y = 0."""

    pictures: Floats
    joints: Floats
    fps: int
    canvas: int

    @classmethod
    def of(cls, poses: NDArray[np.floating], fps: float, export: Export) -> Exported:
        """Lift and resample."""
        pictures = np.asarray(poses, np.float64)
        if pictures.ndim != 3 or pictures.shape[1:] != (N_JOINTS, 2) or not len(pictures):
            raise D2MError(f"poses of shape {pictures.shape}; give (t, {N_JOINTS}, 2)")
        joints = lift(pictures, export.lift, fps)
        floor = box(pictures)[4] * TORSO_CM / torso_length(pictures)  # pixels, y down
        joints[..., 1] += floor
        at = resample_positions(len(pictures), fps, export.fps)
        return cls(poses_at(pictures, at), poses_at(joints, at), export.fps, export.canvas)


def resample_positions(n: int, fps_in: float, fps_out: float) -> Floats:
    """Positions (m,), in frames of the input, of the frames at another rate.

    Both start at the same time, so that beats keep their times in seconds.
    """
    m = int(np.floor((n - 1) * fps_out / fps_in + 1e-6)) + 1
    return np.asarray(np.arange(m) * (fps_in / fps_out), np.float64)


def _bvh(dance: Exported, out: Path, name: str) -> Sequence[Path]:
    write_bvh(out / f"{name}.bvh", dance.joints, dance.fps)
    return [out / f"{name}.bvh"]


def _gltf(dance: Exported, out: Path, name: str) -> Sequence[Path]:
    write_gltf(out / f"{name}.glb", dance.joints, dance.fps)
    return [out / f"{name}.glb"]


def _openpose(dance: Exported, out: Path, name: str) -> Sequence[Path]:
    placed = on_canvas(dance.pictures, dance.canvas)
    folder, film = out / f"{name}_openpose", out / f"{name}_openpose.mp4"
    write_keypoints(folder, placed, dance.fps)
    write_skeleton_video(film, placed, dance.fps, dance.canvas)
    return [folder, film]


def _csv(dance: Exported, out: Path, name: str) -> Sequence[Path]:
    path = out / f"{name}.csv"
    columns = [f"{joint}_{axis}_cm" for joint in JOINTS for axis in "xyz"]
    with atomic_path(path) as temp, temp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "seconds", *columns])
        for i, pose in enumerate(dance.joints):
            writer.writerow([i, f"{i / dance.fps:.4f}", *(f"{v:.3f}" for v in pose.reshape(-1))])
    return [path]


#: Name -> function that writes the format and returns the paths of its files.
FORMATS: dict[str, Callable[[Exported, Path, str], Sequence[Path]]] = {
    "bvh": _bvh, "gltf": _gltf, "openpose": _openpose, "csv": _csv
}  # fmt: skip
