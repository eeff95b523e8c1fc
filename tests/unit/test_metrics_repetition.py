"""Repetition on choreographies that are planted, and mir_eval's boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity

from d2m.core.errors import D2MError
from d2m.metrics.repetition import (
    beat_blocks,
    boundary_score,
    figure_segments,
    labels_at,
    novelty_boundaries,
    repeats_where,
    repeats_with_music,
    self_similarity,
)

RNG = np.random.default_rng(0)
FORM = list("aabcabdcaabc")


def features(form: list[str], noise: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    theme = {x: rng.normal(size=12) for x in sorted(set(form))}
    return np.stack([theme[x] for x in form]) + noise * rng.normal(size=(len(form), 12))


def test_self_similarity_is_the_centred_cosine() -> None:
    x = features(FORM)
    s = self_similarity(x)
    np.testing.assert_allclose(s, cosine_similarity(x - x.mean(0)), atol=1e-12)
    assert (np.abs(s) <= 1).all() and np.diag(s) == pytest.approx(np.ones(12))
    assert not self_similarity(np.ones((4, 2))).any()
    with pytest.raises(D2MError, match="n at least 1"):
        self_similarity(np.empty((0, 3)))


def test_blocks_are_cut_at_beats_whatever_the_tempo() -> None:
    fps, slow = 15.0, np.arange(0, 16, 0.8)
    fast = np.arange(0, 8, 0.4)

    def value_at(beats: np.ndarray) -> np.ndarray:
        t = np.arange(int(beats[-1] * fps) + 2) / fps
        return np.interp(t, beats, np.arange(len(beats)) % 4.0)[:, None]

    a, b = beat_blocks(value_at(slow), fps, slow, 4, 4), beat_blocks(value_at(fast), fps, fast, 4, 4)
    assert a.shape == (4, 16) == b.shape
    np.testing.assert_allclose(a, b, atol=0.35)  # straight lines between frames cut the corners
    assert beat_blocks(np.ones((20, 3)), fps, [0.0, 0.5], 4).shape == (0, 4 * 8 * 3)
    assert len(beat_blocks(np.ones((20, 14, 2)), fps, [], 1)) == 0
    for values, beats in ((np.empty((0, 3)), [0.0, 1.0]), (np.ones((9, 3)), [1.0, 0.5])):
        with pytest.raises(D2MError, match="beats that increase"):
            beat_blocks(values, fps, beats)


def test_a_dance_that_repeats_with_its_music() -> None:
    music, dance = self_similarity(features(FORM)), self_similarity(features(FORM, seed=1))
    same = repeats_with_music(dance, music)
    i, j = np.triu_indices(12, 2)
    assert same.value == pytest.approx(pearsonr(dance[i, j], music[i, j])[0])
    assert same.value > 0.6 and same.z > 3 and abs(same.chance) < 0.1
    assert repeats_with_music(music, music).value == pytest.approx(1)


def test_dances_that_repeat_at_random_have_z_about_zero() -> None:
    music = self_similarity(features(FORM))
    z = []
    for seed in range(40):
        other = list(np.random.default_rng(seed).permutation(FORM))
        z.append(repeats_with_music(self_similarity(features(other, seed=seed + 1)), music, 100, seed).z)
    assert abs(np.mean(z)) < 0.6 and 0.4 < np.std(z) < 1.8


def test_figures_of_a_choreography_are_found_again() -> None:
    s = self_similarity(features(FORM))
    right = repeats_where(s, FORM)
    i, j = np.triu_indices(12, 2)
    assert right.value == pytest.approx(roc_auc_score([FORM[a] == FORM[b] for a, b in zip(i, j)], s[i, j]))
    assert right.value > 0.95 and right.chance == pytest.approx(0.5, abs=0.05) and right.z > 3
    assert repeats_where(np.eye(12), FORM).value == pytest.approx(0.5)
    assert np.isnan(repeats_where(s, [str(i) for i in range(12)]).value)
    with pytest.raises(D2MError, match="one for each block"):
        repeats_where(s, FORM[:5])


def test_too_little_to_tell() -> None:
    s = self_similarity(features(FORM))
    assert np.isnan(repeats_with_music(s[:5, :5], s[:5, :5]).value)
    assert np.isnan(repeats_with_music(np.zeros((12, 12)), s).value)
    assert np.isnan(repeats_where(s[:5, :5], FORM[:5]).z)
    assert np.isnan(boundary_score([[0, 9.0]], [0.0, 4.0, 9.0]).value)
    with pytest.raises(D2MError, match="the same blocks"):
        repeats_with_music(s, s[:5, :5])


def test_boundaries_are_where_the_figure_changes() -> None:
    form = [x for x, n in zip("abcab", (8, 12, 8, 16, 8)) for _ in range(n)]
    beats = 0.5 * np.arange(len(form) + 1)
    found = novelty_boundaries(self_similarity(features(form)), beats)
    assert found == pytest.approx([0, 4, 10, 14, 22, 26])
    intervals, _ = figure_segments({"figures": list("abcab"), "beats": [8, 12, 8, 16, 8]}, 26.0)
    score = boundary_score(intervals, found)
    assert score.value == 1 and score.chance < 0.6 and score.z > 1
    assert boundary_score(intervals, [0.0, 2.0, 26.0]).value == 0
    assert novelty_boundaries(np.zeros((9, 9)), np.arange(10.0)) == pytest.approx([0, 9])
    with pytest.raises(D2MError, match="n \\+ 1 times"):
        novelty_boundaries(np.zeros((9, 9)), np.arange(9.0))


def test_figures_are_laid_over_the_dance_by_their_beats() -> None:
    intervals, names = figure_segments({"figures": ["x", "y", "x"], "beats": [8, 4, 4]}, 32.0)
    assert intervals.tolist() == [[0, 16], [16, 24], [24, 32]] and names == ["x", "y", "x"]
    assert labels_at(intervals, names, [0, 15.9, 16, 31, 40]) == ["x", "x", "y", "x", "x"]
    for entry in (
        {"figures": [], "beats": []},
        {"figures": ["x"], "beats": [0]},
        {"figures": ["x"], "beats": [1, 2]},
        {},
    ):
        with pytest.raises(D2MError, match="one length each"):
            figure_segments(entry, 10.0)
