from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from d2m.core.errors import D2MError
from d2m.data.normalizer import FEATURE_STD_FLOOR, FIELDS, POSE_STD_FLOOR, POSE_STD_SHARE, Normalizer, mean_and_std


@pytest.fixture
def normalizer() -> Normalizer:
    rng = np.random.default_rng(0)
    return Normalizer.fit([rng.normal(300, 20, (50, 28))], [rng.normal(-5, 2, (40, 35))], 35)


def test_chunks_give_the_statistics_of_the_whole() -> None:
    x = np.random.default_rng(0).normal(1e4, 3.0, (1000, 28)).astype(np.float32)  # far off: cancellation would show
    mean, std = mean_and_std(np.split(x, [0, 3, 400]), 0.0, 28)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, x.astype(np.float64).std(0), rtol=1e-5)


def test_constant_coordinates_are_floored() -> None:
    n = Normalizer.fit([np.full((9, 28), 7.0)], [np.full((9, 3), 2.0)], 3)
    assert (n.pose_std == POSE_STD_FLOOR).all() and (n.feature_std == np.float32(FEATURE_STD_FLOOR)).all()


def test_the_trunk_does_not_outweigh_the_limbs() -> None:
    spread = np.linspace(1.0, 40.0, 28)
    n = Normalizer.fit([np.array([-1.0, 1.0])[:, None] * spread], [], 28)
    np.testing.assert_allclose(n.pose_std, np.maximum(spread, POSE_STD_SHARE * 40), rtol=1e-6)


def test_no_music_gives_the_identity_for_features() -> None:
    n = Normalizer.fit([np.random.default_rng(0).normal(size=(9, 28))], [], 35)
    assert n.n_features == 35
    assert (n.feature_mean == 0).all() and (n.feature_std == 1).all()


def test_saved_is_loaded(normalizer: Normalizer, tmp_path: Path) -> None:
    path = tmp_path / "n.npz"
    normalizer.save(path)
    again = Normalizer.load(path)
    for name in ("pose_mean", "pose_std", "feature_mean", "feature_std"):
        np.testing.assert_array_equal(getattr(again, name), getattr(normalizer, name))
    assert [p.name for p in tmp_path.iterdir()] == ["n.npz"]


def test_there_and_back(normalizer: Normalizer) -> None:
    poses = np.random.default_rng(1).normal(300, 20, (4, 32, 28)).astype(np.float32)
    z = normalizer.normalize_poses(poses)
    assert z.dtype == np.float32 and abs(float(z.mean())) < 0.2
    np.testing.assert_allclose(normalizer.denormalize_poses(z), poses, rtol=1e-5)
    features = np.random.default_rng(2).normal(-5, 2, (6, 35)).astype(np.float32)
    for there, x in ((normalizer.normalize_poses, poses), (normalizer.normalize_features, features)):
        np.testing.assert_array_equal(there(torch.from_numpy(x)).numpy(), there(x))
    np.testing.assert_array_equal(
        normalizer.denormalize_poses(torch.from_numpy(z)).numpy(), normalizer.denormalize_poses(z)
    )
    wide = normalizer.normalize_features(torch.from_numpy(features).double())
    assert wide.dtype == torch.float64


def test_a_statistic_first_used_without_gradients_serves_a_gradient_later(normalizer: Normalizer) -> None:
    with torch.inference_mode():
        normalizer.denormalize_poses(torch.ones(28))
    z = torch.ones(28, requires_grad=True)
    normalizer.denormalize_poses(z).sum().backward()
    np.testing.assert_array_equal(z.grad.numpy(), normalizer.pose_std)


def test_the_identity_leaves_everything_as_it_is() -> None:
    x = torch.randn(4, 5)
    assert torch.equal(Normalizer.identity(5).normalize_features(x), x)


@pytest.mark.parametrize("bad", ["missing", "garbage", "key", "shape", "widths", "nan", "zero std"])
def test_bad_files_are_refused_in_one_line(normalizer: Normalizer, tmp_path: Path, bad: str) -> None:
    path = tmp_path / "n.npz"
    values = {name: getattr(normalizer, name) for name in FIELDS}
    if bad == "key":
        del values["pose_std"]
    if bad == "shape":
        values["pose_std"] = values["pose_std"][:5]
    if bad == "widths":
        values["feature_std"] = values["feature_std"][:28]
    if bad == "nan":
        values["feature_mean"] = values["feature_mean"] * np.nan
    if bad == "zero std":
        values["feature_std"] = values["feature_std"] * 0
    if bad == "garbage":
        path.write_bytes(b"PK not a zip")
    elif bad != "missing":
        np.savez(path, **values)
    with pytest.raises(D2MError, match=r"n\.npz") as e:
        Normalizer.load(path)
    assert "\n" not in str(e.value)
