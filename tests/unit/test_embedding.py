"""Front ends `embedding:WIDTH@RATE`: frames of a file, on the dance's clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpora import write_raw
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, HOP
from d2m.data.corpus import Corpus
from d2m.music.front_ends import features, front_end
from d2m.music.front_ends.embedding import FOLDER_VARIABLE, resample
from d2m.prepare.plan import SplitOptions
from d2m.prepare.process import Options
from d2m.prepare.run import prepare_into

WAVE = np.zeros(10 * FPS * HOP, np.float32)


def ramp(rate: float, seconds: float) -> np.ndarray:
    """(m, 1): the middle of every row's own time, in seconds."""
    return ((np.arange(round(rate * seconds)) + 0.5) / rate)[:, None].astype(np.float32)


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@settings(max_examples=60, deadline=None)
@given(rate=st.floats(2, 120), start=st.floats(0, 3))
def test_a_ramp_in_time_stays_one(rate: float, start: float) -> None:
    out = resample(ramp(rate, 16), rate, 150, start)[:, 0]
    expected = start + np.arange(150) / FPS
    inner = (expected > 1 / rate + 1 / FPS) & (expected < 16 - 1 / rate - 1 / FPS)
    # A piecewise constant ramp is off by at most half a step.
    np.testing.assert_allclose(out[inner], expected[inner], atol=0.51 / rate if rate >= FPS else 1e-4)


@pytest.mark.parametrize("rate", [1.0, 7.5, 15.0, 25.0, 50.0, 75.0])
def test_a_constant_stays_to_the_very_ends(rate: float) -> None:
    rows = np.full((round(rate * 10), 3), 2.5, np.float32)
    np.testing.assert_allclose(resample(rows, rate, 150), 2.5, rtol=1e-5)


def test_seventy_five_a_second_are_means_of_five() -> None:
    rows = np.random.default_rng(0).standard_normal((750, 4)).astype(np.float32)
    out = resample(rows, 75.0, 150)
    # Frame k covers rows 5 k - 2.5 to 5 k + 2.5: four whole ones and two halves.
    weights = np.array([0.5, 1, 1, 1, 1, 0.5]) / 5
    np.testing.assert_allclose(out[10], weights @ rows[47:53], atol=1e-5)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in (9.0, 43.0):
        rows = np.random.default_rng(0).standard_normal((round(10 * rate), 4)).astype(np.float32)
        whole = resample(rows, rate, 150)
        monkeypatch.setattr("d2m.music.front_ends.embedding._BLOCK", 7)
        np.testing.assert_allclose(resample(rows, rate, 150), whole, atol=1e-5)


def test_the_last_second_may_be_missing_and_is_held() -> None:
    for rate in (10.0, 50.0):
        out = resample(ramp(rate, 9.2), rate, 150)
        np.testing.assert_allclose(out[-5:], ramp(rate, 9.2)[-1:].repeat(5, 0), atol=0.06)


def test_files_beside_the_song_and_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = tmp_path / "song.mp3"
    np.save(tmp_path / "song.npy", np.ones((500, 6), np.float32))
    rows = features(WAVE, "embedding:6@50", song)
    assert rows.shape == (150, 6) and rows.dtype == np.float32 and (rows == 1).all()
    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other/song.npy", np.full((500, 6), 2, np.float16))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "other"))
    assert (features(WAVE, "embedding:6@50", song) == 2).all()


def test_a_part_of_a_song_takes_its_part(tmp_path: Path) -> None:
    np.save(tmp_path / "song.npy", ramp(50, 20))
    rows = features(WAVE, "embedding:1@50", tmp_path / "song.mp3", start_s=5.0)
    np.testing.assert_allclose(rows[:, 0], 5 + np.arange(150) / FPS, atol=0.011)


def test_the_name_says_width_and_rate() -> None:
    hears = front_end("embedding:768@75.0")
    assert hears.name == "embedding:768@75" and hears.width == 768 and hears.params == {"rate_hz": 75.0}
    assert front_end(hears.name).columns == hears.columns


@pytest.mark.parametrize("name", ["embedding", "embedding:768", "embedding:0@75", "embedding:768@0", "embedding:a@b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(D2MError, match="as in embedding:768@75"):
        front_end(name)


def test_sound_alone_is_refused() -> None:
    with pytest.raises(D2MError, match="cannot be used for edited or augmented sound"):
        features(WAVE, "embedding:6@50")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "no embedding"),
        (np.zeros((500, 7), np.float32), r"has shape \(500, 7\); the front end expects \(frames, 6\)"),
        (np.zeros(500, np.float32), "has shape"),
        (np.zeros((0, 6), np.float32), "has shape"),
        (np.zeros((500, 6), np.int64), "not an array of floating-point numbers"),
        (np.array([{}], object), "not a NumPy array"),
        (b"nothing", "not a NumPy array"),
        (np.zeros((400, 6), np.float32), r"400 frames at 50 per second last 8\.0 s, but the song 10\.0 s"),
        (np.full((500, 6), np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_bad_files(tmp_path: Path, array: np.ndarray | bytes | None, message: str) -> None:
    if isinstance(array, bytes):
        (tmp_path / "song.npy").write_bytes(array)
    elif array is not None:
        np.save(tmp_path / "song.npy", array, allow_pickle=True)
    with pytest.raises(D2MError, match=message) as e:
        features(WAVE, "embedding:6@50", tmp_path / "song.mp3")
    assert "\n" not in str(e.value)


def test_preparing_hears_the_files_and_sees_that_one_changed(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", {"a": "groove", "b": "flow"}, 8.0)
    for name in ("a", "b"):
        np.save(raw / f"audio/{name}.npy", np.full((200, 3), 1.5, np.float32))
    options, out = Options(yaws=(0.0,), front_end="embedding:3@25.0"), tmp_path / "out"
    assert prepare_into(out, raw, options, SplitOptions(), workers=1) == 2
    corpus = Corpus.open(out)
    assert corpus.front_end == "embedding:3@25" and corpus.n_features == 3
    assert (corpus.song_features(0) == 1.5).all() and len(corpus.song_features(0)) == 8 * FPS
    digest = corpus.digest
    np.save(raw / "audio/a.npy", np.full((200, 3), 2.5, np.float32))
    prepare_into(out, raw, options, SplitOptions(), workers=1)
    again = Corpus.open(out)
    assert {float(again.song_features(i).mean()) for i in range(2)} == {1.5, 2.5} and again.digest != digest
    (raw / "audio/b.npy").unlink()
    assert prepare_into(out, raw, options, SplitOptions(), workers=1) == 1
