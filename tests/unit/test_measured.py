"""Statistics of songs that several runs held out, on constructed data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.draw.plots.measured import measured_bars
from d2m.stats.joint import own_is_nearest
from d2m.stats.nulls import permutation_p
from d2m.stats.pooled import SongRows, by_split, genre_mean, pooled_accuracy
from d2m.stats.variance import jackknife, variance_components
from d2m.stats.within import centred_within, within_axis


def test_a_song_held_out_twice_counts_once() -> None:
    rows = SongRows.of(
        [
            {"song": "a", "genre": "x", "split": "test", "hit": 1.0, "only": 4.0},
            {"song": "a", "genre": "x", "split": "val", "hit": 0.0},
            {"song": "b", "genre": "y", "split": "test", "hit": 1.0},
        ]
    )
    once = rows.per_song()
    assert once.song.tolist() == ["a", "b"]
    assert once["hit"].tolist() == [0.5, 1.0]
    assert once["only"][0] == 4.0 and np.isnan(once["only"][1])  # a mean over the runs that have it
    said = by_split(rows, lambda r: float(r["hit"].mean()))
    assert said == {"test": 1.0, "validation": 0.0, "pooled": 0.75}
    assert genre_mean(once["only"], once.genre) == {"x": 4.0}


def test_a_split_without_songs_is_nan() -> None:
    rows = SongRows.of([{"song": "a", "genre": "x", "split": "val", "v": np.array([1.0, 3.0])}])
    said = by_split(rows, lambda r: float(r["v"][:, 1].mean()))
    assert np.isnan(said["test"]) and said["pooled"] == 3.0


def test_pooled_accuracy_is_balanced_and_over_songs() -> None:
    song = ["a", "a", "b", "c", "d"]
    genre = ["x", "x", "x", "y", "y"]
    said = ["x", "y", "x", "y", "x"]
    test = pooled_accuracy(song, genre, said, permutations=50)
    assert test.value == pytest.approx(((0.5 + 1) / 2 + (1 + 0) / 2) / 2)
    assert test.chance == 0.5


def test_pooled_accuracy_knows_chance_from_knowledge() -> None:
    rng = np.random.default_rng(0)
    song = np.tile(np.arange(40), 3)  # three runs that held out the same songs
    genre = np.repeat(["x", "y"], 20)[song]
    knows = pooled_accuracy(song, genre, genre, 199)
    assert knows.value == 1 and knows.p == pytest.approx(1 / 200)
    # Guesses that all three runs share are no three times the evidence.
    p = [
        pooled_accuracy(song, genre, rng.permutation(np.repeat(["x", "y"], 20))[song], 99, seed).p for seed in range(60)
    ]
    assert np.mean(np.array(p) <= 0.1) < 0.25
    assert 0.3 < np.mean(p) < 0.75


def retrieval_p(song_strength: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    genre = np.repeat(["x", "y", "z"], 8)
    centres = {g: 3 * rng.normal(size=16) for g in "xyz"}
    base = np.stack([centres[g] for g in genre]) + song_strength * rng.normal(size=(24, 16))
    music, dance = base + rng.normal(size=base.shape), base + rng.normal(size=base.shape)
    hits = own_is_nearest(music, dance, genre, 99, seed).mean(1)
    return permutation_p(float(hits[0]), hits[1:])


def test_genres_alone_find_no_dance_within_genres() -> None:
    p = np.array([retrieval_p(0.0, seed) for seed in range(40)])
    assert np.mean(p <= 0.1) < 0.25  # whatever the genres are worth
    assert p.mean() > 0.35


def test_a_known_song_is_found_within_genres() -> None:
    assert max(retrieval_p(3.0, seed) for seed in range(5)) <= 0.02


def test_own_is_nearest_shuffles_within_genres_only() -> None:
    x = np.eye(4)
    hits = own_is_nearest(x, x, ["a", "a", "b", "c"], 60)
    assert hits[0].all()
    assert hits[:, 2:].all()  # alone in their genres
    assert not hits[:, 0].all() and (hits[:, 0] == hits[:, 1]).all()
    assert not own_is_nearest(np.ones((3, 2)), np.ones((3, 2)), ["a"] * 3, 0).any()  # ties


def nested(s: int, genre: float, song: float, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(["x", "y", "z"], s)
    centre = {g: np.sqrt(genre) * rng.normal(size=200) for g in "xyz"}
    songs = np.stack([centre[g] for g in labels]) + np.sqrt(song) * rng.normal(size=(3 * s, 200))
    return songs[:, None] + np.sqrt(noise) * rng.normal(size=(3 * s, 12, 200)), labels


def test_contrast_of_known_components() -> None:
    music = variance_components(*nested(10, 1.0, 1.0, 8.0, 0), permutations=0)
    dance = variance_components(*nested(10, 2.0, 2.0, 4.0, 1), permutations=0)
    ratio = music.contrast(dance)
    assert ratio["signal"] == pytest.approx(0.2 / 0.5, rel=0.15)
    assert ratio["song"] == pytest.approx(1, rel=0.15)
    assert ratio["noise"] == pytest.approx(2, rel=0.05)
    both = (music + dance).shares()
    assert both["noise"] == pytest.approx(12 / 18, rel=0.1)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = dict(zip("abcdefgh", np.random.default_rng(0).normal(size=8), strict=True))
    value, low, high = jackknife(lambda names: np.mean([x[n] for n in names]), list(x))
    error = np.std(list(x.values()), ddof=1) / np.sqrt(8)
    assert value == pytest.approx(np.mean(list(x.values())))
    assert (high - low) / 2 == pytest.approx(1.96 * error)


def test_the_axis_of_tempo_is_found_within_genres() -> None:
    rng = np.random.default_rng(0)
    genre = np.repeat(["x", "y"], 30)
    t = rng.normal(size=60) * 0.3 + (genre == "y") * 2.0
    axis = np.zeros(40)
    axis[0] = 1.0
    z = 1.5 * t[:, None] * axis + 0.1 * rng.normal(size=(60, 40))
    z[genre == "y"] += 5 * rng.normal(size=40)  # genres lie apart in any direction, their tempi as well
    fit = within_axis(z, t, genre, 99)
    assert abs(fit.axis @ axis) > 0.98 and fit.axis @ axis > 0
    assert fit.slope == pytest.approx(1.5, rel=0.05)
    assert fit.held_out_slope == pytest.approx(1.5, rel=0.05)
    assert fit.p == pytest.approx(0.01)


def test_without_an_axis_only_the_fitted_slope_is_large() -> None:
    rng = np.random.default_rng(1)
    genre = np.repeat(["x", "y"], 15)
    fits = [within_axis(rng.normal(size=(30, 100)), rng.normal(size=30), genre, 49, seed) for seed in range(10)]
    assert min(f.slope for f in fits) > 1
    assert abs(np.mean([f.held_out_slope for f in fits])) < 0.3
    assert np.mean([f.p for f in fits]) > 0.25


def test_a_covariate_that_does_not_vary_is_refused() -> None:
    with pytest.raises(D2MError, match="vary within a genre"):
        within_axis(np.eye(4), [1, 1, 2, 2], ["a", "a", "b", "b"])
    assert centred_within([1.0, 3.0, 7.0], ["a", "a", "b"]).tolist() == [-1, 1, 0]


def test_measured_bars_show_every_mark() -> None:
    figure = measured_bars({"a": (0.5, 0.4, float("nan"), 0.25), "b": (0.9, 1.0, 0.8, None)}, title="t", xlabel="x (1)")
    axes = figure.axes[0]
    assert axes.get_title() == "t" and axes.get_xlabel() == "x (1)"
    assert {t.get_text() for t in axes.get_legend().get_texts()} == {
        "pooled", "test songs", "validation songs", "chance",
    }  # fmt: skip
    with pytest.raises(D2MError, match="nothing to plot"):
        measured_bars({}, title="t", xlabel="x")
