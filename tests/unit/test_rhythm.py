"""Front end `rhythm`: tempi of click tracks, what it ignores, and that an excerpt's rows are the whole song's."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.skeleton import FPS, HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.front_ends import features, rhythm
from d2m.music.front_ends.rhythm import BANDS, COLUMNS, CONTEXT_S, PITCHES, TEMPI

TEMPO = {b: slice(28 + 36 * i, 64 + 36 * i) for i, b in enumerate(BANDS)}
ONSET, CHROMA = slice(172, 176), slice(176, 188)
NOISE = np.random.default_rng(0)


def clicks(bpm: float, seconds: float = 20.0, hz: float = 1000.0) -> np.ndarray:
    """Tone bursts of 60 ms at a tempo, (n,) mono."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    since = t % (60 / bpm)
    return (0.5 * np.sin(2 * np.pi * hz * t) * np.exp(-since / 0.02) * (since < 0.06)).astype(np.float32)


def tone(hz: float, seconds: float = 10.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def song(seconds: float, seed: int = 0) -> np.ndarray:
    """Something with beats, pitches and noise."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SAMPLE_RATE)
    wave = clicks(113.0, seconds)[:n] + 0.3 * clicks(226.0, seconds, 6000.0)[:n] + 0.2 * tone(330.0, seconds)[:n]
    return (wave + 0.02 * rng.standard_normal(n)).astype(np.float32)


def column(bpm: float) -> int:
    return int(np.abs(np.log(TEMPI / bpm)).argmin())


def test_width_and_names() -> None:
    rows = features(song(10), "rhythm")
    assert rows.shape == (150, 188) and rows.dtype == np.float32
    assert len(COLUMNS) == len(set(COLUMNS)) == 188
    assert [COLUMNS[s.start] for s in TEMPO.values()] == [f"tempogram_{b}_40" for b in ("all", "low", "mid", "high")]
    assert COLUMNS[ONSET] == ("onset_all", "onset_low", "onset_mid", "onset_high")
    assert COLUMNS[CHROMA][9] == "chroma_A"


def test_the_first_28_are_mfcc() -> None:
    wave = song(80)  # more than one block
    np.testing.assert_allclose(features(wave, "rhythm")[:, :28], features(wave, "mfcc"), atol=1e-4)


def around(mean: np.ndarray, bpm: float) -> float:
    """The largest of the tempo's own column and its neighbours."""
    return float(mean[max(column(bpm) - 1, 0) : column(bpm) + 2].max())


@pytest.mark.parametrize("bpm", [60.0, 72.0, 87.0, 91.0, 113.0, 124.0, 150.0, 176.0])
def test_a_click_track_peaks_at_its_tempo(bpm: float) -> None:
    mean = features(clicks(bpm), "rhythm")[75:-75, TEMPO["all"]].mean(0)
    assert around(mean, bpm) == mean[column(0.8 * bpm) :].max() > 0.6
    if bpm / 2 > 41:
        assert around(mean, bpm / 2) > 0.25, "every second beat repeats, too"
    # Between the beats nothing repeats.
    assert mean[column(1.5 * bpm)] < 0.1
    assert mean[column(1.9 * bpm)] < 0.1


def test_no_tempo_falls_between_two_columns() -> None:
    frames = np.arange(300, 420, 3)
    for bpm in np.geomspace(42, 300, 60):
        beat = np.zeros(750, np.float32)
        np.add.at(beat, np.round(np.arange(0, 749, 45 * 60 / bpm)).astype(int), 1.0)
        mean = rhythm.tempogram(np.convolve(beat, [0.5, 1, 0.5], "same").astype(np.float32), frames).mean(0)
        assert around(mean, bpm) > 0.35, bpm


def test_twice_as_fast_is_twelve_columns_further() -> None:
    octave = float(np.log(2) / np.log(TEMPI[1] / TEMPI[0]))
    slow, fast = (features(clicks(b), "rhythm")[75:-75, TEMPO["all"]].mean(0) for b in (90.0, 180.0))
    above = slice(column(70.0), None)  # the beat's own peak, not that of every second or third beat
    moved = int(fast[column(140.0) :].argmax()) + column(140.0) - (int(slow[above].argmax()) + column(70.0))
    assert abs(moved - octave) <= 1


def test_a_rhythm_is_heard_in_its_own_band() -> None:
    t = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
    low, high = clicks(75.0, hz=120.0), clicks(132.0, hz=7000.0)
    mean = features(low + high + 1e-4 * NOISE.standard_normal(len(t)), "rhythm")[75:-75].mean(0)
    # The bursts of the one rhythm begin with a click, which all bands hear: each band's own beat is the stronger one.
    assert around(mean[TEMPO["low"]], 75.0) > 4 * mean[TEMPO["high"]][column(75.0)]
    assert around(mean[TEMPO["high"]], 132.0) > 0.9


def test_transposition_turns_the_pitches_and_leaves_the_tempo() -> None:
    semitone = 2 ** (1 / 12)
    a, b = (features(clicks(120.0, hz=440 * g) + tone(440 * g, 20.0), "rhythm")[75:-75] for g in (1, semitone**4))
    assert PITCHES[int(a[:, CHROMA].mean(0).argmax())] == "A"
    assert PITCHES[int(b[:, CHROMA].mean(0).argmax())] == "C#"
    np.testing.assert_allclose(np.roll(a[:, CHROMA].mean(0), 4), b[:, CHROMA].mean(0), atol=0.1)
    before, after = a[:, TEMPO["all"]].mean(0), b[:, TEMPO["all"]].mean(0)
    assert before.argmax() == after.argmax() and np.corrcoef(before, after)[0, 1] > 0.95


def test_a_gain_shifts_two_columns_and_no_other() -> None:
    wave = song(12)
    loud, soft = features(wave, "rhythm"), features(wave * np.float32(0.25), "rhythm")
    shifted = [COLUMNS.index("cepstrum_0"), COLUMNS.index("log_energy")]
    rest = np.delete(np.arange(188), shifted)
    np.testing.assert_allclose(loud[:, rest], soft[:, rest], atol=5e-3)
    np.testing.assert_allclose((loud - soft)[:, COLUMNS.index("log_energy")], 2 * np.log(4), atol=1e-3)
    change = (loud - soft)[:, COLUMNS.index("cepstrum_0")]
    np.testing.assert_allclose(change, change[0], atol=1e-2)


@settings(max_examples=12, deadline=None)
@given(first=st.integers(0, 300), rows=st.integers(140, 400), seed=st.integers(0, 3))
def test_an_excerpt_has_the_rows_of_the_whole(first: int, rows: int, seed: int) -> None:
    whole = song(50, seed)
    cut = whole[first * HOP : (first + rows) * HOP]
    context = int(np.ceil(CONTEXT_S * FPS))
    inner = slice(context, n_frames(len(cut)) - context)
    a, b = features(cut, "rhythm")[inner], features(whole, "rhythm")[first:][inner]
    np.testing.assert_allclose(a, b, atol=2e-3)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_the_size_of_blocks_does_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = song(13)
    expected = features(wave, "rhythm")
    monkeypatch.setattr(rhythm, "_BLOCK", block)
    np.testing.assert_allclose(features(wave, "rhythm"), expected, atol=1e-3)


def test_the_same_sound_gives_the_same_bits() -> None:
    wave = song(5)
    np.testing.assert_array_equal(features(wave, "rhythm"), features(wave, "rhythm"))


def test_silence_has_neither_rhythm_nor_pitch() -> None:
    silent = features(np.zeros(10 * SAMPLE_RATE, np.float32), "rhythm")
    assert (silent[:, 28:] == 0).all() and np.isfinite(silent).all()
    dithered = features(NOISE.uniform(-(2.0**-16), 2.0**-16, 10 * SAMPLE_RATE).astype(np.float32), "rhythm")
    np.testing.assert_allclose(dithered[:, ONSET], 0, atol=0.5)
    assert np.isfinite(dithered).all()


def test_one_click_is_no_rhythm() -> None:
    wave = np.zeros(12 * SAMPLE_RATE, np.float32)
    wave[6 * SAMPLE_RATE : 6 * SAMPLE_RATE + 200] = 0.5
    rows = features(wave, "rhythm")
    assert np.isfinite(rows).all()
    assert rows[:, TEMPO["all"]].max() < 0.2
    assert abs(int(rows[:, ONSET][:, 0].argmax()) - 6 * FPS) <= 1


def test_noise_has_less_rhythm_than_clicks() -> None:
    noise = features(0.1 * NOISE.standard_normal(15 * SAMPLE_RATE).astype(np.float32), "rhythm")[:, ONSET]
    beat = features(clicks(120.0, 15.0), "rhythm")[:, ONSET]
    assert noise.max() < 0.3 * beat.max()


@pytest.mark.parametrize("n", [0, 1, 735, 736, 2205, 11025, 11026, 5 * HOP + HOP // 2, 6 * HOP + HOP // 2])
def test_short_sounds(n: int) -> None:
    rows = features(song(1)[:n], "rhythm")
    assert rows.shape == (n_frames(n), 188) and np.isfinite(rows).all()


def test_the_songs_own_beginning_is_no_onset() -> None:
    rows = features(tone(440.0, 5.0), "rhythm")
    assert rows[:, ONSET].max() < 0.5


def test_memory_does_not_grow_with_the_song() -> None:
    def beyond(seconds: float) -> int:
        """Peak bytes of NumPy beyond the features' own."""
        wave = np.tile(song(10), round(seconds / 10))
        tracemalloc.start()
        rows = features(wave, "rhythm")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - rows.nbytes

    beyond(10)
    assert beyond(300) < beyond(60) + 5e6
