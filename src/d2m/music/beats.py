"""Beats and onsets of a song, in seconds.

Method: dynamic programming over the onset strength (Ellis, "Beat Tracking by Dynamic Programming", Journal of
New Music Research 36(1), 2007), as in librosa 0.11. We change the tempo prior, correct the tracker's
latency, trim the ends, and return no beats for sound without a beat.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.blas import one_blas_thread
from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.skeleton import BEAT_PERIOD, FPS, SAMPLE_RATE
from d2m.music.compiled import librosa

#: The tempo prior: that of the dance unit, 8 frames per beat. With librosa's 120, waltzes and rumbas are detected at
#: 3/2 or twice their tempo: of 45 ballroom songs with known tempo, 27 were correct with 120, and 38 with this value.
START_BPM = 60.0 * FPS / BEAT_PERIOD
#: Environment variable with the path of a tracker's weights, if no checkpoint is given.
WEIGHTS_VARIABLE = "D2M_BEAT_WEIGHTS"
_HOP = 512  # 23 ms
_N_FFT = 2048
_BLOCK = 2048  # frames
# An attack raises the onset strength only once it is inside the window: 14 to 24 ms late for pulse trains.
_LATENCY = 0.75 * _HOP / SAMPLE_RATE
# A beat's strength is the largest onset within +-2 frames (46 ms). Thresholds for sound without beats: steady tones
# stay below 0.2 dB, steady noise below 1.35 times its median; the weakest of 28 real songs had 1.4 dB and 1.6.
_REACH = 2
_MIN_STRENGTH_DB = 0.3
_MIN_CONTRAST = 1.4
# Beats at the ends are dropped until one reaches this share of the median strength.
_END_STRENGTH = 0.2


def music_beats(wave: ArrayLike, start_bpm: float = START_BPM) -> NDArray[np.float64]:
    """Beat times of a song.

    Args:
        wave: (n,) mono at 22,050 Hz.
        start_bpm: the tempo prior in beats per minute.

    Returns:
        (m,) seconds, strictly increasing, inside the song; empty if there is no beat (silence, a steady
        tone or noise, a sound too short). The tracker continues in silence; its beats before the first and
        after the last audible one are dropped.
    """
    return beats_from(onset_strength(wave), len(np.asarray(wave)), start_bpm)


def beats_from(
    envelope: NDArray[np.float32] | None, n_samples: int, start_bpm: float = START_BPM
) -> NDArray[np.float64]:
    """:func:`music_beats` of a given :func:`onset_strength`, for a song of ``n_samples``."""
    if envelope is None:
        return np.zeros(0)
    _, beat_frames = librosa("beat").beat_track(
        onset_envelope=envelope,
        sr=SAMPLE_RATE,
        hop_length=_HOP,
        start_bpm=start_bpm,
        units="frames",
        trim=False,
    )
    frames = np.asarray(beat_frames, dtype=np.int64)
    if not len(frames):
        return np.zeros(0)
    around = np.clip(frames[:, None] + np.arange(-_REACH, _REACH + 1), 0, len(envelope) - 1)
    strength = envelope[around].max(axis=1)
    typical = float(np.median(strength))
    if typical < max(_MIN_STRENGTH_DB, _MIN_CONTRAST * float(np.median(envelope))):
        return np.zeros(0)
    heard = np.flatnonzero(strength >= _END_STRENGTH * typical)
    return _seconds(frames[heard[0] : heard[-1] + 1], n_samples)


@dataclass(frozen=True)
class BeatTracker:
    """The beat tracker, as recorded in corpora and bundles.

    name: one of :data:`BEAT_TRACKERS`. weights: sha256 of its checkpoint's bytes; "" for none or an unknown one.
    """

    name: str = "librosa"
    weights: str = ""

    @classmethod
    def of(cls, recorded: BeatTracker | Mapping[str, str] | str | None) -> BeatTracker:
        """From the JSON of a record, a name, or None for older records, which all used librosa."""
        if isinstance(recorded, BeatTracker):
            return recorded
        if isinstance(recorded, Mapping):
            return cls(**recorded)
        return cls(recorded or "librosa")

    def plain(self) -> dict[str, str]:
        """As plain JSON values."""
        return asdict(self)


#: (mono (n,), its onset strength or None) -> beats in seconds.
Track = Callable[[NDArray[np.float32], NDArray[np.float32] | None], ArrayLike]


def track(
    wave: ArrayLike,
    tracker: BeatTracker | str = "librosa",
    checkpoint: str | Path | None = None,
    envelope: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """Beat times of a song by one of :data:`BEAT_TRACKERS`.

    Args:
        wave: (n,) mono at 22,050 Hz.
        tracker: as a corpus or a bundle records it, or a name.
        checkpoint: weights of `beat_this`, which would otherwise download them; by default, the file named by the
            environment variable ``D2M_BEAT_WEIGHTS``.
        envelope: the song's :func:`onset_strength`, if already computed.

    Returns:
        (m,) seconds, strictly increasing, inside the song.

    Raises:
        D2MError: unknown tracker, missing extra, missing or invalid checkpoint, or a checkpoint other than recorded.
    """
    mono = np.asarray(wave, np.float32)
    tracked = _tracker(BeatTracker.of(tracker), checkpoint)(mono, envelope)
    times = np.unique(np.asarray(tracked, np.float64))
    return np.asarray(times[(times >= 0) & (times < len(mono) / SAMPLE_RATE)], np.float64)


def check_tracker(tracker: BeatTracker, checkpoint: str | Path | None = None) -> None:
    """Check that a tracker can be used, before any song is processed.

    Raises:
        D2MError: as :func:`track`.
    """
    _tracker(tracker, checkpoint)


def _tracker(tracker: BeatTracker, checkpoint: str | Path | None) -> Track:
    if tracker.name not in BEAT_TRACKERS:
        raise D2MError(f"no beat tracker '{tracker.name}'; choose from {', '.join(BEAT_TRACKERS)}")
    return BEAT_TRACKERS[tracker.name](str(checkpoint or os.environ.get(WEIGHTS_VARIABLE, "")), tracker.weights)


def _librosa_tracker(checkpoint: str, weights: str) -> Track:
    return lambda mono, envelope: beats_from(onset_strength(mono) if envelope is None else envelope, len(mono))


@cache
def _beat_this_tracker(checkpoint: str, weights: str) -> Track:
    if not Path(checkpoint).is_file():
        raise D2MError(
            f"beat tracker beat_this: beats_checkpoint={checkpoint or 'null'} is not a file; "
            f"give its .ckpt there or in {WEIGHTS_VARIABLE}"
        )
    if weights and weights != (digest := sha256(Path(checkpoint))):
        raise D2MError(
            f"beat tracker beat_this: {checkpoint} has sha256 {digest[:12]}, but the music was prepared "
            f"with {weights[:12]}; "
            f"name that .ckpt in {WEIGHTS_VARIABLE}"
        )
    try:
        from beat_this.inference import Audio2Beats
    except (ImportError, OSError) as e:
        raise D2MError(f"beat tracker beat_this cannot be imported ({e}); pip install 'd2m[beat_this]'") from e
    try:
        model = Audio2Beats(checkpoint_path=checkpoint, device="cpu", dbn=False)
    except Exception as e:  # torch raises many kinds for a bad file
        raise D2MError(f"beats_checkpoint={checkpoint}: not a beat_this checkpoint ({type(e).__name__})") from e
    return lambda mono, envelope: model(mono, SAMPLE_RATE)[0]


#: name -> (checkpoint, its recorded digest or "") -> the function that tracks. `librosa` is built in; `beat_this`
#: (Foscarin et al., "Beat this! Accurate beat tracking without DBN postprocessing", ISMIR 2024) is the extra
#: `beat_this` and needs its checkpoint as a file.
BEAT_TRACKERS: dict[str, Callable[[str, str], Track]] = {
    "librosa": _librosa_tracker,
    "beat_this": _beat_this_tracker,
}


def onsets(wave: ArrayLike) -> NDArray[np.float64]:
    """Onset times of a song.

    Args:
        wave: (n,) mono at 22,050 Hz.

    Returns:
        (m,) seconds, strictly increasing, inside the song; empty if there are none.
    """
    return onsets_from(onset_strength(wave), len(np.asarray(wave)))


def onsets_from(envelope: NDArray[np.float32] | None, n_samples: int) -> NDArray[np.float64]:
    """:func:`onsets` of a given :func:`onset_strength`, for a song of ``n_samples``."""
    # librosa normalises by the maximum, and would detect onsets in the ripple of a steady tone.
    if envelope is None or envelope.max() < _MIN_STRENGTH_DB:
        return np.zeros(0)
    onset_frames = librosa("onset").onset_detect(
        onset_envelope=envelope, sr=SAMPLE_RATE, hop_length=_HOP, units="frames"
    )
    return _seconds(onset_frames, n_samples)


def tempo(beats: ArrayLike) -> float:
    """Beats per minute, from the median interval.

    Args:
        beats: (m,) seconds, strictly increasing.

    Returns:
        BPM; NaN for fewer than two beats.
    """
    times = np.asarray(beats, dtype=np.float64)
    return 60.0 / float(np.median(np.diff(times))) if len(times) > 1 else math.nan


@one_blas_thread()
def onset_strength(wave: ArrayLike) -> NDArray[np.float32] | None:
    """(frames,) dB per frame, at 22,050 / 512 Hz; None for silence and sounds of less than two windows."""
    mono = np.asarray(wave, dtype=np.float32)
    if len(mono) < 2 * _N_FFT or not mono.any():
        return None
    decibels = librosa("core.spectrum").power_to_db(_mel(mono))
    return np.asarray(librosa("onset").onset_strength(S=decibels, sr=SAMPLE_RATE, hop_length=_HOP), np.float32)


def _mel(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) -> (128, 1 + n // 512), librosa's mel spectrogram, computed in blocks; as a whole, 2 h would take 4 GB."""
    melspectrogram = librosa("feature.spectral").melspectrogram
    frames = 1 + len(wave) // _HOP
    mel = np.empty((128, frames), np.float32)
    for first in range(0, frames, _BLOCK):
        stop = min(first + _BLOCK, frames)
        left, right = first * _HOP - _N_FFT // 2, (stop - 1) * _HOP + _N_FFT // 2
        part = np.pad(wave[max(left, 0) : right], (max(-left, 0), max(right - len(wave), 0)))
        mel[:, first:stop] = melspectrogram(y=part, sr=SAMPLE_RATE, n_fft=_N_FFT, hop_length=_HOP, center=False)
    return mel


def _seconds(frames: ArrayLike, n_samples: int) -> NDArray[np.float64]:
    times = np.asarray(frames, dtype=np.float64) * _HOP / SAMPLE_RATE - _LATENCY
    seconds = np.unique(np.maximum(times, 0.0))
    return seconds[seconds < n_samples / SAMPLE_RATE]
