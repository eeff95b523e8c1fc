"""Pictures that are cropped to the dancer, transposed, or called space are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bodies import waving
from dancing import picture

from d2m.core.errors import D2MError
from d2m.prepare.plausible import read_pose
from d2m.prepare.stated import Stated


def save(path: Path, joints: np.ndarray) -> Path:
    np.savez(path, joints=joints, fps=30)
    return path


@pytest.mark.parametrize("how", ["stretched to a box", "scaled to the width", "scaled to the height"])
def test_frames_cropped_to_the_dancer(tmp_path: Path, how: str) -> None:
    true = picture(8.0)
    read_pose("npz", save(tmp_path / "true.npz", true), Stated())
    size = np.ptp(true, axis=1, keepdims=True)
    by = {"stretched to a box": size / [192, 256], "scaled to the width": size[..., :1] / 192,
          "scaled to the height": size[..., 1:] / 256}[how]  # fmt: skip
    with pytest.raises(D2MError, match=r"as (wide|tall) in every frame, .*; save coordinates of the whole picture"):
        read_pose("npz", save(tmp_path / "a.npz", (true - true.min(axis=1, keepdims=True)) / by), Stated())


def test_who_stands_on_one_spot_is_not_cropped(tmp_path: Path) -> None:
    read_pose("npz", save(tmp_path / "a.npz", waving(90, axis=0)), Stated())


def test_rows_and_columns_instead_of_x_and_y(tmp_path: Path) -> None:
    true = picture(6.0)
    with pytest.raises(D2MError, match=r"set up=-x .* mirror=true swap_sides=true as well if x and y are swapped"):
        read_pose("npz", save(tmp_path / "a.npz", true[..., ::-1]), Stated())
    read = read_pose("npz", tmp_path / "a.npz", Stated(up="-x", mirror=True, swap_sides=True)).joints
    np.testing.assert_allclose(read, true, rtol=1e-6)


def test_percentages_of_confidence_are_no_third_coordinate(tmp_path: Path) -> None:
    sure = np.random.default_rng(0).uniform(0, 50, (180, 14, 1))
    with pytest.raises(D2MError, match=r"or its third numbers are not coordinates; .* joints .frames, 14, 2. and conf"):
        read_pose("npz", save(tmp_path / "a.npz", np.concatenate([picture(6.0, torso_px=40), sure], axis=-1)), Stated())


@pytest.mark.parametrize(("shape", "first"), [((2, 60, 14, 3), "joints[0]"), ((60, 2, 14, 3), "joints[:, 0]")])
def test_several_people_in_one_array(tmp_path: Path, shape: tuple[int, ...], first: str) -> None:
    with pytest.raises(D2MError) as e:
        read_pose("npz", save(tmp_path / "a.npz", np.ones(shape)), Stated())
    assert str(e.value).endswith(f"; save one dancer per file, {first} is the first")
