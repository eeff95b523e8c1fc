"""``d2m export``, from its arguments to its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bodies import waving

from d2m.core.skeleton import JOINTS
from tests.commands import called


def write_dance(path: Path, edited: bool = False) -> Path:
    arrays = {"poses": waving(40).astype(np.float32), "fps": np.int64(15), "joint_names": np.array(JOINTS)}
    if edited:
        arrays |= {f"poses_{v}": waving(40, amplitude=5).astype(np.float32) for v in ("original", "neutral")}
    np.savez(path, **arrays)
    return path


def test_a_folder_of_dances_in_two_formats(tmp_path: Path) -> None:
    dances = tmp_path / "R&B, 'late'"
    dances.mkdir()
    write_dance(dances / "a.npz")
    write_dance(dances / "b.npz", edited=True)
    done = called("export", f"dance={dances}", f"out={tmp_path / 'out'}", "format=[bvh,csv]", "fps=24", "lift=bones")
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["a.bvh", "a.csv", "b.bvh", "b.csv"] and all(n in done.stdout for n in names)
    assert "Frame Time: 0.04166667" in (tmp_path / "out" / "a.bvh").read_text()


def test_all_versions_of_an_edited_dance(tmp_path: Path) -> None:
    write_dance(tmp_path / "b.npz", edited=True)
    done = called("export", f"dance={tmp_path / 'b.npz'}", f"out={tmp_path / 'out'}", "format=csv", "version=all")
    assert done.returncode == 0, done.stderr
    assert sorted(p.stem for p in (tmp_path / "out").iterdir()) == ["b_neutral", "b_original", "b_target"]
    assert (tmp_path / "out" / "b_target.csv").read_text() != (tmp_path / "out" / "b_neutral.csv").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["dance=none.npz"], "dance=none.npz: no npz here"),
        (["format=fbx"], "format=fbx: choose from"),
        (["version=neutral"], "is not edited"),
        (["version=best"], "version=best: choose from"),
        (["fps=25"], "fps=25: choose from"),
        (["fps=0"], "fps=0: choose from"),
        (["dance="], "dance=: give dance="),
    ],
)
def test_one_line_and_nothing_written(tmp_path: Path, words: list[str], says: str) -> None:
    write_dance(tmp_path / "a.npz")
    done = called("export", f"dance={tmp_path / 'a.npz'}", f"out={tmp_path / 'out'}", *words)
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_a_file_that_is_no_dance_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.npz"
    if content is None:
        np.savez(path, poses=waving(9))
    else:
        path.write_bytes(content)
    done = called("export", f"dance={path}", f"out={tmp_path / 'out'}")
    assert done.returncode == 2 and "a.npz" in done.stderr and "d2m infer wrote" in done.stderr
