"""glTF 2.0 (Khronos): a skinned figure with an animation, one .glb file for the web, Blender and game engines.

In metres, y up, facing +z, as the format requires. Every limb is a prism whose ends follow its two joints, so that
foreshortened limbs of a 2-D dance are drawn shorter.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from d2m.core.files import atomic_path
from d2m.export.rig import NAMES, PARENTS, Floats, Posed, places, pose_rig

_FLOAT, _UINT16 = 5126, 5123
_RADIUS_M = 0.02
#: Linear colours of the right side, the left side and the middle: those of the videos.
_COLOURS = {"Right": (0.87, 0.35, 0.01), "Left": (0.09, 0.46, 0.81), "": (0.81, 0.83, 0.87)}


def write_gltf(path: Path, joints: Floats, fps: float) -> None:
    """Write a dance (t, 14, 3) cm, y up, as binary glTF."""
    posed = pose_rig(joints / 100.0)
    buffer = _Buffer()
    document = {
        "asset": {"version": "2.0", "generator": "d2m"},
        "scene": 0,
        "scenes": [{"nodes": [0, len(NAMES)]}],
        "nodes": [*_nodes(posed), {"name": "dancer", "mesh": 0, "skin": 0}],
        "meshes": [{"name": "dancer", "primitives": _limbs(posed, buffer)}],
        "materials": [
            {"name": side or "middle", "pbrMetallicRoughness": {"baseColorFactor": [*rgb, 1.0], "metallicFactor": 0.0}}
            for side, rgb in _COLOURS.items()
        ],
        "skins": [{"joints": list(range(len(NAMES))), "skeleton": 0, "inverseBindMatrices": _binding(posed, buffer)}],
        "animations": [_animation(posed, fps, buffer)],
    }
    with atomic_path(path) as temp:
        temp.write_bytes(buffer.glb(document))


class _Buffer:
    """The binary part: concatenated arrays, and the accessors by which the document refers to them."""

    def __init__(self) -> None:
        self.data = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: NDArray[Any], kind: str, bounds: bool = False, target: int | None = None) -> int:
        """Append an array (n, ...) as ``kind``; returns the number of its accessor."""
        small = array.astype("<u2") if array.dtype.kind in "iu" else array.astype("<f4")
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": small.nbytes}
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {
            "bufferView": len(self.views), "count": len(small), "type": kind,
            "componentType": _UINT16 if small.dtype.kind == "u" else _FLOAT,
        }  # fmt: skip
        if bounds:
            flat = small.reshape(len(small), -1)
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.data += small.tobytes() + b"\0" * (-small.nbytes % 4)
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def glb(self, document: dict[str, Any]) -> bytes:
        """The whole file."""
        whole = {**document, "buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps({**whole, "bufferViews": self.views, "accessors": self.accessors}).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(self.data))
        return (
            head
            + struct.pack("<I4s", len(text), b"JSON")
            + text
            + struct.pack("<I4s", len(self.data), b"BIN\0")
            + self.data
        )


def _nodes(posed: Posed) -> list[dict[str, Any]]:
    nodes = []
    for name, offset in zip(NAMES, posed.rest, strict=True):
        children = [NAMES.index(n) for n, parent in PARENTS.items() if parent == name]
        nodes.append({"name": name, "translation": offset.tolist(), **({"children": children} if children else {})})
    return nodes


def _rest_places(posed: Posed) -> Floats:
    still = Posed(posed.rest, posed.rest[None], np.broadcast_to(np.eye(3), (1, len(NAMES), 3, 3)))
    at: Floats = places(still)[0]
    return at


def _binding(posed: Posed, buffer: _Buffer) -> int:
    matrices = np.tile(np.eye(4), (len(NAMES), 1, 1))
    matrices[:, :3, 3] = -_rest_places(posed)
    return buffer.add(matrices.swapaxes(1, 2).reshape(len(NAMES), 16), "MAT4")  # column-major


def _limbs(posed: Posed, buffer: _Buffer) -> list[dict[str, Any]]:
    """A primitive for each side: prisms from parent to child, in the rest pose."""
    at = _rest_places(posed)
    out = []
    for material, side in enumerate(_COLOURS):
        points: list[Floats] = []
        normals: list[Floats] = []
        owners: list[NDArray[np.int64]] = []
        triangles: list[NDArray[np.int64]] = []
        for name, parent in PARENTS.items():
            own = next((s for s in ("Right", "Left") if name.startswith(s)), "")
            if parent is None or own != side:
                continue
            corners, outward, faces = _prism(at[NAMES.index(parent)], at[NAMES.index(name)])
            triangles.append(faces + sum(len(p) for p in points))
            points.append(corners)
            normals.append(outward)
            owners.append(np.repeat([NAMES.index(parent), NAMES.index(name)], len(corners) // 2))
        owner = np.concatenate(owners)
        joints = np.stack([owner, *[np.zeros_like(owner)] * 3], -1)
        weights = np.tile([1.0, 0.0, 0.0, 0.0], (len(owner), 1))
        attributes = {
            "POSITION": buffer.add(np.concatenate(points), "VEC3", bounds=True, target=34962),
            "NORMAL": buffer.add(np.concatenate(normals), "VEC3", target=34962),
            "JOINTS_0": buffer.add(joints, "VEC4", target=34962),
            "WEIGHTS_0": buffer.add(weights, "VEC4", target=34962),
        }
        indices = buffer.add(np.concatenate(triangles).reshape(-1), "SCALAR", target=34963)
        out.append({"attributes": attributes, "indices": indices, "material": material})
    return out


def _prism(start: Floats, end: Floats, sides: int = 6) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Corners (2 sides, 3) of a tube, the start's first, their normals, and its triangles, ends closed by cones."""
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    across = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    across /= np.linalg.norm(across)
    angle = 2 * np.pi * np.arange(sides) / sides
    round_ = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * np.cross(along, across)
    corners = np.concatenate([start + _RADIUS_M * round_, end + _RADIUS_M * round_])
    i, k = np.arange(sides), (np.arange(sides) + 1) % sides
    walls = np.concatenate([np.stack([i, k, k + sides], -1), np.stack([i, k + sides, i + sides], -1)])
    fan = np.arange(1, sides - 1)
    caps = [np.stack([0 * fan, fan + 1, fan], -1), np.stack([0 * fan, fan, fan + 1], -1) + sides]
    return corners, np.concatenate([round_, round_]), np.concatenate([walls, *caps])


def _animation(posed: Posed, fps: float, buffer: _Buffer) -> dict[str, Any]:
    times = buffer.add(np.arange(len(posed.offsets)) / fps, "SCALAR", bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    for i in range(len(NAMES)):
        turns = Rotation.from_matrix(posed.turns[:, i]).as_quat()
        # q and -q are the same rotation; neighbouring frames take the closer sign, or players would rotate the long
        # way.
        flips = np.cumprod(np.concatenate([[1.0], np.where((turns[1:] * turns[:-1]).sum(-1) < 0, -1.0, 1.0)]))
        for target, values, kind in (
            ("translation", posed.offsets[:, i], "VEC3"), ("rotation", turns * flips[:, None], "VEC4")
        ):  # fmt: skip
            channels.append({"sampler": len(samplers), "target": {"node": i, "path": target}})
            samplers.append({"input": times, "output": buffer.add(values, kind)})
    return {"name": "dance", "samplers": samplers, "channels": channels}
