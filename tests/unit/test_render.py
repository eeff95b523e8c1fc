"""Pictures show the pose: the side's colour where a limb is, all of the dancer, and nothing else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.core.skeleton import LIMBS
from d2m.draw.render import THEMES, Frame, draw_dance, frame_at, still
from d2m.draw.view import fit
from tests.figures import joint, star, swaying

SIZE = (320, 320)
#: Text of a 320 px panel is 11 px high: rows of the captions, and of the ground below which the legend stands.
CAPTION, LEGEND = 26, 22


def near(image: Frame, colour: tuple[int, int, int], tolerance: int = 3) -> np.ndarray:
    return (np.abs(image.astype(int) - colour) <= tolerance).all(-1)


def placed(dance: np.ndarray, captions: bool = False) -> np.ndarray:
    """Where the renderer puts the joints of a 320x320 panel."""
    view = fit([dance], SIZE, round((2.4 if captions else 0.8) * 11), 22)
    return view.place(dance, 0)


@pytest.mark.parametrize("theme", THEMES)
def test_every_limb_has_its_sides_colour_along_its_length(theme: str) -> None:
    dance = star()
    image, at = frame_at([dance], 0, size=SIZE, theme=theme), placed(dance)[0]
    for a, b, side in LIMBS:
        if a == joint("neck") or side == "middle":
            continue  # trunk lines meet at the neck, below the head
        for u in (0.25, 0.5, 0.75):
            x, y = (at[a] + u * (at[b] - at[a])).round().astype(int)
            assert near(image[y, x], getattr(THEMES[theme], side)), (side, a, b, u)
    x, y = at[joint("nose")].round().astype(int)
    assert near(image[y, x], THEMES[theme].middle)


def test_a_dancer_who_faces_us_has_the_right_side_on_our_left_and_the_head_on_top() -> None:
    image = frame_at([star()], 0, size=SIZE)[: -LEGEND - 4]
    right, left, head = (np.argwhere(near(image, getattr(THEMES["dark"], s))) for s in ("right", "left", "middle"))
    assert right[:, 1].max() < left[:, 1].max() and right[:, 1].mean() < SIZE[0] / 2 < left[:, 1].mean()
    assert head[:, 0].mean() < right[:, 0].mean()


def test_edges_are_antialiased() -> None:
    image = frame_at([star()], 0, size=SIZE, theme="light")
    assert len({tuple(p) for p in image[::2].reshape(-1, 3)}) > 60


def test_frames_are_those_of_the_dance_at_twice_its_rate() -> None:
    dance = swaying(8)
    frames = list(draw_dance([dance], ["a"], size=SIZE))
    assert len(frames) == 16
    assert all(f.shape == (320, 320, 3) and f.dtype == np.uint8 for f in frames)
    assert len({id(f) for f in frames}) == 16 and not np.shares_memory(frames[0], frames[1])
    for k in range(8):
        assert np.array_equal(frames[2 * k], frame_at([dance], k / 15, ["a"], size=SIZE))
    assert np.array_equal(frames[15], frames[14])  # the last pose is held
    assert not np.array_equal(frames[3], frames[2]) and not np.array_equal(frames[3], frames[4])


@pytest.mark.parametrize(("t", "n"), [(1, 2), (7, 14), (3, 40), (9, 5)])
def test_the_number_of_frames_is_what_is_asked_else_the_dances_duration(t: int, n: int) -> None:
    asked = None if n == 2 * t else n
    assert len(list(draw_dance([star(t)], size=(64, 64), n_frames_out=asked))) == n


def test_a_still_dance_is_a_still_picture() -> None:
    frames = list(draw_dance([star(5)], size=SIZE))
    assert all(np.array_equal(f, frames[0]) for f in frames)


def test_limbs_of_an_unknown_joint_are_left_out_alone() -> None:
    dance = star(40)
    whole, at = frame_at([dance], 1, size=SIZE), placed(dance)[0]
    dance[15, joint("right_wrist")] = np.nan
    image = frame_at([dance], 1, size=SIZE)
    shoulder, elbow, wrist = (at[joint(f"right_{j}")] for j in ("shoulder", "elbow", "wrist"))
    x, y = ((elbow + 2 * wrist) / 3).round().astype(int)
    assert near(whole[y, x], THEMES["dark"].right) and near(image[y, x], THEMES["dark"].background)
    x, y = ((shoulder + elbow) / 2).round().astype(int)
    assert near(image[y, x], THEMES["dark"].right)
    assert np.array_equal(image[:, 170:], whole[:, 170:])


def test_a_dance_of_unknown_joints_is_an_empty_stage() -> None:
    image = frame_at([np.full((2, 14, 2), np.nan)], 0, size=SIZE)[: -LEGEND - 4]
    for side in ("right", "left", "middle", "torso"):
        assert not near(image, getattr(THEMES["dark"], side)).any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(320, 320), (96, 301), (300, 64)])
def test_nothing_is_cropped(seed: int, size: tuple[int, int]) -> None:
    dance = swaying(12, seed) * (3.0 if seed % 2 else 0.4) + 500 * seed
    empty = frame_at([np.full((1, 14, 2), np.nan)], 0, size=size)
    for image in draw_dance([dance], size=size):
        for edge in (image[0], image[:, 0], image[:, -1]):
            seen = [near(edge, getattr(THEMES["dark"], s), 40).any() for s in ("right", "left", "middle")]
            assert not any(seen)
        assert np.array_equal(image[-1], empty[-1]) or near(image[-1], THEMES["dark"].ground).all()


def test_side_by_side_panels_have_one_scale_and_one_floor() -> None:
    same = list(draw_dance([swaying(6), swaying(6) + np.array([4096, -1024])], size=SIZE))[5]
    assert same.shape == (320, 640, 3)
    a, b = same[: -LEGEND - 4, 1:320], same[: -LEGEND - 4, 321:]
    assert np.array_equal(a, b)  # where a dancer stands in the world does not matter

    half = frame_at([star(), star() * 0.5], 0, size=SIZE)[: -LEGEND - 4]
    orange = near(half, THEMES["dark"].right)
    rows = [np.flatnonzero(part.any(1)) for part in (orange[:, :320], orange[:, 320:])]
    tall, small = (r[-1] - r[0] for r in rows)
    assert small == pytest.approx(tall / 2, abs=0.06 * tall)
    assert abs(int(rows[0][-1]) - int(rows[1][-1])) <= 1  # one floor


def test_a_short_dance_waits_for_the_longest() -> None:
    frames = list(draw_dance([swaying(2), swaying(10, 1)], size=(96, 96)))
    assert len(frames) == 20
    assert np.array_equal(frames[4][:70, 1:96], frames[-1][:70, 1:96])
    assert not np.array_equal(frames[4][:70, 97:], frames[-1][:70, 97:])


def test_captions_stand_above_their_panels_and_within_them() -> None:
    plain = frame_at([star()] * 3, 0, size=SIZE)
    image = frame_at([star()] * 3, 0, ["Tall", "", "a very long caption " * 10], size=SIZE)
    strips = [np.ptp(image[:CAPTION, k * 320 + 1 : (k + 1) * 320].astype(int), axis=2).sum() for k in range(3)]
    text = [(image[:CAPTION, k * 320 + 1 : (k + 1) * 320] > 150).any(-1) for k in range(3)]
    assert text[0].any() and not text[1].any() and text[2].any() and strips[2] > strips[0]
    columns = np.flatnonzero(text[2].any(0))
    assert columns[0] > 5 and columns[-1] < 314  # cut, not run over
    own = np.flatnonzero(text[0].any(0))
    assert abs((own[0] + own[-1]) / 2 - 160) < 3  # in the middle
    assert not (plain[:8] > 150).any()
    rows = np.flatnonzero(text[0].any(1))
    assert rows[0] > 2 and rows[-1] - rows[0] >= 7  # whole letters of a readable height


def test_the_legend_names_the_sides_in_their_colours() -> None:
    corner = frame_at([star()], 0, size=(512, 512))[-30:]
    for side in ("right", "left"):
        assert near(corner, getattr(THEMES["dark"], side), 20).sum() > 20


@pytest.mark.parametrize(
    "dance",
    [np.zeros((3, 14, 2)), star(3) * 1e9, star(3) * 1e-9, np.full((2, 14, 2), -7.0), star(3) + np.array([0, 1e12])],
    ids=["zeros", "huge", "minute", "a point", "far away"],
)
def test_degenerate_dances_are_drawn(dance: np.ndarray) -> None:
    for frame in draw_dance([dance], ["x"], size=(64, 64)):
        assert frame.shape == (64, 64, 3)


def test_a_wild_joint_is_drawn_out_of_the_picture() -> None:
    dance = swaying(300)
    dance[150, joint("left_wrist")] = (3e8, -1e8)
    calm, wild = frame_at([dance], 9, size=SIZE), frame_at([dance], 10, size=SIZE)
    assert near(wild[: -LEGEND - 4, :150], THEMES["dark"].right).sum() > 500
    assert near(calm, THEMES["dark"].left).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (31, 100)}, "too small"),
        ({"theme": "pink"}, "dark, light"),
        ({"fps_in": 0}, "rates above 0"),
        ({"fps_out": float("nan")}, "rates above 0"),
        ({"captions": ["a", "b"]}, "captions"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_the_call(change: dict, words: str) -> None:
    with pytest.raises(D2MError, match=words) as e:
        draw_dance([star()], **change)
    assert "\n" not in str(e.value)


def test_a_theme_of_ones_own() -> None:
    image = frame_at([star()], 0, size=SIZE, theme=THEMES["light"])
    assert near(image[5, 5], THEMES["light"].background)


def read(path: Path) -> Frame:
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def test_a_still_is_a_row_of_poses_per_dance(tmp_path: Path) -> None:
    still(tmp_path / "new" / "a.png", star(30), 3)
    one = read(tmp_path / "new" / "a.png")
    assert one.shape == (240, 540, 3)
    orange = near(one[:200], THEMES["light"].right)
    assert all(orange[:, k * 180 : (k + 1) * 180].sum() > 200 for k in range(3))
    still(tmp_path / "b.png", [star(30), star(20) + 300], 4, captions=["a", "b"], seconds=(0.2, 1), theme="dark")
    assert read(tmp_path / "b.png").shape == (480, 720, 3)


def test_a_stills_poses_are_evenly_spaced_and_centred(tmp_path: Path) -> None:
    dance = star(31) + np.arange(31)[:, None, None] * [40.0, 0]  # walks out of any cell
    still(tmp_path / "a.png", dance, 4)
    colours = read(tmp_path / "a.png")[:200]
    for k in range(4):
        cell = colours[:, k * 180 : (k + 1) * 180]
        columns = np.flatnonzero((near(cell, THEMES["light"].right) | near(cell, THEMES["light"].left)).any(0))
        assert abs((columns[0] + columns[-1]) / 2 - 90) < 3


@pytest.mark.parametrize("change", [{"n": 0}, {"seconds": (5, 9)}, {"seconds": (1, 0.5)}, {"captions": []}])
def test_a_still_of_nothing_is_refused_and_leaves_no_file(tmp_path: Path, change: dict) -> None:
    with pytest.raises(D2MError):
        still(tmp_path / "a.png", star(30), **change)
    assert not list(tmp_path.iterdir())


def test_real_dancers_are_drawn_whole(shared_folder: Path) -> None:
    from d2m.motion.camera import centre, project

    for file in sorted((shared_folder / "data" / "ballroom" / "pose3d").glob("*.npz"))[::15]:
        out = placed(project(centre(np.load(file)["joints"][:600]), [30])[0])
        assert out.min() > 3 and out.max() < 317
