"""Songs: an arrangement of drums, bass, chords and melody on a known beat clock, mixed to a waveform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from d2m.core.skeleton import SAMPLE_RATE
from d2m.toy import instruments as inst
from d2m.toy.band import LAYERS, Band
from d2m.toy.clock import BEATS_PER_BAR, BeatClock
from d2m.toy.drums import play_drums
from d2m.toy.genres import Character, Genre
from d2m.toy.harmony import play_harmony

#: Levels of LAYERS and the dancers' size in each kind of section.
SECTIONS: dict[str, tuple[tuple[float, ...], float]] = {
    "intro": ((0.7, 0.3, 0.6, 0.3, 1.0, 0.0), 0.85),
    "verse": ((1.0, 0.8, 0.8, 1.0, 0.8, 0.6), 1.00),
    "chorus": ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), 1.08),
    "break": ((0.6, 0.0, 0.5, 0.5, 1.1, 0.8), 0.88),
}
#: RMS of a song, dBFS.
LOUDNESS_DB = (-22.0, -14.0)
#: Cutoff frequency of chords and melody.
TONE_HZ = (4500.0, 8000.0)
#: Reverberation time (60 dB decay).
REVERB_S = (0.5, 1.0)


@dataclass(frozen=True)
class Song:
    """`wave` (n,) float32 mono in [-1, 1] at 22.05 kHz; times in seconds; `level` one number a bar."""

    wave: np.ndarray
    clock: BeatClock
    beats: np.ndarray
    downbeats: np.ndarray
    sections: tuple[str, ...]  # one a bar
    level: np.ndarray  # (n_bars,) how large the dancers move
    character: Character


def _sections(n_bars: int, rng: np.random.Generator) -> list[str]:
    """A kind of section for each bar: intro, then verses and choruses of four bars with breaks."""
    out = ["intro"] * int(rng.integers(1, 3))
    kind = "verse"
    while len(out) < n_bars:
        out += [kind] * 4
        if kind == "verse":
            kind = "chorus"
        elif kind == "chorus" and rng.random() < 0.5:
            out += ["break"] * 2
            kind = "chorus" if rng.random() < 0.5 else "verse"
        else:
            kind = "verse"
    return out[:n_bars]


def _mix(band: Band) -> np.ndarray:
    """Tracks to one wave: tone, ducking, room, soft clipping, then the target RMS; all drawn independently of genre."""
    rng, tracks = band.rng, band.tracks
    music = inst.filtered(tracks["chords"] + tracks["melody"], "lowpass", float(np.exp(rng.uniform(*np.log(TONE_HZ)))))
    # Ducking: the kick lowers the level of everything else.
    depth = rng.uniform(0, 0.4)
    phase = band.clock.beat_at(np.arange(band.n) / SAMPLE_RATE) % 1
    music = music * (1 - depth * (1 - np.minimum(phase / 0.6, 1)))
    drums = tracks["kick"] + tracks["snare"] + tracks["hat"]
    wet = rng.uniform(0.10, 0.18)
    room = inst.reverb(wet * (music + 0.4 * drums), float(rng.uniform(*REVERB_S)), rng)
    wave = music + drums + tracks["bass"] + room
    wave = np.tanh(1.2 * wave / np.quantile(np.abs(wave[::16]), 0.995))
    wave *= 10 ** (rng.uniform(*LOUDNESS_DB) / 20) / np.sqrt((wave**2).mean())
    wave *= min(1.0, 0.98 / np.abs(wave).max())
    edge = int(0.02 * SAMPLE_RATE)
    wave[-edge:] *= np.linspace(1, 0, edge)
    return np.asarray(wave, dtype=np.float32)


def compose(genre: Genre, character: Character, clock: BeatClock, n_samples: int, rng: np.random.Generator) -> Song:
    """A song of a genre and a character: `n_samples` of music whose beats are the clock's."""
    seconds = n_samples / SAMPLE_RATE
    beats = clock.beats_within(seconds)
    n_bars = len(beats) // BEATS_PER_BAR + 1
    sections = _sections(n_bars, rng)
    table = np.array([SECTIONS[s][0] for s in sections])
    gains = {layer: table[:, i] for i, layer in enumerate(LAYERS)}
    band = Band(genre, character, clock, n_samples, rng)
    play_drums(band, gains, n_bars)
    play_harmony(band, gains, int(rng.integers(-5, 7)), n_bars)
    return Song(
        wave=_mix(band),
        clock=clock,
        beats=beats,
        downbeats=beats[::BEATS_PER_BAR],
        sections=tuple(sections),
        level=np.array([SECTIONS[s][1] for s in sections]),
        character=character,
    )
