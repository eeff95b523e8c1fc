"""The bass, chord and melody parts of the three genres."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from d2m.core.skeleton import SAMPLE_RATE
from d2m.toy import instruments as inst
from d2m.toy.band import Band, bar_grid
from d2m.toy.clock import BEATS_PER_BAR
from d2m.toy.genres import ENERGETIC, FLOWING

MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
MINOR = np.array([0, 2, 3, 5, 7, 8, 10])
DORIAN = np.array([0, 2, 3, 5, 7, 9, 10])

#: Scale and chord roots (scale degrees, one a bar) a song draws from.
HARMONY: dict[str, tuple[np.ndarray, tuple[tuple[int, ...], ...]]] = {
    "flow": (MAJOR, ((0, 5, 3, 4), (0, 2, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4))),
    "groove": (DORIAN, ((0, 3, 0, 3), (0, 0, 3, 4), (0, 6, 3, 0), (3, 4, 0, 0))),
    "drive": (MINOR, ((0, 5, 2, 6), (0, 3, 5, 6), (0, 6, 5, 6), (0, 0, 5, 6))),
}


def _chord(scale: np.ndarray, degree: int, size: int) -> np.ndarray:
    """Semitones above the key of a chord of `size` stacked thirds on a scale degree."""
    steps = degree + 2 * np.arange(size)
    return scale[steps % 7] + 12 * (steps // 7)


def _bass(band: Band, gain: np.ndarray, roots: np.ndarray, n_bars: int) -> None:
    patterns: dict[str, tuple[dict[float, float], ...]] = {
        "flow": ({0: 1.0, 2: 0.8}, {0: 1.0, 2: 0.8, 3: 0.5}),
        "groove": ({0: 1.0, 1.5: 0.7, 2: 0.8, 3.5: 0.6}, {0: 1.0, 1: 0.6, 2: 0.8, 2.5: 0.6}),
        "drive": (
            {b + k / 2: 0.6 if k else 1.0 for b in range(4) for k in (0, 1)},
            {b + part: loud for b in range(4) for part, loud in ((0, 1.0), (0.5, 0.5), (0.75, 0.6))},
        ),
    }  # fmt: skip
    lengths = {"flow": (1.6, 0.15), "groove": (0.7, 0.45), "drive": (0.4, 0.8)}
    pattern = patterns[band.genre.name][band.rng.integers(2)]
    beats_long, drive = lengths[band.genre.name]
    beats, level = bar_grid(n_bars, pattern, gain)
    length_s = beats_long * 60 / band.clock.bpm
    drive = float(np.clip(drive + band.rng.uniform(-0.15, 0.15), 0, 1))
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
    """Bass, chords and melody."""
    rng, genre = band.rng, band.genre
    scale, progressions = HARMONY[genre.name]
    progression = progressions[rng.integers(len(progressions))]
    degrees = [progression[bar % 4] for bar in range(n_bars)]
    size = 3 if genre.name == ENERGETIC else 4
    chords = [key + 60 + _chord(scale, d, size) for d in degrees]
    chords = [np.where(c > 72, c - 12, c) for c in chords]
    roots = np.array([32 + (key + 4 + scale[d]) % 12 for d in degrees], dtype=float)
    _bass(band, gains["bass"], roots, n_bars)

    brightness = float(rng.uniform(0.35, 0.6))
    decay = {"flow": 0.7, "groove": 0.4, "drive": 0.16}[genre.name] * float(rng.uniform(0.8, 1.25))
    make = lru_cache(maxsize=None)(lambda n: inst.pluck(float(inst.midi_hz(n)), decay, brightness))

    if genre.name == FLOWING:
        _pad(band, 0.42 * gains["chords"], chords, inst.wavetable(8, rng.uniform(1.4, 2.0)), 0.35)
        arpeggio = ((0, 1, 2), (3, 2, 1), (0, 2, 3), (2, 1, 0))[:: 1 if rng.random() < 0.5 else -1]
        pattern = {b + k / 3: 1.0 if k == 0 else 0.3 for b in range(4) for k in range(3)}
        beats, level = bar_grid(n_bars, pattern, gains["chords"])
        notes = [chords[i // 12][arpeggio[(i % 12) // 3][i % 3]] for i in range(len(beats))]
        band.hit("chords", beats, [make(float(n)) for n in notes], 0.55 * level)
    elif genre.name == ENERGETIC:
        _pad(band, 0.30 * gains["chords"], chords, inst.wavetable(14, rng.uniform(0.9, 1.2)), 0.03)
        sixteenths = {k / 4: 1.0 if k % 4 == 0 else 0.35 for k in range(16)}
        beats, level = bar_grid(n_bars, sixteenths, gains["chords"])
        order = rng.permutation(4)
        notes = [chords[i // 16][order[i % 4] % 3] + 12 * (order[i % 4] == 3) for i in range(len(beats))]
        band.hit("chords", beats, [make(float(n)) for n in notes], 0.30 * level)
    else:
        _pad(band, 0.18 * gains["chords"], chords, inst.wavetable(9, 1.3, odd=True), 0.15)
        stabs: tuple[dict[float, float], ...] = (
            {0: 0.9, 1: 0.6, 2: 0.8, 3: 0.6},
            {0: 1.0, 1.5: 0.6, 3: 0.7},
            {0: 0.9, 2: 0.8, 2.5: 0.5},
        )
        beats, level = bar_grid(n_bars, stabs[rng.integers(3)], gains["chords"])
        for voice in range(size):
            band.hit("chords", beats, [make(float(chords[int(b) // 4][voice])) for b in beats], 0.28 * level)

    _melody(band, gains["melody"], chords, key + 72, scale, n_bars)


def _melody(band: Band, gain: np.ndarray, chords: list[np.ndarray], key: int, scale: np.ndarray, n_bars: int) -> None:
    """A two-bar motif, repeated; on strong beats it takes the nearest note of the chord."""
    rng = band.rng
    rhythms: dict[str, tuple[tuple[float, ...], ...]] = {
        "flow": ((0, 2, 3, 4, 6), (0, 1, 2, 4, 7), (0, 3, 4, 5, 6)),
        "groove": ((0, 0.5, 1.5, 3, 4, 5.5), (0, 1.5, 2, 4, 4.5, 6), (0.5, 1, 3, 4, 5, 6.5)),
        "drive": (
            (0, 1, 1.75, 2, 3, 4, 5, 5.75, 6),
            (0, 1, 1.5, 2, 3, 4, 5, 6, 6.5),
            (0, 0.75, 2, 3, 4, 4.75, 6, 7),
        ),
    }
    rhythm = np.array(rhythms[band.genre.name][rng.integers(len(rhythms[band.genre.name]))])
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
    decay = {"flow": 0.9, "groove": 0.3, "drive": 0.22}[band.genre.name]
    bright = float(rng.uniform(0.45, 0.75))
    make = lru_cache(maxsize=None)(lambda n: inst.pluck(float(inst.midi_hz(n)), decay, bright))
    band.hit("melody", beats, [make(float(p)) for p in pitch], 0.4 * gain[bars])
