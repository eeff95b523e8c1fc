"""Latent arithmetic."""

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.edits.mean_shift import MeanShift


@pytest.fixture
def latents() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 6)).astype(np.float32)
    genre = np.repeat(["waltz", "chacha"], 20)
    z[20:] += 3
    return z, genre


def test_strength_one_moves_the_mean_onto_the_targets(latents: tuple[np.ndarray, np.ndarray]) -> None:
    z, genre = latents
    edit = MeanShift("waltz", "chacha").fit(z, genre)
    np.testing.assert_allclose(edit.transform(z[:20]).mean(0), z[20:].mean(0), atol=1e-5)
    np.testing.assert_allclose(edit.neutral(z[:20]).mean(0), 0, atol=1e-5)


def test_strength_zero_is_the_identity_to_the_bit(latents: tuple[np.ndarray, np.ndarray]) -> None:
    z, genre = latents
    edit = MeanShift("waltz", "chacha").fit(z, genre)
    assert np.array_equal(edit.transform(z, 0.0), z) and np.array_equal(edit.neutral(z, 0.0), z)
    assert edit.transform(z, 0.5).dtype == np.float32


def test_there_and_back(latents: tuple[np.ndarray, np.ndarray]) -> None:
    z, genre = latents
    there = MeanShift("waltz", "chacha").fit(z, genre).transform(z)
    back = MeanShift("chacha", "waltz").fit(z, genre).transform(there)
    np.testing.assert_allclose(back, z, atol=1e-5)


def test_an_unknown_genre_is_named_with_the_known(latents: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(D2MError, match=r"'polka'.*chacha, waltz"):
        MeanShift("waltz", "polka").fit(*latents)
