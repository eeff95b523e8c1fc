"""Distances between sets of features, against closed forms and independent evaluations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from d2m.core.errors import D2MError
from d2m.metrics.distances import (
    Floor,
    Moments,
    diversity,
    frechet_distance,
    frechet_of_gaussians,
    kernel_distance,
    multimodality,
    song_halves,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 5)), 0.5 + RNG.normal(size=(80, 5)) @ RNG.normal(size=(5, 5))


def test_gaussians_in_closed_form() -> None:
    # Diagonal covariances commute: |mu|^2 + sum (s_a - s_b)^2.
    s, t, mu = np.array([1.0, 2.0, 0.0]), np.array([3.0, 2.0, 0.5]), np.array([1.0, 0.0, -2.0])
    found = frechet_of_gaussians(np.zeros(3), np.diag(s**2), mu, np.diag(t**2))
    assert found == pytest.approx(5 + 4 + 0 + 0.25)


def test_frechet_is_the_textbook_formula() -> None:
    a, b = np.cov(X.T), np.cov(Y.T)
    root = sqrtm(a @ b)
    by_hand = np.square(X.mean(0) - Y.mean(0)).sum() + np.trace(a + b - 2 * root.real)
    assert frechet_distance(X, Y) == pytest.approx(by_hand, rel=1e-6)
    assert frechet_distance(Y, X) == pytest.approx(by_hand, rel=1e-6)


def test_the_best_is_zero_and_moving_costs_the_square() -> None:
    assert frechet_distance(X, X[::-1]) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(X, X + np.array([3.0, 0, 0, 0, 0])) == pytest.approx(9, abs=1e-6)
    wide = RNG.normal(size=(6, 40))  # fewer samples than dimensions
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-5)


def test_moments_need_not_see_all_features_at_once() -> None:
    parts = [Moments.of(X[:20]), Moments.of(X[20:])]
    whole = Moments(*(sum(p) for p in zip(*parts)))
    mean, covariance = whole.gaussian()
    np.testing.assert_allclose(mean, X.mean(0))
    np.testing.assert_allclose(covariance, np.cov(X.T))


def test_kernel_distance_is_scikit_learns_kernel_summed_without_the_diagonal() -> None:
    k = {p: polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1) for p, (a, b) in
         {"xx": (X, X), "yy": (Y, Y), "xy": (X, Y)}.items()}  # fmt: skip
    off = [k[p][~np.eye(len(k[p]), dtype=bool)].mean() for p in ("xx", "yy")]
    assert kernel_distance(X, Y) == pytest.approx(sum(off) - 2 * k["xy"].mean())


def test_kernel_distance_is_unbiased() -> None:
    values = [kernel_distance(*np.random.default_rng(k).normal(size=(2, 20, 3))) for k in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300) and min(values) < 0


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_features_that_cannot_be_compared_are_refused(distance) -> None:  # type: ignore[no-untyped-def]
    for a, b, why in (
        (X, Y[:, :3], "dimensions"), (X[:1], Y, "there are 1"), (X[:0], Y, "there are 0"), (X[0], Y, "are \\(n, d\\)"),
        (X * np.nan, Y, "not finite"),
    ):  # fmt: skip
        with pytest.raises(D2MError, match=why):
            distance(a, b)


def test_halves_are_stratified_disjoint_and_seeded() -> None:
    genres = ["a"] * 6 + ["b"] * 3 + ["c"]
    songs = [f"song {i}" for i in range(10)]
    halves = song_halves(songs, genres, 40, seed=1)
    for a, b in halves:
        assert sorted([*a, *b]) == list(range(10)) and abs(len(a) - len(b)) <= 1
        counts = [[genres[i] for i in half].count("a") for half in (a, b)]
        assert counts == [3, 3]
        assert {[genres[i] for i in half].count("b") for half in (a, b)} == {1, 2}
    sizes = {len(a) for a, _ in halves}
    assert sizes <= {5} and len({tuple(a) for a, _ in halves}) > 10
    again = song_halves(songs, genres, 40, seed=1)
    assert all((a == c).all() and (b == d).all() for (a, b), (c, d) in zip(halves, again))


def test_songs_that_cannot_be_halved() -> None:
    for songs, genres, why in (
        (["a"], ["x"], "two or more"),
        (["a", "a"], ["x", "x"], "twice"),
        (["a", "b"], ["x"], "2 songs"),
    ):
        with pytest.raises(D2MError, match=why):
            song_halves(songs, genres)


def test_floor_is_the_median() -> None:
    assert Floor.of([1.0, 2.0, 9.0], [10, 12, 11]) == (2.0, pytest.approx(1.05), pytest.approx(8.65), 11)


def test_diversity_by_hand() -> None:
    x = np.array([[0.0], [1.0], [4.0]])
    assert diversity(x) == pytest.approx((1 + 4 + 3) / 3)
    assert diversity(x, groups=["a", "a", "b"]) == pytest.approx((4 + 3) / 2)
    assert diversity(np.ones((9, 2))) == 0
    many = RNG.normal(size=(400, 3))
    assert diversity(many, seed=1) == diversity(many, seed=1) != diversity(many, seed=2)
    # Normal in three dimensions: the distance of two is 2 chi_3, whose mean is 4 / sqrt(pi).
    assert diversity(many, pairs=20000) == pytest.approx(4 / np.sqrt(np.pi), rel=0.05)
    with pytest.raises(D2MError, match="two songs"):
        diversity(x, groups=["a"] * 3)
    with pytest.raises(D2MError, match="there are 1"):
        diversity(x[:1])


def test_multimodality_by_hand() -> None:
    assert multimodality([np.array([[0.0], [3.0]]), np.array([[1.0], [1.0], [4.0]])]) == pytest.approx((3 + 2) / 2)
    with pytest.raises(D2MError, match="there are 1"):
        multimodality([np.ones((1, 2))])
    with pytest.raises(D2MError, match="two draws"):
        multimodality([])
