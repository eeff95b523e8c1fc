"""The same poses under several names share a split; files that a manifest names but that do not exist are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dancing import dancer

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.data.manifest import Recording
from d2m.prepare.missing import check_files
from d2m.prepare.plan import Line, SplitOptions
from d2m.prepare.process import Options
from d2m.prepare.repeated import join_same_poses
from d2m.prepare.report import report_table
from d2m.prepare.run import prepare_into

OPTIONS = Options(yaws=(0.0,), front_end="mfcc")


def line(
    name: str, digest: str, start: float = 0.0, end: float | None = None, audio: str = "", group: str = ""
) -> Line:
    return Line(name, "waltz", group or audio or name, start, audio, "", name, "", "", digest, start, end)


def groups(*lines: Line, poses: tuple[str, ...] = ()) -> list[str]:
    return [joined.group for joined in join_same_poses(lines, poses or ("",) * len(lines))[0]]


def test_lines_that_hold_the_same_poses() -> None:
    a, b, c = line("a", "1"), line("b", "2"), line("c", "1", 20.0, 30.0)
    assert groups(a, b, c) == ["a", "b", "a"]  # without music, one file is one recording
    assert groups(a, b, c, poses=("x", "y", "z")) == ["a", "b", "a"]
    assert groups(line("a", "1"), line("b", "2"), poses=("x", "x")) == ["a", "a"]  # the same in two formats


def test_parts_of_one_file_with_songs_of_their_own_stay_apart_unless_they_overlap() -> None:
    first, second = line("a", "1", 0.0, 20.0, "a.ogg"), line("b", "1", 20.0, None, "b.ogg")
    assert groups(first, second) == ["a.ogg", "b.ogg"]
    assert groups(first, line("b", "1", 19.0, None, "b.ogg")) == ["a.ogg", "a.ogg"]
    stated = [line("a", "1", 0.0, 9.0, group="anna"), line("b", "1", 9.0, 20.0, group="ben")]
    assert groups(*stated) == ["anna", "ben"]


def test_joined_groups_take_their_other_members_along() -> None:
    lines = [line("a", "1", group="x"), line("b", "1", group="y"), line("c", "2", group="y"), line("d", "3")]
    assert groups(*lines) == ["x", "x", "x", "d"]


def test_copies_are_kept_in_one_split_and_told(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for genre, seeds in (("waltz", (0, 1, 2)), ("tango", (3, 4, 5))):
        (raw / genre).mkdir(parents=True)
        for seed in seeds:
            joints = dancer(8.0, 15.0, seed)
            np.savez(raw / genre / f"d{seed}.npz", joints=joints, fps=15, joint_names=np.array(JOINTS))
            np.savez_compressed(raw / genre / f"copy{seed}.npz", joints=joints, fps=15)  # other bytes
    prepare_into(out, raw, OPTIONS, SplitOptions(), 1)
    report = json.loads((out / "corpus.json").read_text())
    splits = {r["name"]: r["split"] for r in report["recordings"]}
    assert set(splits.values()) == {"train", "val", "test"}
    for seed in range(6):
        assert splits[f"copy{seed}"] == splits[f"d{seed}"]
    assert sorted(sorted(names) for names in report["repeated"]) == [[f"copy{i}", f"d{i}"] for i in range(6)]
    assert "the same poses under several names, kept in one split (6):" in report_table(report)


def named(raw: Path, n: int, missing: set[int], genre: str = "waltz", music: bool = False) -> list[Recording]:
    out = []
    for i in range(n):
        pose, song = raw / f"{genre}{i}.npz", raw / f"{genre}{i}.ogg"
        for file in (pose, song):
            file.write_bytes(b"")
        if i in missing:
            (song if music else pose).unlink()
        out.append(Recording(f"{genre}{i}", genre, song if music else None, pose, f"{genre}{i}"))
    return out


def test_a_file_that_does_not_exist_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_files(named(tmp_path, 4, set()), tmp_path)
    assert not capsys.readouterr().err
    check_files(named(tmp_path, 4, {1, 3}), tmp_path)
    told = capsys.readouterr().err
    assert "2 of 4 recordings, such as waltz1 (waltz1.npz)" in told and len(told.splitlines()) == 1


def test_too_many_to_be_an_accident_are_refused(tmp_path: Path) -> None:
    with pytest.raises(D2MError, match=r"3 of 4 recordings name files .* such as waltz0.npz; correct their paths"):
        check_files(named(tmp_path, 4, {0, 1, 2}), tmp_path)
    with pytest.raises(D2MError, match="2 of 2 recordings of the genre 'tango'"):
        check_files([*named(tmp_path, 4, set()), *named(tmp_path, 2, {0, 1}, "tango")], tmp_path)
    with pytest.raises(D2MError, match="2 of 2 recordings with music"):
        check_files([*named(tmp_path, 4, set()), *named(tmp_path, 2, {0, 1}, "waltz ", music=True)], tmp_path)
