"""Front end `aist35`: its 35 columns equal those commonly used with AIST++, at 15 fps."""

from __future__ import annotations

import numpy as np
import pytest

from d2m.core.skeleton import FPS, HOP, SAMPLE_RATE
from d2m.music.audio import n_frames
from d2m.music.beats import music_beats, onsets
from d2m.music.compiled import librosa
from d2m.music.front_ends import front_end
from d2m.music.front_ends.aist35 import COLUMNS

T = np.arange(20 * SAMPLE_RATE) / SAMPLE_RATE
SINCE = T % 0.5
SONG = (
    0.5 * np.sin(2 * np.pi * 440 * T) * np.exp(-SINCE / 0.05)
    + 0.1 * np.sin(2 * np.pi * 554.37 * T)
    + 0.1 * np.sin(2 * np.pi * 440 * T)
).astype(np.float32)
HEARS = front_end("aist35")


def test_columns() -> None:
    assert HEARS.width == len(set(COLUMNS)) == 35
    assert (COLUMNS[0], COLUMNS[1], COLUMNS[21], COLUMNS[33], COLUMNS[34]) == (
        "onset_strength", "mfcc_0", "chroma_C", "onset", "beat",
    )  # fmt: skip


def test_mfcc_are_librosas() -> None:
    theirs = librosa("feature.spectral").mfcc(y=SONG, sr=SAMPLE_RATE, n_mfcc=20, hop_length=HOP)
    ours = HEARS.features(SONG)[:, 1:21]
    np.testing.assert_allclose(ours, theirs.T[: len(ours)], atol=0.05)


def test_beats_and_onsets_are_ones_at_their_frames() -> None:
    rows = HEARS.features(SONG)
    for column, times in ((33, onsets(SONG)), (34, music_beats(SONG))):
        assert len(times) > 20
        assert set(np.flatnonzero(rows[:, column])) == set(np.rint(times * FPS).astype(int))
        assert set(np.unique(rows[:, column])) == {0.0, 1.0}


def test_the_onset_strength_is_largest_where_onsets_are() -> None:
    rows = HEARS.features(SONG)
    on = np.flatnonzero(rows[:, 33])
    near = np.array([rows[max(i - 1, 0) : i + 2, 0].max() for i in on])
    assert np.median(near) > 4 * np.median(rows[:, 0])


def test_chroma_has_unit_length_and_the_right_pitches() -> None:
    pitches = HEARS.features(SONG)[:, 21:33]
    np.testing.assert_allclose(np.linalg.norm(pitches, axis=1), 1, atol=1e-5)
    assert set(np.argsort(pitches.mean(0))[-2:]) == {9, 1}  # A and C#


@pytest.mark.parametrize("n", [0, 1, 800, 4000, 11025])
def test_short_sounds_and_silence(n: int) -> None:
    for wave in (SONG[:n], np.zeros(n, np.float32)):
        rows = HEARS.features(wave)
        assert rows.shape == (n_frames(n), 35) and np.isfinite(rows).all()


def test_silence_has_neither_onset_nor_beat_nor_pitch() -> None:
    rows = HEARS.features(np.zeros(10 * SAMPLE_RATE, np.float32))
    assert np.isfinite(rows).all() and not rows[:, 21:].any() and not rows[:, 0].any()
