"""The axes of an edit: anchors, aggregates, content, curves; each against a value computed by hand or independently."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import hmean

from d2m.core.skeleton import UNIT_FRAMES
from d2m.metrics.edit_axes import (
    aligned_distance,
    anchored,
    at_place,
    beat_agreement,
    harmonic_mean,
    log_deviation,
    objective,
    pareto_area,
    pareto_curve,
    pose_correlation,
    seam_step,
    strength_at,
    structure_correlation,
)
from tests.unit.dancing import picture

CONTENT = (pose_correlation, aligned_distance, structure_correlation, beat_agreement)


def at_15_fps(seconds: float = 8.0, seed: int = 0) -> np.ndarray:
    return picture(seconds, 15.0, seed)


def test_anchors_are_zero_and_one_whichever_is_larger() -> None:
    assert anchored([2.0, 5.0, 8.0, 11.0], 2, 8).tolist() == [0, 0.5, 1, 1.5]
    assert anchored([8.0, 5.0, 2.0], 8, 2).tolist() == [0, 0.5, 1]
    assert np.isnan(anchored(1.0, 3, 3)) and np.isnan(anchored(1.0, float("nan"), 3))


def test_the_harmonic_mean_is_scipys_and_zero_if_an_axis_is() -> None:
    axes = [0.3, 0.9, 0.5]
    assert harmonic_mean(axes) == pytest.approx(hmean(axes))
    assert harmonic_mean([1, 1, 1]) == 1
    assert harmonic_mean([0.9, 0.0, 0.9]) == 0 and harmonic_mean([0.9, -0.2, 0.9]) == 0
    assert harmonic_mean([2.0, 0.5]) == pytest.approx(hmean([1.0, 0.5]))  # better than real is real
    for bad in ([], [0.5, float("nan")]):
        with pytest.raises(ValueError):
            harmonic_mean(bad)


def test_the_objective_of_generation() -> None:
    perfect = {"judged": 0.9, "chance": 0.25, "real": 0.9, "energy_ratio": 1.0, "fid_ratio": 1.0, "seam": 1.0}
    assert objective(**perfect) == 1
    assert objective(**{**perfect, "fid_ratio": 0.5, "seam": 0.7}) == 1  # nothing is better than real
    half = objective(**{**perfect, "energy_ratio": 0.5})
    assert half == pytest.approx(objective(**{**perfect, "energy_ratio": 2.0})) == pytest.approx(hmean([1, 1, 1, 0.5]))
    assert objective(**{**perfect, "judged": 0.25}) == 0 and objective(**{**perfect, "energy_ratio": 0.0}) == 0
    with pytest.raises(ValueError):
        objective(**{**perfect, "fid_ratio": float("nan")})


@pytest.mark.parametrize(("metric", "best"), list(zip(CONTENT, (1.0, 0.0, 1.0, 1.0), strict=True)))
def test_an_unedited_dance_keeps_everything_and_another_does_not(metric, best: float) -> None:
    dance, other = at_15_fps(), at_15_fps(seed=1)
    assert metric(dance, dance) == pytest.approx(best, abs=1e-9)
    assert abs(metric(other, dance) - best) > 0.2
    assert metric(dance + np.array([40.0, -7.0]), dance) == pytest.approx(best, abs=1e-6)  # the hips may be elsewhere


@pytest.mark.parametrize("metric", CONTENT)
def test_content_does_not_depend_on_the_zoom(metric) -> None:
    dance, other = at_15_fps(), at_15_fps(seed=1)
    assert metric(2.5 * other, 2.5 * dance) == pytest.approx(metric(other, dance), abs=1e-9)


@pytest.mark.parametrize("metric", CONTENT[:3])
def test_dances_that_cannot_be_compared(metric) -> None:
    dance = at_15_fps()
    for bad in (dance[:-1], dance[:, :13], dance[:1]):
        with pytest.raises(ValueError):
            metric(bad, dance if len(bad) > 1 else bad)


def test_pose_correlation_by_hand() -> None:
    dance = at_15_fps()
    still = np.repeat(dance[:1], len(dance), axis=0)
    assert pose_correlation(still, dance) == 0
    centre = dance.mean(0)
    assert pose_correlation(centre + 0.5 * (dance - centre), dance) == pytest.approx(1, abs=1e-9)
    assert pose_correlation(centre - (dance - centre), dance) == pytest.approx(-1, abs=1e-9)


def test_aligned_distance_is_the_shortest_path_of_a_plain_program() -> None:
    a, b = at_15_fps(2.0, 3), at_15_fps(2.0, 4)
    hips_a, hips_b = (p[:, [8, 11]].mean(1, keepdims=True) for p in (a, b))
    torso = np.median(np.linalg.norm(b[:, 1] - hips_b[:, 0], axis=-1))
    cost = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            gap = ((a - hips_a)[i] - (b - hips_b)[j]) / torso
            cost[i, j] = np.sqrt((gap**2).sum(-1).mean())
    total, steps = np.full(cost.shape, np.inf), np.zeros(cost.shape, int)
    for i in range(len(a)):
        for j in range(len(b)):
            if i == j == 0:
                total[0, 0], steps[0, 0] = cost[0, 0], 1
                continue
            before = [(i - 1, j - 1), (i, j - 1), (i - 1, j)]
            best = min((p for p in before if min(p) >= 0), key=lambda p: total[p])
            total[i, j], steps[i, j] = total[best] + cost[i, j], steps[best] + 1
    wide = aligned_distance(a, b, warp_s=10)
    assert wide == pytest.approx(total[-1, -1] / steps[-1, -1])
    assert aligned_distance(a, b, warp_s=0.2) > wide


def test_a_delay_is_forgiven_within_the_band() -> None:
    dance = at_15_fps(9.0)
    late, early = dance[:-6], dance[6:]
    plain = np.linalg.norm((late - early) / 110, axis=-1).mean()
    assert aligned_distance(late, early) < 0.35 * plain


def test_structure_is_where_a_dance_repeats() -> None:
    parts = [at_15_fps(4.0, s) for s in range(3)]
    dance = np.concatenate([parts[k] for k in (0, 1, 0, 1)])
    moved = [at_15_fps(4.0, s) for s in range(5, 8)]
    same = np.concatenate([moved[k] for k in (0, 1, 0, 1)])
    other = np.concatenate([moved[k] for k in (0, 0, 1, 2)])
    assert structure_correlation(same, dance) > 0.3 > structure_correlation(other, dance)
    with pytest.raises(ValueError, match="three seconds"):
        structure_correlation(dance[:30], dance[:30])


def test_beats_of_still_dances() -> None:
    dance = at_15_fps()
    still = np.repeat(dance[:1], len(dance), axis=0)
    assert beat_agreement(still, still) == 1 and beat_agreement(still, dance) == 0


def test_seams_are_found_where_units_meet() -> None:
    frames = np.arange(3 * UNIT_FRAMES)
    walk = np.zeros((len(frames), 14, 2))
    walk[..., 0] = (frames + 30 * (frames // UNIT_FRAMES))[:, None]  # a pixel a frame, 31 from unit to unit
    assert seam_step(walk, scale=100.0, fps=15.0) == pytest.approx(31 * 15 / 100)
    with pytest.raises(ValueError, match="two units"):
        seam_step(walk[:UNIT_FRAMES], 100.0)


def test_the_pareto_curve_and_its_area() -> None:
    success, content = [0.0, 0.5, 0.4, 0.8], [1.0, 0.6, 0.5, 0.2]  # (0.4, 0.5) is beaten by (0.5, 0.6)
    assert pareto_curve(success, content).tolist() == [[0, 1], [0.5, 0.6], [0.8, 0.2]]
    assert pareto_area(success, content) == pytest.approx(0.5 * 0.6 + 0.3 * 0.2)
    assert pareto_area([0.0, 1.0], [1.0, 1.0]) == 1
    assert pareto_area([0.0, -0.3], [1.0, 0.2]) == 0  # an edit that goes the wrong way adds nothing
    assert pareto_area([1.4], [0.5]) == 0.5
    with pytest.raises(ValueError):
        pareto_curve([], [])


def test_matched_success() -> None:
    success, content = np.array([0.0, 0.2, 0.6, 0.5]), np.array([1.0, 0.8, 0.4, 0.3])
    place = strength_at(success, 0.4)
    assert place == pytest.approx(1.5) and at_place(content, place) == pytest.approx(0.6)
    assert strength_at(success, 0.0) == 0 and at_place(content, 3.0) == 0.3
    assert math.isnan(strength_at(success, 0.7))


def test_log_deviation() -> None:
    assert log_deviation(2.0, [1.0, 2.0, 9.0]) == 0
    assert log_deviation(4.0, [2.0]) == pytest.approx(math.log(2)) == pytest.approx(log_deviation(1.0, [2.0]))
    assert log_deviation(0.0, [2.0]) == pytest.approx(math.log(1e6))
    with pytest.raises(ValueError):
        log_deviation(1.0, [0.0])
