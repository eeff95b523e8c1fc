"""Beats and onsets of sounds whose beats are known."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music import audio
from d2m.music.beats import (
    BEAT_TRACKERS,
    WEIGHTS_VARIABLE,
    BeatTracker,
    check_tracker,
    music_beats,
    onsets,
    tempo,
    track,
)

SHARED = Path(os.environ.get("D2M_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
SECONDS = 20.0


def train(bpm: float, kind: str = "click", start: float = 0.5, end: float = SECONDS - 0.2) -> tuple:
    """A pulse train of `SECONDS` and its beat times; `end` is when the last pulse may begin."""
    times = np.arange(start, end, 60.0 / bpm)
    t = np.arange(2000) / SAMPLE_RATE
    rng = np.random.default_rng(0)
    carrier = rng.standard_normal(2000) if kind == "click" else np.sin(2 * np.pi * 60 * t)
    wave = np.zeros(round(SECONDS * SAMPLE_RATE), np.float32)
    for time in times:
        first = round(time * SAMPLE_RATE)
        wave[first : first + 2000] += (0.3 * carrier * np.exp(-t / 0.014))[: len(wave) - first]
    return wave, times


def well_formed(times: np.ndarray, wave: np.ndarray) -> bool:
    inside = (times >= 0).all() and (times < len(wave) / SAMPLE_RATE).all()
    return times.dtype == np.float64 and times.ndim == 1 and bool((np.diff(times) > 0).all() and inside)


@pytest.mark.parametrize("kind", ["click", "kick"])
@pytest.mark.parametrize("bpm", [60, 72, 80, 90, 100, 110, 120, 128])
def test_the_beats_of_a_pulse_train(bpm: float, kind: str) -> None:
    wave, times = train(bpm, kind)
    beats = music_beats(wave)
    assert well_formed(beats, wave)
    assert tempo(beats) == pytest.approx(bpm, rel=0.03)  # the tracker's tempo grid is 2 to 3 BPM wide
    assert len(times) - 2 <= len(beats) <= len(times)  # the tracker may stop a beat or two early
    error = beats - times[np.abs(beats[:, None] - times).argmin(axis=1)]
    assert np.abs(error).max() < 0.04 and abs(np.median(error)) < 0.012


@pytest.mark.parametrize("bpm", [60, 100, 150])
def test_the_onsets_of_a_pulse_train(bpm: float) -> None:
    wave, times = train(bpm)
    found = onsets(wave)
    assert well_formed(found, wave)
    np.testing.assert_allclose(found, times, atol=0.025)


def test_the_prior_decides_between_octaves() -> None:
    wave, _ = train(150)
    assert tempo(music_beats(wave, start_bpm=150)) == pytest.approx(150, rel=0.03)
    assert tempo(music_beats(wave, start_bpm=70)) == pytest.approx(75, rel=0.03)


def test_no_beats_in_the_silence_at_either_end() -> None:
    wave, times = train(120, start=5.0, end=14.9)
    beats = music_beats(wave)
    assert beats[0] == pytest.approx(times[0], abs=0.04) and beats[-1] == pytest.approx(times[-1], abs=0.04)
    assert len(beats) == len(times)


def test_loudness_does_not_matter() -> None:
    wave, _ = train(100)
    np.testing.assert_allclose(music_beats(wave), music_beats(0.01 * wave), atol=0.03)  # one frame of 23 ms


def _seconds(n: float = SECONDS) -> np.ndarray:
    return np.arange(round(n * SAMPLE_RATE)) / SAMPLE_RATE


BEATLESS = {
    "nothing": np.zeros(0),
    "one sample": np.ones(1),
    "very short": np.sin(_seconds(0.05) * 3000),
    "silence": np.zeros(round(SECONDS * SAMPLE_RATE)),
    "constant": np.full(round(SECONDS * SAMPLE_RATE), 0.3),
    "steady tone": 0.3 * np.sin(2 * np.pi * 220 * _seconds()),
    "swelling tone": 0.3 * np.sin(2 * np.pi * 220 * _seconds()) * np.minimum(_seconds() / 10, 1),
    "white noise": 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * SAMPLE_RATE)),
    "brown noise": 1e-3 * np.cumsum(np.random.default_rng(1).standard_normal(round(SECONDS * SAMPLE_RATE))),
    "tone in noise": 0.3 * np.sin(2 * np.pi * 220 * _seconds())
    + 1e-3 * np.random.default_rng(2).standard_normal(round(SECONDS * SAMPLE_RATE)),
    "one click": np.eye(1, round(SECONDS * SAMPLE_RATE), 5 * SAMPLE_RATE)[0],
}


@pytest.mark.parametrize("name", BEATLESS)
def test_beatless_sound_has_no_beats(name: str, recwarn: pytest.WarningsRecorder) -> None:
    wave = BEATLESS[name].astype(np.float32)
    beats = music_beats(wave)
    assert beats.shape == (0,) and beats.dtype == np.float64
    assert well_formed(onsets(wave), wave)
    assert not recwarn.list


def test_one_click_is_one_onset() -> None:
    np.testing.assert_allclose(onsets(BEATLESS["one click"].astype(np.float32)), [5.0], atol=0.025)
    assert onsets(BEATLESS["steady tone"].astype(np.float32)).size == 0


def test_tempo() -> None:
    assert tempo(np.arange(10) * 0.5) == pytest.approx(120)
    assert tempo([0.0, 0.5, 1.0, 3.0, 3.5]) == pytest.approx(120)  # the median ignores a gap
    assert np.isnan(tempo([])) and np.isnan(tempo([1.0]))


@pytest.mark.skipif(not (SHARED / "data/ballroom").is_dir(), reason=f"no ballroom data at {SHARED / 'data'}")
def test_real_tempi_come_out() -> None:
    """The ten shortest songs, whatever they are: most tempi within 6% of the manifest's."""
    root = SHARED / "data/ballroom"
    with open(root / "manifest.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    shortest = sorted(rows, key=lambda row: float(row["seconds"]))[:10]
    right = []
    for row in shortest:
        wave = audio.load_song(root / row["audio"])
        beats = music_beats(wave)
        assert well_formed(beats, wave) and len(beats) > 10
        right.append(abs(tempo(beats) / float(row["music_bpm"]) - 1) < 0.06)
    assert np.mean(right) >= 0.7


# --- trackers ----------------------------------------------------------------------------------------------------


def test_a_song_is_tracked_by_the_recorded_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.zeros(3 * SAMPLE_RATE, np.float32)
    found = [2.0, 1.0, 1.0, -0.1, 3.5]
    monkeypatch.setitem(BEAT_TRACKERS, "fake", lambda checkpoint, weights: lambda mono, envelope: found)
    for recorded in (BeatTracker("fake", "ab"), {"name": "fake", "weights": "ab"}, "fake"):
        np.testing.assert_array_equal(track(wave, recorded), [1.0, 2.0])
    assert BeatTracker.of(None) == BeatTracker("librosa") == BeatTracker.of(BeatTracker().plain())


def test_a_tracker_that_cannot_work_here_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    (tmp_path / "w.ckpt").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "beat_this", None)
    monkeypatch.setitem(sys.modules, "beat_this.inference", None)
    for tracker, checkpoint, told in [
        (BeatTracker("humming"), None, "no beat tracker 'humming'; choose from librosa, beat_this"),
        (BeatTracker("beat_this"), None, f"beats_checkpoint=null is not a file; .* {WEIGHTS_VARIABLE}"),
        (BeatTracker("beat_this", "0" * 64), tmp_path / "w.ckpt", "the music was prepared with 000000000000"),
        (BeatTracker("beat_this"), tmp_path / "w.ckpt", r"pip install 'd2m\[beat_this\]'"),
    ]:  # fmt: skip
        with pytest.raises(D2MError, match=told) as e:
            check_tracker(tracker, checkpoint)
        assert "\n" not in str(e.value)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "w.ckpt"))
    with pytest.raises(D2MError, match="pip install"):
        track(np.zeros(SAMPLE_RATE), "beat_this")


def test_the_tracker_travels_with_the_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    from d2m.bundle import read_bundle, write_bundle
    from d2m.dance.generator import DanceGenerator

    assert DanceGenerator.load(tiny_bundle).beat_tracker == BeatTracker("librosa")  # of a bundle that does not say
    b = read_bundle(tiny_bundle)
    config = {k: v for k, v in b.config.items() if k != "format"}
    made = write_bundle(
        tmp_path / "b", config={**config, "beat_tracker": {"name": "beat_this", "weights": "ab"}}, state=b.state,
        normalizer=b.normalizer, genres=b.genres, genre_means=b.genre_means, provenance={}, card="",
    )  # fmt: skip
    assert DanceGenerator.load(made).beat_tracker == BeatTracker("beat_this", "ab")
