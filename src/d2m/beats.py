"""Beats and onsets of a song, in seconds.

Method: dynamic programming over the onset strength (Ellis, "Beat Tracking by Dynamic Programming", Journal of
New Music Research 36(1), 2007), as in librosa 0.11. Ours are the tempo prior, the correction of the tracker's
latency, the trimming of the ends, and that sound without a beat has none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.skeleton import BEAT_PERIOD, FPS, SAMPLE_RATE

#: Where the tracker looks for a tempo first: the dance unit's own, 8 frames a beat. At librosa's 120 waltzes
#: and rumbas come out at 3/2 or twice their tempo: of 45 ballroom songs of known tempo 27 were right at 120,
#: 38 here.
START_BPM = 60.0 * FPS / BEAT_PERIOD
_HOP = 512  # 23 ms
# An attack shows in the onset strength once it has moved into the window: 14 to 24 ms late on pulse trains.
_LATENCY = 0.75 * _HOP / SAMPLE_RATE
# A beat's strength is the largest onset within +-2 frames (46 ms). No beat: steady tones stay below 0.2 dB,
# steady noise below 1.35 of its own median; the weakest of 28 real songs had 1.4 dB and 1.6.
_REACH = 2
_MIN_STRENGTH_DB = 0.3
_MIN_CONTRAST = 1.4
# Beats at the ends are kept from the first to the last of at least this share of the median strength.
_END_STRENGTH = 0.2


def music_beats(wave: ArrayLike, start_bpm: float = START_BPM) -> NDArray[np.float64]:
    """Beat times of a song.

    Args:
        wave: (n,) mono at 22,050 Hz.
        start_bpm: the tempo in beats per minute around which the tracker looks first.

    Returns:
        (m,) seconds, strictly increasing, inside the song; empty where no beat is heard (silence, a steady
        tone or noise, a sound too short). The tracker goes on in silence: its beats before the first and
        after the last that is heard are dropped.
    """
    envelope = _onset_strength(wave)
    if envelope is None:
        return np.zeros(0)
    import librosa

    _, found = librosa.beat.beat_track(
        onset_envelope=envelope,
        sr=SAMPLE_RATE,
        hop_length=_HOP,
        start_bpm=start_bpm,
        units="frames",
        trim=False,
    )
    frames = np.asarray(found, dtype=np.int64)
    if not len(frames):
        return np.zeros(0)
    around = np.clip(frames[:, None] + np.arange(-_REACH, _REACH + 1), 0, len(envelope) - 1)
    strength = envelope[around].max(axis=1)
    typical = float(np.median(strength))
    if typical < max(_MIN_STRENGTH_DB, _MIN_CONTRAST * float(np.median(envelope))):
        return np.zeros(0)
    heard = np.flatnonzero(strength >= _END_STRENGTH * typical)
    return _seconds(frames[heard[0] : heard[-1] + 1], wave)


def onsets(wave: ArrayLike) -> NDArray[np.float64]:
    """Onset times of a song.

    Args:
        wave: (n,) mono at 22,050 Hz.

    Returns:
        (m,) seconds, strictly increasing, inside the song; empty where nothing begins.
    """
    envelope = _onset_strength(wave)
    # librosa scales the strength to its own maximum, and would find onsets in the ripple of a steady tone.
    if envelope is None or envelope.max() < _MIN_STRENGTH_DB:
        return np.zeros(0)
    import librosa

    found = librosa.onset.onset_detect(onset_envelope=envelope, sr=SAMPLE_RATE, hop_length=_HOP, units="frames")
    return _seconds(found, wave)


def tempo(beats: ArrayLike) -> float:
    """Beats per minute, from the median interval.

    Args:
        beats: (m,) seconds, strictly increasing.

    Returns:
        BPM; NaN for fewer than two beats.
    """
    times = np.asarray(beats, dtype=np.float64)
    return 60.0 / float(np.median(np.diff(times))) if len(times) > 1 else math.nan


def _onset_strength(wave: ArrayLike) -> NDArray[np.float32] | None:
    """(frames,) dB a frame, at 22,050 / 512 Hz; None for silence and sounds of less than two windows."""
    mono = np.asarray(wave, dtype=np.float32)
    if len(mono) < 2 * 2048 or not mono.any():
        return None
    import librosa

    return librosa.onset.onset_strength(y=mono, sr=SAMPLE_RATE, hop_length=_HOP)


def _seconds(frames: ArrayLike, wave: ArrayLike) -> NDArray[np.float64]:
    times = np.asarray(frames, dtype=np.float64) * _HOP / SAMPLE_RATE - _LATENCY
    found = np.unique(np.maximum(times, 0.0))
    return found[found < len(np.asarray(wave)) / SAMPLE_RATE]
