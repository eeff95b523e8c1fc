"""One module per file format of poses; each reads one recording as a :class:`d2m.prepare.sources.clip.PoseClip`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from d2m.prepare.sources.aistpp import read_aistpp
from d2m.prepare.sources.bvh import read_bvh
from d2m.prepare.sources.clip import PoseClip
from d2m.prepare.sources.coco17 import read_coco17
from d2m.prepare.sources.npz import read_npz_clip
from d2m.prepare.sources.openpose import read_openpose
from d2m.prepare.sources.video import VIDEO_SUFFIXES, read_video

#: Choices of ``source=`` -> reader. Readers raise D2MError, one line, for any broken file.
SOURCES: dict[str, Callable[[Path], PoseClip]] = {
    "npz": read_npz_clip,
    "openpose": read_openpose,
    "coco17": read_coco17,
    "aistpp": read_aistpp,
    "bvh": read_bvh,
    "video": read_video,
}
#: Source -> endings of the file names that it reads; for "openpose" a recording is a folder of such files.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "npz": (".npz",),
    "openpose": ("_keypoints.json",),
    "coco17": (".pkl", ".npy", ".npz", ".json"),
    "aistpp": (".pkl",),
    "bvh": (".bvh",),
    "video": VIDEO_SUFFIXES,
}

__all__ = ["SOURCES", "SUFFIXES", "PoseClip"]
