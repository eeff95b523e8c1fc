"""Loudness after ITU-R BS.1770-4: its reference tone, its gates, and what normalisation does to features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.front_ends import features
from d2m.music.front_ends.loudness import loudness, normalize_loudness


def tone(hz: float, seconds: float = 5.0, level: float = 1.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_the_standards_tone(rate: int) -> None:
    # "a 0 dB FS 1 kHz (997 Hz) sine wave applied to the left, centre or right channel input: -3.01 LKFS"
    assert loudness(tone(997.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness(tone(997.0, level=0.1, rate=rate), rate) == pytest.approx(-23.01, abs=0.05)


def test_the_weighting_cuts_the_bass_and_lifts_the_treble() -> None:
    assert loudness(tone(30.0)) < loudness(tone(200.0)) - 3 < loudness(tone(4000.0)) - 5


def test_pauses_do_not_count() -> None:
    song = np.concatenate([tone(997.0, 10), np.zeros(10 * SAMPLE_RATE, np.float32), tone(997.0, 10, 1e-3)])
    assert loudness(song) == pytest.approx(-3.01, abs=0.2)


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(SAMPLE_RATE), np.ones(100), tone(997, 5, 1e-5)])
def test_silence_and_snippets_stay(wave: np.ndarray) -> None:
    assert loudness(wave) == -np.inf
    np.testing.assert_array_equal(normalize_loudness(wave), np.asarray(wave, np.float32))


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 1.0), st.integers(0, 100))
def test_normalised_loudness_is_the_target_and_undoes_any_gain(gain: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
    out = normalize_loudness(gain * noise)
    assert loudness(out) == pytest.approx(-23.0, abs=1e-3)
    np.testing.assert_allclose(out, normalize_loudness(noise), atol=1e-5)


def test_the_front_end_with_loudness_ignores_level_the_default_does_not() -> None:
    wave = tone(440.0, 4.0, 0.5) + np.random.default_rng(0).normal(0, 0.01, 4 * SAMPLE_RATE).astype(np.float32)
    np.testing.assert_allclose(features(wave, "mfcc_loudness"), features(0.2 * wave, "mfcc_loudness"), atol=2e-3)
    assert np.abs(features(wave) - features(0.2 * wave)).max() > 1
    np.testing.assert_array_equal(features(wave, "mfcc_loudness"), features(normalize_loudness(wave)))
