"""The bass, chord and melody parts of the three genres."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from d2m.core.skeleton import SAMPLE_RATE
from d2m.toy import instruments as inst
from d2m.toy.band import Band, bar_grid
from d2m.toy.clock import BEATS_PER_BAR

MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
MINOR = np.array([0, 2, 3, 5, 7, 8, 10])
DORIAN = np.array([0, 2, 3, 5, 7, 9, 10])

#: A scale and the chord roots (scale degrees, one a bar) that go with it; a song of any genre draws one.
HARMONY: tuple[tuple[np.ndarray, tuple[int, ...]], ...] = (
    (MAJOR, (0, 5, 3, 4)), (MAJOR, (5, 3, 0, 4)), (MAJOR, (0, 3, 1, 4)),
    (DORIAN, (0, 3, 0, 3)), (DORIAN, (0, 6, 3, 0)), (DORIAN, (3, 4, 0, 0)),
    (MINOR, (0, 5, 2, 6)), (MINOR, (0, 3, 5, 6)), (MINOR, (0, 6, 5, 6)),
)  # fmt: skip
#: Rhythms of one bar, {beat: level}, and of the melody's two bars, of which a song draws one.
BASS: dict[str, tuple[dict[float, float], ...]] = {
    "flow": ({0: 1.0, 2: 0.8, 3: 0.5}, {0: 1.0, 1 + 2 / 3: 0.6, 2: 0.8, 3 + 2 / 3: 0.6}),
    "groove": ({0: 1.0, 1.5: 0.7, 2: 0.8, 3.5: 0.6}, {0: 1.0, 1: 0.6, 2: 0.8, 2.5: 0.6}),
    "drive": (
        {b + k / 2: 0.6 if k else 1.0 for b in range(4) for k in (0, 1)},
        {b + part: loud for b in range(4) for part, loud in ((0, 1.0), (0.5, 0.5), (0.75, 0.6))},
    ),
}
STABS: tuple[dict[float, float], ...] = (
    {0: 0.9, 1: 0.6, 2: 0.8, 3: 0.6}, {0: 1.0, 1.5: 0.6, 3: 0.7}, {0: 0.9, 2: 0.8, 2.5: 0.5},
)  # fmt: skip
MELODY: dict[str, tuple[tuple[float, ...], ...]] = {
    "flow": ((0, 2 / 3, 2, 3, 4, 6), (0, 1, 2, 2 + 2 / 3, 4, 7), (0, 3, 4, 4 + 2 / 3, 5, 6)),
    "groove": ((0, 0.5, 1.5, 3, 4, 5.5), (0, 1.5, 2, 4, 4.5, 6), (0.5, 1, 3, 4, 5, 6.5)),
    "drive": ((0, 1, 1.75, 2, 4, 5.75, 6), (0, 1, 1.5, 2, 4, 6, 6.75), (0, 0.75, 2, 4, 4.75, 6)),
}


def _chord(scale: np.ndarray, degree: int, size: int) -> np.ndarray:
    """Semitones above the key of a chord of `size` stacked thirds on a scale degree."""
    steps = degree + 2 * np.arange(size)
    return scale[steps % 7] + 12 * (steps // 7)


def _bass(band: Band, gain: np.ndarray, roots: np.ndarray, n_bars: int) -> None:
    patterns = BASS[band.genre.name]
    beats, level = bar_grid(n_bars, patterns[band.rng.integers(len(patterns))], gain)
    length_s = 0.42 * 2.5**-band.character.articulation
    drive = float(band.rng.uniform(0.1, 0.9))
    make = lru_cache(maxsize=None)(lambda note: inst.bass(float(inst.midi_hz(note)), length_s, drive))
    band.hit("bass", beats, [make(float(roots[int(b) // 4])) for b in beats], 0.5 * level)


def _pad(band: Band, gain: np.ndarray, chords: list[np.ndarray], table: np.ndarray, swell_s: float) -> None:
    """Sustained chords, one a bar, each fading into the next."""
    edges = band.clock.time_of(BEATS_PER_BAR * np.arange(len(chords) + 1))
    for bar, chord in enumerate(chords):
        start = int(edges[bar] * SAMPLE_RATE)
        n = min(int((edges[bar + 1] - edges[bar] + swell_s) * SAMPLE_RATE), band.n - start)
        if n <= 0 or gain[bar] <= 0:
            continue
        t = np.arange(n) / SAMPLE_RATE
        shape = np.minimum(t / swell_s, 1) * np.clip((edges[bar + 1] - edges[bar] + swell_s - t) / swell_s, 0, 1)
        tones = sum(inst.tone(table, float(hz), n, 9.0, band.rng.random()) for hz in inst.midi_hz(chord))
        band.tracks["chords"][start : start + n] += gain[bar] * shape * tones / len(chord)


def play_harmony(band: Band, gains: dict[str, np.ndarray], key: int, n_bars: int) -> None:
    """Bass, chords and melody; the song's character decides whether bass or melody leads, and the length of notes."""
    rng, articulation, lead = band.rng, band.character.articulation, band.character.lead
    scale, progression = HARMONY[rng.integers(len(HARMONY))]
    degrees = [progression[bar % 4] for bar in range(n_bars)]
    chords = [key + 60 + _chord(scale, d, 4) for d in degrees]
    chords = [np.where(c > 72, c - 12, c) for c in chords]
    roots = np.array([32 + (key + 4 + scale[d]) % 12 for d in degrees], dtype=float)
    _bass(band, 10 ** (-0.4 * lead) * gains["bass"], roots, n_bars)

    swell_s = 0.12 * 3.0**-articulation
    table = inst.wavetable(int(rng.integers(8, 12)), rng.uniform(1.1, 1.5))
    _pad(band, 0.22 * 3.0**-articulation * gains["chords"], chords, table, swell_s)
    _texture(band, gains["chords"], chords, n_bars)
    _melody(band, 10 ** (0.5 * lead) * gains["melody"], chords, key + 72, scale, n_bars)


def _plucked(band: Band) -> Callable[[float], np.ndarray]:
    """An instrument of the song: MIDI note number -> its sound (n,)."""
    articulation = band.character.articulation
    decay, brightness = 0.32 * 3.0**-articulation * band.rng.uniform(0.85, 1.18), float(band.rng.uniform(0.45, 0.6))
    return lru_cache(maxsize=None)(
        lambda note: inst.pluck(float(inst.midi_hz(note)), decay, brightness, 0.010 * 3.0**-articulation)
    )


def _texture(band: Band, gain: np.ndarray, chords: list[np.ndarray], n_bars: int) -> None:
    """The chords above the pad: an arpeggio in triplets, off-beat stabs, or a pattern of sixteenths."""
    rng, division, make = band.rng, band.genre.division, _plucked(band)
    if division == 2:
        beats, level = bar_grid(n_bars, STABS[rng.integers(len(STABS))], gain)
        for voice in range(4):
            band.hit("chords", beats, [make(float(chords[int(b) // 4][voice])) for b in beats], 0.28 * level)
        return
    order = rng.permutation(4)
    steps = {b + k / division: 0.4 if k else 1.0 for b in range(4) for k in range(division)}
    beats, level = bar_grid(n_bars, steps, gain)
    notes = [chords[i // (4 * division)][order[i % 4]] for i in range(len(beats))]
    band.hit("chords", beats, [make(float(n)) for n in notes], 0.9 * level)


def _melody(band: Band, gain: np.ndarray, chords: list[np.ndarray], key: int, scale: np.ndarray, n_bars: int) -> None:
    """A two-bar motif, repeated; on strong beats it takes the nearest note of the chord."""
    rng = band.rng
    rhythms = MELODY[band.genre.name]
    rhythm = np.array(rhythms[rng.integers(len(rhythms))])
    steps = np.cumsum(rng.integers(-2, 3, len(rhythm)))
    steps -= int(steps.mean())
    beats = (8 * np.arange((n_bars + 1) // 2)[:, None] + rhythm).ravel()
    keep = beats < 4 * n_bars
    degrees = np.tile(steps, (n_bars + 1) // 2)[keep]
    beats = beats[keep]
    bars = beats.astype(int) // 4
    pitch = key + scale[degrees % 7] + 12 * (degrees // 7)
    for i in np.flatnonzero(beats % 2 == 0):
        chord = np.concatenate([chords[bars[i]], chords[bars[i]] + 12])
        pitch[i] = chord[np.abs(chord - pitch[i]).argmin()]
    make = _plucked(band)
    band.hit("melody", beats, [make(float(p)) for p in pitch], 0.4 * gain[bars])
