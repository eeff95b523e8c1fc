"""Edits of audio: tempo, pitch, loudness, balance of harmonic and percussive parts, joining halves of two songs.

Waves are (n,) float32 mono at 22,050 Hz, full scale at 1. Results may exceed full scale; nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.compiled import librosa

Wave = NDArray[np.float32]


def change_tempo(wave: Wave, rate: float) -> Wave:
    """Play the song ``rate`` times as fast at the same pitch: (n,) -> (about n / rate,). librosa's phase vocoder."""
    if not 0.1 <= rate <= 10:
        raise D2MError(f"tempo rate {rate:g}: give 0.1 to 10 (1 keeps the tempo)")
    if rate == 1:
        return wave
    return np.asarray(librosa("effects").time_stretch(wave, rate=rate), np.float32)


def separate(wave: Wave) -> tuple[Wave, Wave]:
    """Harmonic and percussive part, (n,) each; they add up to the song, up to rounding of the soft mask.

    Fitzgerald, "Harmonic/Percussive Separation using Median Filtering", DAFx 2010.
    """
    harmonic, percussive = librosa("effects").hpss(wave)
    return np.asarray(harmonic, np.float32), np.asarray(percussive, np.float32)


def remix(wave: Wave, harmonic: float = 1.0, percussive: float = 1.0) -> Wave:
    """Mix the harmonic and the percussive part with these gains, and restore the song's RMS."""
    tonal, drums = separate(wave)
    mixed = harmonic * tonal + percussive * drums
    power = float(np.sqrt(np.mean(np.square(mixed, dtype=np.float64))))
    if power <= 0:
        raise D2MError("the remix is silent; give at least one part a gain")
    return np.asarray(mixed * (float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) / power), np.float32)


def change_pitch(wave: Wave, semitones: float) -> Wave:
    """Transpose the song, keeping tempo and length."""
    if semitones == 0:
        return wave
    return np.asarray(librosa("effects").pitch_shift(wave, sr=SAMPLE_RATE, n_steps=semitones), np.float32)


def change_loudness(wave: Wave, decibels: float) -> Wave:
    """Raise the level by ``decibels``."""
    return np.asarray(wave * 10 ** (decibels / 20), np.float32)


def _cut(wave: Wave, beats: NDArray[np.floating] | None) -> int:
    """The sample at the beat (s) nearest to the middle of a wave, or at its middle if there are no beats."""
    middle = len(wave) / 2
    if beats is None or not len(beats):
        return int(middle)
    samples = np.asarray(beats, np.float64) * SAMPLE_RATE
    return round(float(samples[np.argmin(np.abs(samples - middle))]))


def halves(
    a: Wave,
    b: Wave,
    beats_a: NDArray[np.floating] | None = None,
    beats_b: NDArray[np.floating] | None = None,
    fade_s: float = 0.05,
) -> tuple[Wave, float]:
    """A song that changes its character: the first half of one song, then the second half of another.

    Args:
        a, b: waves; their levels are not changed.
        beats_a, beats_b: seconds; each song is cut at the beat nearest to its middle, so that the second continues on a
            beat. Without beats, it is cut in the middle.
        fade_s: duration of the equal-power crossfade at the cut, in seconds.

    Returns:
        the wave, as long as both halves together, and the time of the cut in seconds.

    Raises:
        D2MError: a song that is too short for the crossfade.
    """
    half = round(fade_s * SAMPLE_RATE / 2)
    cuts = _cut(a, beats_a), _cut(b, beats_b)
    for wave, cut in zip((a, b), cuts, strict=True):
        if half < 0 or not half < cut < len(wave) - half:
            raise D2MError(
                f"a song of {len(wave) / SAMPLE_RATE:.3g} s, cut at {cut / SAMPLE_RATE:.3g} s: too short for a fade of "
                f"{fade_s:g} s; give a longer song, or a shorter fade of 0 s or more"
            )
    first, second = a[: cuts[0] + half], b[cuts[1] - half :]
    angle = np.pi / 2 * (np.arange(2 * half) + 0.5) / max(1, 2 * half)
    fade = first[len(first) - 2 * half :] * np.cos(angle) + second[: 2 * half] * np.sin(angle)
    joined = np.concatenate([first[: len(first) - 2 * half], fade, second[2 * half :]])
    return joined.astype(np.float32), cuts[0] / SAMPLE_RATE


#: The edits of the experiment: label -> function of a wave.
MUSIC_EDITS: dict[str, Callable[[Wave], Wave]] = {
    "tempo x0.8": lambda w: change_tempo(w, 0.8),
    "tempo x1.25": lambda w: change_tempo(w, 1.25),
    "harmonic only": lambda w: remix(w, 1.0, 0.0),
    "percussive only": lambda w: remix(w, 0.0, 1.0),
    "drums +9 dB": lambda w: remix(w, 1.0, 10 ** (9 / 20)),
    "pitch -4 semitones": lambda w: change_pitch(w, -4),
    "pitch +4 semitones": lambda w: change_pitch(w, 4),
    "loudness -9 dB": lambda w: change_loudness(w, -9),
    "loudness +9 dB": lambda w: change_loudness(w, 9),
}
