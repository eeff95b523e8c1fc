"""The pinhole camera against analytic values; and 2-D poses centred like 3-D ones."""

from __future__ import annotations

import numpy as np
import pytest
from dancing import dancer
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.motion.camera import centre, project, project_pinhole


def test_a_point_is_where_similar_triangles_put_it() -> None:
    point = np.array([[[30.0, 40.0, 100.0]]])  # a metre in front of the origin, seen from +z at 4 m: 3 m away
    assert project_pinhole(point, [0], 400, 600)[0, 0, 0].tolist() == pytest.approx([60.0, -80.0])
    # From +x (90 degrees): 370 cm away, and 100 cm to the picture's left.
    np.testing.assert_allclose(project_pinhole(point, [90], 400, 370)[0, 0, 0], [-100.0, -40.0], rtol=1e-6)
    # From behind: 5 m away, left and right exchanged.
    np.testing.assert_allclose(project_pinhole(point, [180], 400, 500)[0, 0, 0], [-30.0, -40.0], rtol=1e-6)


def test_at_the_origins_depth_a_pixel_is_a_centimetre() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(scale=80, size=(5, 14, 3))
    points[..., 2] = 0
    np.testing.assert_allclose(project_pinhole(points, [0], 350)[0], project(points, [0])[0], rtol=1e-6, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(yaw=st.floats(-720, 720), distance=st.floats(300, 1e4), seed=st.integers(0, 99))
def test_by_matrices(yaw: float, distance: float, seed: int) -> None:
    """Against the textbook: P = K [R | t], with the camera at the end of a boom turned by the yaw."""
    body = centre(dancer(1, 15, seed))
    a = np.deg2rad(yaw)
    place = distance * np.array([np.sin(a), 0, np.cos(a)])
    ahead, right, down = -place / distance, np.array([np.cos(a), 0, -np.sin(a)]), np.array([0, -1.0, 0])
    np.testing.assert_allclose(np.cross(down, ahead), right, atol=1e-9)  # a proper rotation: nothing is mirrored
    camera = (body - place) @ np.stack([right, down, ahead]).T
    expected = 500.0 * camera[..., :2] / camera[..., 2:]
    np.testing.assert_allclose(project_pinhole(body, [yaw], distance, 500.0)[0], expected, rtol=1e-4, atol=1e-3)


def test_far_away_it_is_orthographic() -> None:
    body, yaws = centre(dancer(2, 15)), [0, 45, 90, 200]
    away = np.abs(project_pinhole(body, yaws, 1e7) - project(body, yaws)).max()
    assert away < 0.02
    assert np.abs(project_pinhole(body, yaws, 300) - project(body, yaws)).max() > 5


def test_what_no_camera_sees_is_refused() -> None:
    with pytest.raises(D2MError, match="reaches a camera at 400 cm"):
        project_pinhole(np.array([[[0.0, 0, 395]]]), [0])
    assert project_pinhole(np.array([[[0.0, 0, 395]]]), [180]).shape == (1, 1, 1, 2)
    for distance, focal in ((0, None), (-1, None), (np.nan, None), (400, 0)):
        with pytest.raises(D2MError, match="give both above 0"):
            project_pinhole(np.zeros((1, 14, 3)), [0], distance, focal)
