"""Raw folders that tests of data preparation share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from d2m.core.skeleton import JOINTS, SAMPLE_RATE
from d2m.toy.write import make_pair


def write_pose(path: Path, joints: np.ndarray, fps: float = 15.0, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, joints=joints, joint_names=np.array(JOINTS), fps=fps, **more)
    return path


def write_raw(root: Path, names: dict[str, str], seconds: float = 12.0, manifest: bool = True) -> Path:
    """One song and dance per name -> genre (groove, flow or drive)."""
    rows = []
    for number, (name, genre) in enumerate(names.items()):
        song, dance = make_pair(genre, seconds, np.random.default_rng(number))
        pose, audio = f"pose3d/{name}.npz", f"audio/{name}.flac"
        if not manifest:
            pose, audio = f"{genre}/{name}.npz", f"{genre}/{name}.flac"
        write_pose(root / pose, dance.joints)
        (root / audio).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / audio, song.wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        rows.append({"name": name, "genre": genre, "audio": audio, "pose": pose, "licence": "made"})
    if manifest:
        write_manifest(root, rows)
    return root


def write_manifest(root: Path, rows: list[dict[str, str]]) -> None:
    with open(root / "manifest.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, ["name", "genre", "audio", "pose", "group", "start", "end", "licence"], restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_manifest_rows(root: Path) -> list[dict[str, str]]:
    with open(root / "manifest.csv", newline="") as f:
        return list(csv.DictReader(f))


def tree(folder: Path) -> dict[str, bytes]:
    """Everything but logs, by relative path."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else b"folder"
        for p in sorted(folder.rglob("*"))
        if p.suffix != ".log"
    }
