"""The beat warp against the reference's warp of a recorded dance, wherever the latter is correct.

The recording (`modulate.npz`) lies in $D2M_PARITY_DIR, by default `../shared/parity` beside the repository;
it is not part of the project. It holds the weights with which the reference turns one beat interval (9
frames) into N, and whole dances warped to given beats. The reference rounds beats to whole frames (half to
even). It is not right, and we differ, where an interval becomes 4 or 5 frames (it holds the centre frame), at
one frame where it becomes 14 (two weights swapped), from 15 on (it freezes), and outside the beats (it
returns to one source frame per frame, and holds the first pose where the first beat is not on frame 3).
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from parity_recording import arrays, needs_recording

from d2m.motion.beat_align import dance_beat_frames, interval_weights, time_map, warp

pytestmark = needs_recording

#: Interval lengths, both beats included, that the reference resamples rightly.
RIGHT = {2, 3, *range(6, 14)}


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return arrays("modulate.npz")


def _tables(recorded: dict[str, np.ndarray]) -> dict[int, np.ndarray]:
    found = {re.fullmatch(r"get_pose_weights\.n(\d+)", key): value for key, value in recorded.items()}
    return {int(match[1]): value for match, value in found.items() if match}


def _cases(recorded: dict[str, np.ndarray]) -> list[tuple[np.ndarray, int, np.ndarray]]:
    names = sorted({key.split(".")[0] for key in recorded if re.fullmatch(r"case\d+\.out", key)})
    return [(recorded[f"{n}.beats_frames"], int(recorded[f"{n}.length"]), recorded[f"{n}.out"]) for n in names]


def test_parity_interval_weights(recorded: dict[str, np.ndarray]) -> None:
    tables = _tables(recorded)
    assert set(tables) >= RIGHT
    for n in sorted(RIGHT):
        ours = interval_weights(n, tables[n].shape[1])
        np.testing.assert_allclose(ours, tables[n], rtol=1e-9, atol=0, err_msg=f"n = {n}")


def test_parity_interval_of_14_but_for_its_swapped_row(recorded: dict[str, np.ndarray]) -> None:
    table = _tables(recorded)[14]
    ours = interval_weights(14, table.shape[1])
    right = np.arange(14) != 8
    np.testing.assert_allclose(ours[right], table[right], rtol=1e-9, atol=0)
    # What is wrong in row 8 is the order of its two weights.
    np.testing.assert_allclose(np.sort(ours[8]), np.sort(table[8]), rtol=1e-9, atol=0)


def test_parity_other_intervals_are_smooth_where_the_reference_holds(recorded: dict[str, np.ndarray]) -> None:
    for n, table in _tables(recorded).items():
        if n in RIGHT or n == 14:
            continue
        frames = np.arange(table.shape[1])
        assert np.count_nonzero(np.diff(table @ frames) == 0) > 0  # the recording holds a frame; ours does not
        ours = interval_weights(n, len(frames))
        np.testing.assert_allclose(np.diff(ours @ frames), frames[-1] / (n - 1), rtol=1e-9)
        ends = ours[[0, -1]]
        np.testing.assert_allclose(ends, table[[0, -1]], rtol=1e-9, atol=0)


def test_parity_warped_dances(recorded: dict[str, np.ndarray]) -> None:
    """Frame by frame, between the beats, at every interval that the reference resamples rightly."""
    dance, compared = recorded["dance"], 0
    cases = _cases(recorded)
    assert cases
    for beats, length, out in cases:
        beats = np.unique(np.rint(beats))
        dance_beats = dance_beat_frames(len(beats))
        ours = warp(dance, dance_beats, beats, length)
        assert ours.shape == out.shape
        for first, last in zip(beats[:-1].astype(int), beats[1:].astype(int)):
            if last >= length or dance_beats[np.searchsorted(beats, last)] >= len(dance):
                break
            frames = np.arange(first, last + 1)
            n = len(frames)
            if n == 14:
                frames = np.delete(frames, 8)
            elif n not in RIGHT:
                frames = frames[[0, -1]]  # it still puts the beats where they belong
            np.testing.assert_allclose(ours[frames], out[frames], rtol=1e-9, err_msg=f"frames {first}-{last}")
            compared += len(frames)
    assert compared > 100


def test_parity_lead_in_and_end_at_the_dances_own_tempo(recorded: dict[str, np.ndarray]) -> None:
    """Where beats are 8 frames apart, going on at their tempo is the reference's one frame per frame."""
    for beats, length, out in _cases(recorded):
        beats = np.rint(beats)
        if not (np.diff(beats) == 8).all():
            continue
        ours = warp(recorded["dance"], dance_beat_frames(len(beats)), beats, length)
        start = 0 if beats[0] >= 3 else int(beats[0])  # earlier, it skips the dance's first frames
        np.testing.assert_allclose(ours[start:], out[start:], rtol=1e-9)


def test_parity_fractional_beats_stay_within_half_a_frame(recorded: dict[str, np.ndarray]) -> None:
    """Not rounding a beat moves it by half a frame at most, and the dance by what passes in that time."""
    for beats, length, _ in _cases(recorded):
        if (np.diff(np.rint(beats)) <= 0).any():
            continue
        dance_beats = dance_beat_frames(len(beats))
        exact = time_map(dance_beats, beats, length)
        rounded = time_map(dance_beats, np.rint(beats), length)
        inside = (np.arange(length) >= beats[0]) & (np.arange(length) <= min(beats[-1], length))
        quickest = 8 / np.diff(np.rint(beats)).min()
        assert np.abs(exact - rounded)[inside].max() <= 0.5 * quickest + 1e-9


def test_parity_warp_survives_what_the_reference_may_not(recorded: dict[str, np.ndarray]) -> None:
    """Every recorded case, also where the reference raised (caseK.error); and no beat, one, past the end."""
    dance = recorded["dance"]
    cases = [(recorded[k], int(recorded[k.replace("beats_frames", "length")])) for k in recorded if "beats_frames" in k]
    assert cases
    cases += [(np.array(b, float), n) for b, n in (([], 40), ([7], 40), ([3, 11, 400], 60), ([100, 108], 60))]
    for beats, length in cases:
        dance_beats = dance_beat_frames(len(np.unique(beats)))
        out = warp(dance, dance_beats, beats, length)
        assert out.shape == (length, *dance.shape[1:]) and np.isfinite(out).all()
        assert (np.diff(time_map(dance_beats, beats, length)) > 0).all()
