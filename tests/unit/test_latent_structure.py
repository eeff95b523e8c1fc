"""Readings of the latent and their nulls, on data whose truth is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest
from sklearn.metrics import silhouette_score

from d2m.core.errors import D2MError
from d2m.stats.joint import cka_test, direction_cosine, linear_cka, mmd, retrieval
from d2m.stats.labels import song_labels
from d2m.stats.nulls import permutation_p, shuffles
from d2m.stats.structure import explained_variance, linear_probe, pca, silhouette, song_folds, tsne
from d2m.stats.variance import variance_components

GENRE = np.repeat(["chacha", "waltz"], 31)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def apart(gap: float, seed: int = 0, n: int = 31, d: int = 512) -> np.ndarray:
    z = noise(2 * n, d, seed=seed)
    z[n:, :4] += gap
    return z


# -- nulls ------------------------------------------------------------------------------------------------------


def test_p_values_are_never_zero() -> None:
    assert permutation_p(5.0, np.zeros(99)) == 0.01
    assert permutation_p(0.0, np.zeros(99)) == 1.0
    assert permutation_p(1.0, []) == 1.0


def test_labels_are_shuffled_between_songs() -> None:
    names, row_song, of_song = song_labels(["a", "a", "b", "b", "b"], ["s", "s", "t", "u", "u"])
    assert names == ["a", "b"] and row_song.tolist() == [0, 0, 1, 2, 2] and of_song.tolist() == [0, 1, 1]
    rows = shuffles(of_song, 50, 0)
    assert rows.shape == (51, 3) and (rows.sum(1) == 2).all() and rows[0].tolist() == [0, 1, 1]
    with pytest.raises(D2MError, match="'s' has two genres"):
        song_labels(["a", "b"], ["s", "s"])
    with pytest.raises(D2MError, match="at least two genres"):
        song_labels(["a", "a"])


# -- structure ----------------------------------------------------------------------------------------------------


def test_isotropic_noise_lies_in_its_null_band_and_planted_axes_do_not() -> None:
    curve = explained_variance(noise(62, 512, seed=5), draws=100)
    assert curve.observed.shape == (61,) and curve.observed[-1] == pytest.approx(1)
    inside = (curve.observed >= curve.null_low - 0.002) & (curve.observed <= curve.null_high + 0.002)
    assert inside[:-1].mean() > 0.9
    planted = noise(62, 512, seed=5) + 10 * noise(62, 3, seed=6) @ noise(3, 512, seed=7) / 3
    curve = explained_variance(planted, draws=100)
    assert curve.observed[2] > 0.5 > 0.1 > curve.null_high[2]
    # More songs than dimensions.
    assert explained_variance(noise(200, 6), draws=10).observed.shape == (6,)


def test_pca_is_seeded_by_nothing_and_scores_have_the_variance() -> None:
    z = noise(40, 8)
    scores, shares = pca(z, 3)
    _, s, _ = np.linalg.svd(z - z.mean(0))
    assert_allclose(scores.std(0, ddof=0), s[:3] / np.sqrt(40))
    assert_allclose(shares, s**2 / (s**2).sum())
    assert pca(z[:2], 5)[0].shape == (2, 5)


def test_tsne_is_seeded_and_parts_what_is_apart() -> None:
    z = apart(8.0, d=64)
    one, two = tsne(z, seed=1), tsne(z, seed=1)
    assert np.array_equal(one, two) and one.shape == (62, 2)
    assert silhouette(one, GENRE, 99).value > 0.3
    assert tsne(z, seed=1, n_pca=10).shape == (62, 2)
    with pytest.raises(D2MError, match="t-SNE"):
        tsne(z[:3])


@pytest.mark.parametrize("gap", [0.0, 3.0])
def test_silhouette_is_sklearns(gap: float) -> None:
    z = apart(gap, d=16)
    genre = np.concatenate([np.repeat(["a", "b"], 30), ["c", "d"]])  # two lone songs
    assert silhouette(z, genre, 9).value == pytest.approx(silhouette_score(z, genre))


def test_the_probe_finds_what_is_there_with_its_p_value() -> None:
    found = linear_probe(apart(5.0), GENRE, permutations=199)
    assert found.value > 0.9 and found.p == 1 / 200 and found.chance == 0.5
    nothing = linear_probe(apart(0.0), GENRE, permutations=199)
    assert 0.2 < nothing.value < 0.8 and nothing.p > 0.02
    assert abs(nothing.null.mean() - 0.5) < 0.03


def test_rare_genres_are_not_forgotten() -> None:
    genre = np.repeat(["many", "few"], [50, 12])
    z = noise(62, 512)
    z[50:, :4] += 6
    result = linear_probe(z, genre, permutations=99)
    assert result.value > 0.8
    assert abs(linear_probe(noise(62, 512), genre, permutations=199).null.mean() - 0.5) < 0.05


def test_windows_of_a_song_do_not_leak_into_its_fold() -> None:
    """Songs without genres but with windows that look alike: row-level folds would score near 1."""
    songs = noise(40, 64, seed=2)
    z = np.repeat(songs, 8, axis=0) + 0.01 * noise(320, 64, seed=3)
    song = np.repeat(np.arange(40), 8)
    genre = np.repeat(["a", "b"], 160)
    leaky = linear_probe(z, genre, permutations=0)
    honest = linear_probe(z, genre, song, permutations=199)
    assert leaky.value > 0.95 and honest.value < 0.75 and honest.p > 0.02


def test_folds_hold_all_songs_evenly() -> None:
    fold = song_folds(62, 5, 0)
    assert sorted(np.bincount(fold).tolist()) == [12, 12, 12, 13, 13]


def test_p_values_of_the_probe_and_silhouette_are_uniform_without_genres() -> None:
    probe, shape = [], []
    for seed in range(100):
        z = noise(60, 40, seed=seed)
        genre = np.repeat(["a", "b"], 30)
        probe.append(linear_probe(z, genre, permutations=99, seed=seed).p)
        shape.append(silhouette(z, genre, permutations=99, seed=seed).p)
    # Accuracies of 60 songs are coarse, their p-values at most conservative.
    assert kstest(shape, "uniform").pvalue > 0.01
    assert kstest(probe, "uniform", alternative="greater").pvalue > 0.01
    assert np.mean(np.array(probe) <= 0.1) <= 0.2 and np.mean(probe) == pytest.approx(0.5, abs=0.12)


# -- variance components ------------------------------------------------------------------------------------------


def nested(genre_sd: float, song_sd: float, noise_sd: float, seed: int, d: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = [20, 10, 15, 8, 12, 9, 14, 16]  # uneven
    genre = np.repeat(np.arange(len(count)), count)
    z = genre_sd * rng.normal(size=(len(count), d))[genre] + song_sd * rng.normal(size=(len(genre), d))
    return z[:, None] + noise_sd * rng.normal(size=(len(genre), 6, d)), genre


@pytest.mark.parametrize("truth", [(1.0, 0.5, 2.0), (0.0, 1.0, 1.0), (2.0, 0.0, 0.5)])
def test_variance_components_are_recovered(truth: tuple[float, float, float]) -> None:
    found = [variance_components(*nested(*truth, seed=s), permutations=19) for s in range(20)]
    for name, sd in zip(("genre", "song", "noise"), truth, strict=True):
        values = np.array([getattr(f, name) for f in found]) / 64
        assert values.mean() == pytest.approx(sd**2, abs=max(0.06 * sd**2, 0.02))
    assert sum(found[0].shares().values()) == pytest.approx(1)


def test_the_genre_components_p_value_is_uniform_without_genres() -> None:
    p = [variance_components(*nested(0.0, 1.0, 1.0, seed=s, d=8), permutations=99, seed=s).genre_p for s in range(100)]
    assert kstest(p, "uniform").pvalue > 0.01
    assert variance_components(*nested(1.0, 1.0, 1.0, seed=0), permutations=99).genre_p == 0.01


def test_variance_components_refuse_what_says_nothing() -> None:
    for bad, genre in ((noise(4, 1, 3), list("aabb")), (noise(4, 3), list("aabb")), (noise(2, 3, 3), list("ab"))):
        with pytest.raises(D2MError, match="variance components"):
            variance_components(bad, genre)


# -- two sides ----------------------------------------------------------------------------------------------------


def test_retrieval_is_perfect_on_copies_and_at_chance_on_noise() -> None:
    z = noise(100, 32)
    copies = retrieval(z, 2 * z + 5, at=(1,))
    assert copies["R@1"] == {"value": 1.0, "chance": 0.01}
    genre = np.repeat(list("abcde"), 20)
    runs = [retrieval(noise(100, 32, seed=s), noise(100, 32, seed=1000 + s), genre) for s in range(30)]
    for key in ("R@1", "R@5", "R@10", "genre R@1", "genre R@5"):
        value, chance = np.mean([r[key]["value"] for r in runs]), runs[0][key]["chance"]
        assert value == pytest.approx(chance, abs=0.02), key
    assert runs[0]["R@10"]["chance"] == 0.1 and runs[0]["genre R@1"]["chance"] == pytest.approx(0.2)
    constant = retrieval(np.ones((10, 3)), np.ones((10, 3)))
    assert constant["R@5"]["value"] == 0.0, "ties count against the query"


def test_cka_is_one_for_rotations_and_about_zero_for_strangers() -> None:
    z = noise(62, 512)
    rotation, _ = np.linalg.qr(noise(512, 512, seed=1))
    assert linear_cka(z, 3 * z @ rotation + 7) == pytest.approx(1)
    strangers = [linear_cka(noise(62, 512, seed=s), noise(62, 512, seed=100 + s)) for s in range(20)]
    assert abs(np.mean(strangers)) < 0.02  # the biased estimator says 0.9 here
    half = z + noise(62, 512, seed=3)
    assert 0.2 < linear_cka(z, half) < 0.9
    with pytest.raises(D2MError, match="CKA"):
        linear_cka(z[:3], z[:3])


def test_mmd_tells_sides_apart_and_its_p_values_are_uniform_otherwise() -> None:
    assert mmd(noise(40, 16), noise(40, 16, seed=1) + 1, 99).p == 0.01
    assert mmd(noise(40, 16), 2 * noise(40, 16, seed=1), 99).p == 0.01
    p = [mmd(noise(25, 8, seed=s), noise(35, 8, seed=500 + s), 99, seed=s).p for s in range(150)]
    assert kstest(p, "uniform").pvalue > 0.01
    null = [mmd(noise(25, 8, seed=s), noise(35, 8, seed=500 + s), 0).value for s in range(50)]
    assert abs(np.mean(null)) < 0.003, "unbiased"


def test_directions_agree_where_the_space_is_joint() -> None:
    music, dance = apart(4.0, seed=0), apart(4.0, seed=1)
    together = direction_cosine(music, dance, GENRE, GENRE, "chacha", "waltz", 199)
    assert together.value > 0.5 and together.p == 1 / 200
    flipped = direction_cosine(music, dance, GENRE, GENRE[::-1], "chacha", "waltz", 199)
    assert flipped.value < -0.5 and flipped.p > 0.95
    p = [
        direction_cosine(
            noise(62, 64, seed=s), apart(2.0, seed=700 + s, d=64), GENRE, GENRE, "chacha", "waltz", 99, s
        ).p
        for s in range(100)
    ]
    assert kstest(p, "uniform").pvalue > 0.01
    with pytest.raises(D2MError, match="widths"):
        direction_cosine(music, dance[:, :4], GENRE, GENRE, "chacha", "waltz")


def test_cka_has_a_null_that_few_songs_need() -> None:
    z = noise(12, 3, seed=1)
    rotated = cka_test(z, z @ np.linalg.qr(noise(3, 3, seed=2))[0], 199)
    assert rotated.value == pytest.approx(1) and rotated.p == 0.005 and abs(rotated.null.mean()) < 0.05
    strangers = [cka_test(noise(12, 3, seed=s), noise(12, 3, seed=900 + s), 99, seed=s) for s in range(120)]
    assert max(t.value for t in strangers) > 0.25  # a large value alone says little
    assert kstest([t.p for t in strangers], "uniform").pvalue > 0.01
    assert np.isnan(cka_test(z, z, 0).summary()["null_high"])


def test_any_split_of_the_same_songs_has_the_same_cosine_in_a_joint_space() -> None:
    genre = np.repeat(["chacha", "waltz"], 8)
    apart_, together = [], []
    for s in range(60):
        music = noise(16, 64, seed=s)
        dance = music + 0.3 * noise(16, 64, seed=500 + s)  # the same songs, and no genre at all
        apart_.append(direction_cosine(music, dance, genre, genre, "chacha", "waltz", 99, s).p)
        together.append(direction_cosine(music, dance, genre, genre, "chacha", "waltz", 99, s, together=True).p)
    assert np.mean(apart_) < 0.02
    assert kstest(together, "uniform").pvalue > 0.01
    with pytest.raises(D2MError, match="same order"):
        direction_cosine(music, dance, genre, genre[::-1], "chacha", "waltz", together=True)
