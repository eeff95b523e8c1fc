"""Time stamps of films and sound: what is heard and seen at a second of the container stays there, within 30 ms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_decode import CLICKS, RATE, clicks, heard, write

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.audio import load_audio
from d2m.prepare.sources.video import decode as decode_pictures

WITHIN_S = 0.03
WAVE = clicks()
bounded = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seconds = st.floats(0, 2).map(lambda x: round(x, 2))


@bounded
@given(
    kind=st.sampled_from([("a.m4a", "aac"), ("a.mka", "flac"), ("a.mka", "libopus"), ("a.ts", "aac")]),
    late=seconds, gap=st.sampled_from([0.0, 0.06, 0.2, 0.75, 1.5]), after=st.sampled_from([0, 1, 2]),
)  # fmt: skip
def test_gaps_of_sound_are_filled_wherever_they_are(
    tmp_path: Path, kind: tuple[str, str], late: float, gap: float, after: int
) -> None:
    """Sound alone starts at its first sample; each click stays where its time stamp puts it."""
    cut = after + 1  # a second without a click
    path = write(
        tmp_path / kind[0], kind[1], WAVE, lambda n: n + round(late * RATE) + (n >= cut * RATE) * round(gap * RATE)
    )
    expected = [t + gap * (t > cut) for t in CLICKS]
    wave = load_audio(path)
    assert heard(wave) == pytest.approx(expected, abs=WITHIN_S)
    assert len(wave) / SAMPLE_RATE == pytest.approx(4 + gap, abs=0.06)


@bounded
@given(
    name=st.sampled_from(["a.mp4", "a.mov", "a.mkv"]), sound_s=seconds,
    picture_s=st.integers(0, 25).map(lambda k: k / 25), gap=st.sampled_from([0.0, 0.3, 1.0]),
)  # fmt: skip
def test_sound_and_pictures_of_a_film_share_a_clock(
    tmp_path: Path, name: str, sound_s: float, picture_s: float, gap: float
) -> None:
    """Whichever starts first is second 0."""
    path = write(
        tmp_path / name, "aac", WAVE, lambda n: n + round(sound_s * RATE) + (n >= 2 * RATE) * round(gap * RATE),
        (picture_s, picture_s + 2),
    )  # fmt: skip
    zero = min(sound_s, picture_s)
    expected = [t + sound_s + gap * (t > 2) - zero for t in CLICKS]
    assert heard(load_audio(path)) == pytest.approx(expected, abs=WITHIN_S)
    times = [time for time, _ in decode_pictures(path)[1]]
    assert times == pytest.approx(picture_s - zero + np.arange(50) / 25, abs=WITHIN_S)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_mutated_films_are_pictures_and_sound_or_one_line(tmp_path: Path, name: str) -> None:
    """60 seeded mutations of a film: never another error, never a picture before the one that it follows."""
    whole = write(tmp_path / name, "mp2" if name == "a.avi" else "aac", WAVE[:RATE], picture_s=(0, 1)).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    path = tmp_path / f"m{name[1:]}"
    for _ in range(60):
        path.write_bytes(_spoilt(whole, rng))
        for read in (load_audio, _pictures):
            try:
                got = read(path)
            except D2MError as error:
                outcomes["refused"] += 1
                assert str(path) in str(error) and "\n" not in str(error)
            else:
                outcomes["read"] += 1
                assert np.isfinite(got).all()
    assert min(outcomes.values()) > 5


def _pictures(path: Path) -> np.ndarray:
    times = np.array([time for time, _ in decode_pictures(path)[1]])
    assert len(times) < 2000
    return times


def _spoilt(whole: bytes, rng: np.random.Generator) -> bytes:
    data, n = bytearray(whole), len(whole)
    at = int(rng.integers(0, n))
    end = min(n, at + int(rng.choice([1, 10, 200, n // 10])))
    match int(rng.integers(0, 6)):
        case 0:
            for _ in range(20):
                data[int(rng.integers(0, n))] = int(rng.integers(0, 256))
        case 1:  # the header, at either end
            for _ in range(5):
                data[int(rng.integers(0, 400)) * int(rng.choice([1, -1]))] = int(rng.integers(0, 256))
        case 2:
            data[at:end] = bytes(end - at)
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end]
        case _:
            del data[max(1, at) :]
    return bytes(data)
