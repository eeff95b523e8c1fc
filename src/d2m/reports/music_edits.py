"""Editing the music instead of the latent, the study's closing idea: how far does each edit move z_dan towards a genre?

Waves are (n,) float32 mono at 22,050 Hz, full scale at 1. Edits may exceed full scale; nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.edits.direction import Direction
from d2m.music.compiled import librosa

Wave = NDArray[np.float32]
Encode = Callable[[Wave], NDArray[np.floating]]


def change_tempo(wave: Wave, rate: float) -> Wave:
    """The song ``rate`` times as fast at its own pitch: (n,) -> (about n / rate,). Phase vocoder of librosa."""
    if not 0.1 <= rate <= 10:
        raise D2MError(f"tempo rate {rate:g}: give 0.1 to 10 (1 leaves the song as it is)")
    if rate == 1:
        return wave
    return np.asarray(librosa("effects").time_stretch(wave, rate=rate), np.float32)


def separate(wave: Wave) -> tuple[Wave, Wave]:
    """Harmonic and percussive part, (n,) each; they add up to the song but for the soft mask's rounding.

    Fitzgerald, "Harmonic/Percussive Separation using Median Filtering", DAFx 2010.
    """
    harmonic, percussive = librosa("effects").hpss(wave)
    return np.asarray(harmonic, np.float32), np.asarray(percussive, np.float32)


def remix(wave: Wave, harmonic: float = 1.0, percussive: float = 1.0) -> Wave:
    """The song with its harmonic and its percussive part at these gains, at the song's own RMS."""
    tonal, drums = separate(wave)
    mixed = harmonic * tonal + percussive * drums
    power = float(np.sqrt(np.mean(np.square(mixed, dtype=np.float64))))
    if power <= 0:
        raise D2MError("remix leaves silence; give one part a gain")
    return np.asarray(mixed * (float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) / power), np.float32)


def change_pitch(wave: Wave, semitones: float) -> Wave:
    """The song transposed, at its own tempo and length."""
    if semitones == 0:
        return wave
    return np.asarray(librosa("effects").pitch_shift(wave, sr=SAMPLE_RATE, n_steps=semitones), np.float32)


def change_loudness(wave: Wave, decibels: float) -> Wave:
    """The song louder by ``decibels``."""
    return np.asarray(wave * 10 ** (decibels / 20), np.float32)


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


def along(delta: NDArray[np.floating], direction: Direction, origin: NDArray[np.floating]) -> dict[str, float]:
    """How far a displacement delta (d,) from a latent ``origin`` (d,) goes along a direction.

    Returns:
        "along": share of the direction's own strength-1 shift that is covered (1: all the way to the other genre);
        "aside": length of the rest, in the same unit; "cosine" with the direction.
    """
    unit = np.asarray(direction.shift(np.asarray(origin, np.float64)), np.float64)
    length = float(np.linalg.norm(unit))
    if length <= 0:
        raise D2MError("the direction does not move this latent; there is nothing to measure along")
    d = np.asarray(delta, np.float64)
    part = float(d @ unit) / length
    rest = float(np.linalg.norm(d - part * unit / length))
    norm = float(np.linalg.norm(d))
    return {"along": part / length, "aside": rest / length, "cosine": part / norm if norm > 0 else 0.0}


def measure_music_edits(
    wave: Wave,
    encode: Encode,
    direction: Direction,
    edits: Mapping[str, Callable[[Wave], Wave]] | None = None,
) -> list[dict[str, Any]]:
    """Encode a song and its edits, and read each displacement along the direction.

    Args:
        encode: wave -> noise-averaged z_dan (d,), the same noise for all waves.
        direction: fitted, from the song's genre to another.
        edits: label -> function; :data:`MUSIC_EDITS` by default.

    Returns:
        A row per edit: "edit" and what :func:`along` gives.
    """
    base = np.asarray(encode(wave), np.float64)
    rows = []
    for label, edit in (MUSIC_EDITS if edits is None else edits).items():
        rows.append({"edit": label, **along(np.asarray(encode(edit(wave)), np.float64) - base, direction, base)})
    return rows
