"""Bones, frozen frames, the edge of the canvas and feet on the floor, on bodies whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from bodies import STANDING, WRIST, waving

from d2m.core.errors import D2MError
from d2m.metrics.body import (
    BONES,
    Canvas,
    bone_drift,
    bone_lengths,
    bone_ranges,
    canvas_escape,
    frozen_share,
    physical_foot_contact,
    range_errors,
)

FOREARM = BONES.index("right elbow to right wrist")


def turning(t: int = 320) -> np.ndarray:
    """A rigid body turns about the vertical every two seconds, seen from the side."""
    angle = 2 * np.pi * np.arange(t) / 30
    return STANDING[None] * np.stack([np.cos(angle), np.ones(t)], axis=1)[:, None]


def test_bone_lengths_by_hand() -> None:
    lengths = bone_lengths(np.repeat(STANDING[None], 3, 0))
    assert lengths.shape == (3, 13) == (3, len(BONES))
    assert lengths[0, [0, 1, 2, 3]] == pytest.approx([15, 15, 20, 20])


def test_a_rigid_body_does_not_drift_and_one_that_grows_does() -> None:
    assert bone_drift(waving(96) - waving(96)[:1] + STANDING) < 0.2
    assert bone_drift(np.repeat(STANDING[None], 96, 0)) == pytest.approx(0, abs=1e-12)
    assert bone_drift(turning()) < 0.02
    growing = np.linspace(1, 1.5, 320)[:, None, None] * STANDING
    assert bone_drift(growing) > 0.1
    assert bone_drift(3 * growing) == pytest.approx(bone_drift(growing))
    assert np.isnan(bone_drift(growing[:63]))


def test_ranges_of_bones() -> None:
    real = bone_ranges(turning(), 50.0)
    assert real[FOREARM] == pytest.approx([0, 0.4], abs=0.05)
    assert not range_errors(real, real).any()
    half = turning() * [0.5, 1.0]
    assert range_errors(bone_ranges(half, 50.0), real)[FOREARM] == pytest.approx(0.5, abs=1e-9)
    np.testing.assert_allclose(bone_ranges(3 * half, 150.0), bone_ranges(half, 50.0))
    with pytest.raises(D2MError, match="not a unit"):
        bone_ranges(half, float("nan"))


def test_frozen_frames() -> None:
    still = np.repeat(STANDING[None], 31, 0)
    assert frozen_share(still, 15, 50.0) == 1
    moving = still + 20 * np.arange(31)[:, None, None]  # 6 sqrt(2) torso lengths a second
    assert frozen_share(moving, 15, 50.0) == 0
    assert frozen_share(np.concatenate([still, still[-1] + 1000 + moving - moving[0]]), 15, 50.0) == pytest.approx(
        30 / 61
    )
    with pytest.raises(D2MError, match="2 frames or more"):
        frozen_share(still[:1], 15, 50.0)


def test_a_joint_far_outside_the_real_box_has_escaped() -> None:
    real = waving(300)
    canvas = Canvas.of(lambda: [real[:100] / 50, real[100:] / 50])
    assert canvas_escape(real, canvas, 50.0) == 0
    away = real.copy()
    away[:30, WRIST, 0] -= 100
    assert canvas_escape(away, canvas, 50.0) == pytest.approx(0.1)
    near = real.copy()
    near[:, WRIST, 0] -= 20  # 0.4 torso lengths
    assert canvas_escape(near, canvas, 50.0) == 0
    assert canvas_escape(2 * away, canvas, 100.0) == pytest.approx(0.1)


def test_foot_contact() -> None:
    t = np.arange(60) / 30
    planted = np.zeros((60, 5, 3))
    planted[:, 0, 1] = 0.1 * np.sin(6 * t)
    planted[:, 1:3, 0] = t[:, None]  # the left foot travels, the right one carries
    assert physical_foot_contact(planted, 30) == 0
    sliding = planted.copy()
    sliding[:, 3:, 0] = 2 * t[:, None]
    # v_left = 1, v_right = 2; of the root the mean of its upward acceleration over the largest.
    a = np.maximum(np.diff(planted[:, 0, 1], n=2), 0)
    assert physical_foot_contact(sliding, 30) == pytest.approx(1e4 * 2 / 30**2 * a.mean() / a.max())
    # The slower of ankle and toe is the foot: a heel that turns about its toe is no slide.
    sliding[:, 4] = 0
    assert physical_foot_contact(sliding, 30) == 0
    assert physical_foot_contact(np.ones((9, 5, 3)), 30) == 0
    for bad in (np.ones((9, 14, 2)), np.ones((2, 5, 3)), np.full((9, 5, 3), np.nan)):
        with pytest.raises(D2MError, match="ankles and toes in 3-D"):
            physical_foot_contact(bad, 30)


@pytest.mark.parametrize("poses", [np.empty((0, 14, 2)), np.ones((5, 13, 2)), np.full((5, 14, 2), np.inf)])
def test_what_is_no_dance_is_refused(poses: np.ndarray) -> None:
    with pytest.raises(D2MError, match="give finite"):
        bone_lengths(poses)
