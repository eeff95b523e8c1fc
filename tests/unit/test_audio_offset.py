"""``audio_offset``, the time of the poses at which a separate sound file begins: column, option, clock and hints."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dancing import dancer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, SAMPLE_RATE
from d2m.data.manifest import read_manifest
from d2m.data.songs import find_music, song_wave
from d2m.prepare.process import Options, read_recording
from d2m.prepare.stated import Stated

CLICK_S, RATE = 4.0, 8000


def recording(root: Path, **cells: str) -> Path:
    """Poses of 12 s at 30 fps whose right wrist leaps at 4 s, and noise that is loud only around that moment."""
    root.mkdir(exist_ok=True)
    joints = dancer(12.0)
    np.savez(root / "a.npz", joints=joints, fps=30.0, joint_names=np.array(JOINTS))
    with open(root / "manifest.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, ["name", "genre", "audio", "pose", *cells])
        writer.writeheader()
        writer.writerow({"name": "a", "genre": "x", "audio": "a.wav", "pose": "a.npz", **cells})
    return root


def sound(root: Path, seconds: float, click_s: float) -> None:
    wave = np.random.default_rng(0).normal(0, 0.01, round(seconds * RATE))
    wave[round(click_s * RATE) : round((click_s + 0.05) * RATE)] += 0.8
    soundfile.write(root / "a.wav", wave, RATE)


def click(wave: np.ndarray) -> float:
    return float(np.argmax(np.abs(wave) > 0.4)) / SAMPLE_RATE


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offset=st.floats(-5, 3.5).map(lambda x: round(x, 2)), start=st.sampled_from([None, 1.0, 2.5]),
    end=st.sampled_from([None, 9.0]), column=st.booleans(),
)  # fmt: skip
def test_sound_and_motion_meet(
    tmp_path: Path, offset: float, start: float | None, end: float | None, column: bool
) -> None:
    """A click at second 4 of the poses is heard there, whatever is cut; to a frame."""
    cells = {"start": "" if start is None else str(start), "end": "" if end is None else str(end)}
    root = recording(tmp_path / "raw", **cells, **({"audio_offset": str(offset)} if column else {}))
    sound(root, 12.0 - offset, CLICK_S - offset)
    (row,) = read_manifest(root)
    options = Options(stated=Stated(audio_offset=None if column else offset))
    _, joints, wave = read_recording(row, options)
    first = max(start or 0.0, offset)  # before the sound begins nothing is used
    assert wave is not None and abs(click(wave) - (CLICK_S - first)) < 1 / FPS
    assert abs(len(joints) / FPS - ((end or 12.0) - first)) < 1.5 / FPS
    assert abs(len(wave) / SAMPLE_RATE - len(joints) / FPS) < 2 / FPS
    if column:  # d2m study hears the same part
        (song,) = find_music(root)
        assert abs(click(song_wave(song)) - click(wave)) < 1e-3


def test_the_row_wins_over_the_option_and_zero_says_none(tmp_path: Path) -> None:
    root = recording(tmp_path / "raw", audio_offset="0")
    sound(root, 12.0, CLICK_S)
    _, _, wave = read_recording(read_manifest(root)[0], Options(stated=Stated(audio_offset=3.0)))
    assert wave is not None and abs(click(wave) - CLICK_S) < 1 / FPS


def test_what_the_line_advises_is_taken(tmp_path: Path) -> None:
    root = recording(tmp_path / "raw")
    sound(root, 15.2, CLICK_S + 3.2)
    with pytest.raises(D2MError, match=r"if they end together, set audio_offset=-3\.20$"):
        read_recording(read_manifest(root)[0], Options())
    _, joints, wave = read_recording(read_manifest(root)[0], Options(stated=Stated(audio_offset=-3.2)))
    assert wave is not None and abs(click(wave) - CLICK_S) < 1 / FPS and len(joints) == 12 * FPS


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"audio_offset": "soon"}, r"line 2: audio_offset is 'soon'; write seconds or leave it empty"),
        ({"audio_offset": "inf"}, r"audio_offset is 'inf'"),
        ({"audio_offset": "5", "end": "4"}, r"at audio_offset=5 it begins after end 4"),
        ({"audio_offset": "-30"}, r"12\.0 s end before the part to use begins, at 30\.0 s; correct start or audio_of"),
        ({"audio_offset": "11.5"}, r"at least 1 s are needed|of music"),
    ],
)
def test_offsets_that_leave_nothing(tmp_path: Path, cells: dict[str, Any], told: str) -> None:
    root = recording(tmp_path / "raw", **cells)
    sound(root, 12.0, CLICK_S)
    with pytest.raises(D2MError, match=told) as refused:
        read_recording(read_manifest(root)[0], Options())
    assert "\n" not in str(refused.value)


def test_a_wrong_statement() -> None:
    with pytest.raises(D2MError, match=r"audio_offset=soon: give the second of the poses"):
        Stated(audio_offset="soon")  # type: ignore[arg-type]
