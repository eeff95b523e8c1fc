"""Metrics of motion and edits of music, on cases whose answer is known."""

import numpy as np
import pytest
from bodies import STANDING, WRIST, waving

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.motion import (
    UNITS,
    common_scale,
    content_distance,
    energy_map,
    measure_motion,
    symmetry,
    verticality,
)  # fmt: skip
from d2m.music.transforms import change_loudness, change_pitch, change_tempo, remix, separate
from d2m.reports.music_edits import along, measure_music_edits


def test_energy_is_of_the_joint_that_moves_in_torso_lengths() -> None:
    energy = energy_map(waving(91)).mean(0)
    assert energy.shape == (14,) and energy.argmax() == WRIST and np.delete(energy, WRIST).max() < 1e-20
    # v = A w cos(wt), mean v^2 / 2 = (A w)^2 / 4, A = 0.4 torso, w = 2 pi / s; less what differences lose at 15 fps.
    assert energy[WRIST] == pytest.approx((0.4 * 2 * np.pi) ** 2 / 4, rel=0.03)
    assert energy_map(waving(91)).shape == (90, 14)


def test_the_cameras_scale_changes_nothing() -> None:
    near, far = measure_motion(3.7 * waving()), measure_motion(waving())
    assert near == pytest.approx(far)


def test_dances_that_are_compared_share_a_scale() -> None:
    small, big = waving(), 2 * waving()
    scale = common_scale([small, small, big])
    assert scale == pytest.approx(50)
    assert energy_map(big, scale).sum() == pytest.approx(4 * energy_map(small, scale).sum())
    with pytest.raises(D2MError, match="torso"):
        common_scale([np.zeros((5, 14, 2))])
    assert content_distance(small + 50, small) == pytest.approx(2**0.5) and content_distance(small, small) == 0


def test_symmetry() -> None:
    assert symmetry(waving(amplitude=0.0)) == pytest.approx(np.ones(90))
    assert symmetry(waving(amplitude=60.0)).min() < 0.85
    onesided = np.repeat(np.abs(STANDING)[None] * [1, 0], 4, axis=0)
    assert symmetry(onesided).max() < 0.45
    assert (symmetry(np.random.default_rng(0).normal(size=(50, 14, 2))) >= 0).all()


def test_verticality() -> None:
    assert verticality(waving(axis=1)) == pytest.approx(1) and verticality(waving(axis=0)) == pytest.approx(0)
    both = waving(axis=1) + waving(axis=0)
    assert verticality(both) == pytest.approx(0.5)
    assert np.isnan(verticality(waving(amplitude=0.0)))


def test_the_metrics_follow_what_they_name() -> None:
    assert all(f"{name}: " in UNITS for name in measure_motion(waving()))
    calm, wild = measure_motion(waving(amplitude=5)), measure_motion(waving(amplitude=25))
    assert wild["energy"] == pytest.approx(25 * calm["energy"])
    assert wild["jerk"] == pytest.approx(5 * calm["jerk"])
    crouched = waving() * np.array([0.5, 1.0])
    assert measure_motion(crouched)["expansion"] < measure_motion(waving())["expansion"]
    with pytest.raises(ValueError, match="four frames"):
        measure_motion(waving(3))


# -- editing music ------------------------------------------------------------------------------------------------


def song(seconds: float = 3.0) -> np.ndarray:
    """A 440 Hz tone with a click every half second."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.3 * np.sin(2 * np.pi * 440 * t)
    rng = np.random.default_rng(0)
    for at in np.arange(0.25, seconds, 0.5):
        i = int(at * SAMPLE_RATE)
        wave[i : i + 200] += 0.6 * rng.normal(size=len(wave[i : i + 200]))
    return wave.astype(np.float32)


def pitch(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(power.argmax() * SAMPLE_RATE / len(wave))


def test_each_edit_changes_what_it_says() -> None:
    wave = song()
    fast = change_tempo(wave, 1.25)
    assert len(fast) == pytest.approx(len(wave) / 1.25, rel=0.01) and pitch(fast) == pytest.approx(440, rel=0.01)
    up = change_pitch(wave, 12)
    assert len(up) == len(wave) and pitch(up) == pytest.approx(880, rel=0.01)
    assert change_tempo(wave, 1.0) is wave and change_pitch(wave, 0) is wave
    np.testing.assert_allclose(change_loudness(wave, 20), 10 * wave, rtol=1e-5)
    harmonic, percussive = separate(wave)
    np.testing.assert_allclose(harmonic + percussive, wave, atol=0.02)
    quiet = slice(int(0.35 * SAMPLE_RATE), int(0.65 * SAMPLE_RATE))
    assert np.square(harmonic[quiet]).mean() > 10 * np.square(percussive[quiet]).mean()
    for mixed in (remix(wave, 1, 0), remix(wave, 0, 1)):
        assert np.sqrt(np.square(mixed).mean()) == pytest.approx(np.sqrt(np.square(wave).mean()), rel=1e-4)
    with pytest.raises(D2MError, match="tempo rate"):
        change_tempo(wave, 0)


def test_displacements_are_read_along_the_direction() -> None:
    edit = MeanShift("a", "b").from_means({"a": np.zeros(3), "b": np.array([2.0, 0, 0])})
    read = along(np.array([1.0, 2.0, 0.0]), edit, np.zeros(3))
    assert read == pytest.approx({"along": 0.5, "aside": 1.0, "cosine": 1 / np.sqrt(5)})


def test_music_edits_are_measured_against_the_song_itself() -> None:
    """An encoder of (log loudness, log length, 0): loudness moves along one axis, tempo along the other."""

    def encode(wave: np.ndarray) -> np.ndarray:
        return np.array([np.log(np.sqrt(np.square(wave).mean())), np.log(len(wave)), 0.0])

    edit = MeanShift("soft", "loud").from_means({"soft": np.zeros(3), "loud": np.array([np.log(10.0), 0, 0])})
    rows = measure_music_edits(
        song(), encode, edit, {"louder": lambda w: change_loudness(w, 20), "slower": lambda w: change_tempo(w, 0.5)}
    )
    by_name = {r["edit"]: r for r in rows}
    assert by_name["louder"]["along"] == pytest.approx(1, abs=1e-3) and by_name["louder"]["aside"] < 1e-3
    assert abs(by_name["slower"]["along"]) < 0.2 < by_name["slower"]["aside"]
