"""Analytic truth: motions whose derivatives are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from d2m.motion import kinematics as k

FPS = 60.0


def line(t: int, v: tuple[float, ...], joints: int = 14) -> np.ndarray:
    """Every joint moves at the velocity v (unit/s)."""
    return np.arange(t)[:, None, None] / FPS * np.asarray(v) + np.zeros((1, joints, 1))


def sinusoid(seconds: float, hz: float, amplitude: float = 10.0, fps: float = FPS) -> np.ndarray:
    """All joints swing along x as amplitude * sin(2 pi hz t); (t, 14, 2)."""
    t = np.arange(round(seconds * fps)) / fps
    out = np.zeros((len(t), 14, 2))
    out[..., 0] = (amplitude * np.sin(2 * np.pi * hz * t))[:, None]
    return out


@pytest.mark.parametrize("v", [(3.0, 4.0), (1.0, 2.0, 2.0)])
def test_constant_velocity(v: tuple[float, ...]) -> None:
    poses = line(20, v)
    norm = np.linalg.norm(v)
    np.testing.assert_allclose(k.velocity(poses, FPS), np.broadcast_to(v, (19, 14, len(v))))
    np.testing.assert_allclose(k.speed(poses, FPS), norm)
    np.testing.assert_allclose(k.kinetic_energy(poses, FPS), norm**2 / 2)
    np.testing.assert_allclose(k.joint_speed(poses, FPS), norm)
    np.testing.assert_allclose(k.jerk(poses, FPS), 0, atol=1e-6)


def test_sinusoid_mean_kinetic_energy() -> None:
    # Mean of (A w cos)^2 / 2 over whole periods is (A w)^2 / 4.
    poses = sinusoid(4.0, 1.0, amplitude=10.0, fps=1000.0)
    expected = (10 * 2 * np.pi) ** 2 / 4
    np.testing.assert_allclose(k.kinetic_energy(poses, 1000.0).mean(), expected, rtol=2e-3)


def test_third_difference_of_a_cubic_is_its_jerk() -> None:
    t = np.arange(12) / FPS
    poses = np.zeros((12, 14, 3))
    poses[..., 1] = (2.0 * t**3)[:, None]
    np.testing.assert_allclose(k.jerk(poses, FPS), 12.0, rtol=1e-6)


def test_torso_length_is_a_median_and_passes_over_nan() -> None:
    poses = np.zeros((9, 14, 2))
    poses[:, k.NECK, 1] = -50.0
    poses[0, k.NECK] = 1e6
    poses[1, k.NECK] = np.nan
    assert k.torso_length(poses) == pytest.approx(50.0)


def test_expansion_of_a_ring_is_its_radius_and_scales() -> None:
    angle = 2 * np.pi * np.arange(14) / 14
    ring = 7.0 * np.stack([np.cos(angle), np.sin(angle)], -1)[None] + 100.0
    np.testing.assert_allclose(k.expansion(ring), [7.0])
    np.testing.assert_allclose(k.expansion(3 * ring), [21.0])


def test_kinematic_beats_are_where_a_swing_turns() -> None:
    # sin(2 pi t) turns at 1/4, 3/4, ... s, at 15 fps between frames.
    beats = k.kinematic_beats(sinusoid(6.0, 1.0, fps=15.0), 15.0)
    expected = np.arange(0.25, 6.0, 0.5)
    inner = expected[(expected > beats[0] - 0.1) & (expected < beats[-1] + 0.1)]
    assert len(inner) >= 10
    np.testing.assert_allclose(beats, inner, atol=0.02)


def test_no_beat_where_nothing_moves_or_nothing_drops() -> None:
    assert len(k.kinematic_beats(np.zeros((40, 14, 2)), 15.0)) == 0
    assert len(k.kinematic_beats(line(40, (30.0, 0.0)), 15.0)) == 0
    assert len(k.kinematic_beats(np.zeros((2, 14, 2)), 15.0)) == 0


def test_prominence_ignores_a_ripple() -> None:
    poses = sinusoid(6.0, 1.0, amplitude=30.0, fps=15.0)
    ripple = poses + sinusoid(6.0, 3.3, amplitude=0.2, fps=15.0)
    np.testing.assert_allclose(k.kinematic_beats(ripple, 15.0), k.kinematic_beats(poses, 15.0), atol=0.03)


def test_parabolic_peaks_find_the_vertex() -> None:
    x = -((np.arange(10) - 4.3) ** 2)
    np.testing.assert_allclose(k.parabolic_peaks(x, np.array([4])), [4.3])
    np.testing.assert_allclose(k.parabolic_peaks(x, np.array([0, 9])), [0, 9])


@pytest.mark.parametrize("function", [k.velocity, k.kinetic_energy, k.jerk, k.motion_envelope])
def test_flat_poses_are_refused(function) -> None:
    with pytest.raises(ValueError, match=r"\(t, j, c\)"):
        function(np.zeros((10, 28)), FPS)
