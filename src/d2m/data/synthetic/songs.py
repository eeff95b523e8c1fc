"""Songs: an arrangement of drums, bass, chords and melody on a known beat clock, mixed to a waveform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from d2m.data.synthetic import instruments as inst
from d2m.data.synthetic.clock import BEATS_PER_BAR, BeatClock
from d2m.data.synthetic.genres import ENERGETIC, FLOWING, Genre
from d2m.skeleton import SAMPLE_RATE

MAJOR = np.array([0, 2, 4, 5, 7, 9, 11])
MINOR = np.array([0, 2, 3, 5, 7, 8, 10])
DORIAN = np.array([0, 2, 3, 5, 7, 9, 10])

#: Scale and chord roots (scale degrees, one a bar) a song draws from.
HARMONY: dict[str, tuple[np.ndarray, tuple[tuple[int, ...], ...]]] = {
    "flow": (MAJOR, ((0, 5, 3, 4), (0, 2, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4))),
    "groove": (DORIAN, ((0, 3, 0, 3), (0, 0, 3, 4), (0, 6, 3, 0), (3, 4, 0, 0))),
    "drive": (MINOR, ((0, 5, 2, 6), (0, 3, 5, 6), (0, 6, 5, 6), (0, 0, 5, 6))),
}
LAYERS = ("kick", "snare", "hat", "bass", "chords", "melody")
#: Levels of LAYERS and the dancers' size in each kind of section.
SECTIONS: dict[str, tuple[tuple[float, ...], float]] = {
    "intro": ((0.7, 0.3, 0.6, 0.3, 1.0, 0.0), 0.85),
    "verse": ((1.0, 0.8, 0.8, 1.0, 0.8, 0.6), 1.00),
    "chorus": ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), 1.08),
    "break": ((0.6, 0.0, 0.5, 0.5, 1.1, 0.8), 0.88),
}


@dataclass(frozen=True)
class Song:
    """`wave` (n,) float32 mono in [-1, 1] at 22.05 kHz; times in seconds; `level` one number a bar."""

    wave: np.ndarray
    clock: BeatClock
    beats: np.ndarray
    downbeats: np.ndarray
    sections: tuple[str, ...]  # one a bar
    level: np.ndarray  # (n_bars,) how large the dancers move


class _Band:
    """The players: places sounds on the clock, with human timing, into one track per layer."""

    def __init__(self, genre: Genre, clock: BeatClock, n_samples: int, rng: np.random.Generator) -> None:
        self.genre, self.clock, self.n, self.rng = genre, clock, n_samples, rng
        self.tracks = {name: np.zeros(n_samples) for name in LAYERS}
        self.swing = float(rng.uniform(*genre.swing))

    def seconds(self, beats: np.ndarray) -> np.ndarray:
        """When (fractional) beats are played: off-beat eighths are swung, all are a little human."""
        whole, part = np.floor(beats), beats % 1
        swung = np.where(part < 0.5, part * 2 * self.swing, self.swing + (part - 0.5) * 2 * (1 - self.swing))
        human = self.rng.standard_normal(beats.shape).clip(-2, 2) * self.genre.timing_s
        return self.clock.time_of(whole + swung) + human

    def hit(self, layer: str, beats: np.ndarray, sound: np.ndarray | list[np.ndarray], level: np.ndarray) -> None:
        """Add a sound (or one per beat) at `beats` (k,) with `level` (k,); silent and late ones are dropped."""
        track = self.tracks[layer]
        starts = np.round(self.seconds(beats) * SAMPLE_RATE).astype(int)
        sounds = sound if isinstance(sound, list) else [sound] * len(starts)
        for start, one, loud in zip(starts, sounds, level, strict=True):
            if loud > 0 and 0 <= start < self.n:
                end = min(start + len(one), self.n)
                track[start:end] += loud * one[: end - start]


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


def _grid(n_bars: int, pattern: dict[float, float], gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Beats (k,) and levels (k,) of a one-bar pattern {beat: level} played in every bar at its gain."""
    places, levels = np.array(list(pattern)), np.array(list(pattern.values()))
    beats = (BEATS_PER_BAR * np.arange(n_bars)[:, None] + places).ravel()
    return beats, (gain[:, None] * levels).ravel()


def _drums(band: _Band, gains: dict[str, np.ndarray], n_bars: int) -> None:
    rng = band.rng

    def play(layer: str, sound: np.ndarray, pattern: dict[float, float], loudness: float) -> None:
        beats, level = _grid(n_bars, pattern, gains[layer])
        band.hit(layer, beats, sound, loudness * level * rng.uniform(0.88, 1.0, len(level)))

    if band.genre.name == FLOWING:
        soft = inst.filtered(inst.kick(rng, rng.uniform(50, 62), 0.16, 0.10), "lowpass", 1500)
        play("kick", soft, {0: 1.0, 2: 0.75}, 0.75)
        play("snare", inst.shaker(rng, rng.uniform(0.07, 0.11)), {1: 0.8, 3: 0.8}, 0.35)
        light = {b + k / 3: 0.2 for b in range(4) for k in (1, 2)}
        play("hat", inst.hat(rng, 0.02, 5000), {0: 0.6, 1: 0.5, 2: 0.6, 3: 0.5} | light, 0.16)
    elif band.genre.name == ENERGETIC:
        play("kick", inst.kick(rng, rng.uniform(46, 58), rng.uniform(0.09, 0.14), 0.55), dict.fromkeys(range(4), 1.0), 1.0)
        play("snare", inst.clap(rng, rng.uniform(0.05, 0.09)), {1: 1.0, 3: 1.0}, 0.7)
        closed, opened = inst.hat(rng, rng.uniform(0.012, 0.02), 6500), inst.hat(rng, rng.uniform(0.04, 0.08), 6000)
        play("hat", closed, {k / 4: 0.55 if k % 4 == 0 else 0.25 for k in range(16)}, 0.4)
        play("hat", opened, {b + 0.5: 1.0 for b in range(4)}, rng.uniform(0.18, 0.32))
    else:
        kicks: tuple[dict[float, float], ...] = (
            {0: 1.0, 2: 0.9, 2.5: 0.5}, {0: 1.0, 1.5: 0.45, 2: 0.9}, {0: 1.0, 2: 0.95, 3.5: 0.4},
        )  # fmt: skip
        play("kick", inst.kick(rng, rng.uniform(52, 66), 0.11, 0.3), kicks[rng.integers(3)], 0.95)
        sound = inst.snare(rng, rng.uniform(170, 215), rng.uniform(0.06, 0.10), rng.uniform(4000, 6500))
        play("snare", sound, {1: 1.0, 3: 1.0}, 0.6)
        off = float(rng.uniform(0.3, 0.5))
        play("hat", inst.hat(rng, 0.025, 6000), {b + k / 2: off if k else 0.8 for b in range(4) for k in (0, 1)}, 0.28)


def _chord(scale: np.ndarray, degree: int, size: int) -> np.ndarray:
    """Semitones above the key of a chord of `size` stacked thirds on a scale degree."""
    steps = degree + 2 * np.arange(size)
    return scale[steps % 7] + 12 * (steps // 7)


def _bass(band: _Band, gain: np.ndarray, roots: np.ndarray, n_bars: int) -> None:
    patterns: dict[str, tuple[dict[float, float], ...]] = {
        "flow": ({0: 1.0, 2: 0.8}, {0: 1.0, 2: 0.8, 3: 0.5}),
        "groove": ({0: 1.0, 1.5: 0.7, 2: 0.8, 3.5: 0.6}, {0: 1.0, 1: 0.6, 2: 0.8, 2.5: 0.6}),
        "drive": ({b + k / 2: 0.95 if k else 0.8 for b in range(4) for k in (0, 1)}, {b + 0.5: 1.0 for b in range(4)} | {0: 0.9}),
    }  # fmt: skip
    lengths = {"flow": (1.6, 0.15), "groove": (0.7, 0.45), "drive": (0.4, 0.8)}
    pattern = patterns[band.genre.name][band.rng.integers(2)]
    beats_long, drive = lengths[band.genre.name]
    beats, level = _grid(n_bars, pattern, gain)
    length_s = beats_long * 60 / band.clock.bpm
    drive = float(np.clip(drive + band.rng.uniform(-0.15, 0.15), 0, 1))
    make = lru_cache(maxsize=None)(lambda note: inst.bass(float(inst.midi_hz(note)), length_s, drive))
    band.hit("bass", beats, [make(float(roots[int(b) // 4])) for b in beats], 0.5 * level)


def _pad(band: _Band, gain: np.ndarray, chords: list[np.ndarray], table: np.ndarray, swell_s: float) -> None:
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


def _harmony(band: _Band, gains: dict[str, np.ndarray], key: int, n_bars: int) -> None:
    """Bass, chords and melody."""
    rng, genre = band.rng, band.genre
    scale, progressions = HARMONY[genre.name]
    progression = progressions[rng.integers(len(progressions))]
    degrees = [progression[bar % 4] for bar in range(n_bars)]
    size = 3 if genre.name == ENERGETIC else 4
    chords = [key + 60 + _chord(scale, d, size) for d in degrees]
    chords = [np.where(c > 72, c - 12, c) for c in chords]
    roots = np.array([key + 36 + scale[d] - (12 if scale[d] > 6 else 0) for d in degrees], dtype=float)
    _bass(band, gains["bass"], roots, n_bars)

    brightness = float(rng.uniform(0.35, 0.6))
    decay = {"flow": 0.7, "groove": 0.4, "drive": 0.16}[genre.name] * float(rng.uniform(0.8, 1.25))
    make = lru_cache(maxsize=None)(lambda n: inst.pluck(float(inst.midi_hz(n)), decay, brightness))

    if genre.name == FLOWING:
        _pad(band, 0.55 * gains["chords"], chords, inst.wavetable(8, rng.uniform(1.4, 2.0)), 0.35)
        arpeggio = ((0, 1, 2), (3, 2, 1), (0, 2, 3), (2, 1, 0))[:: 1 if rng.random() < 0.5 else -1]
        pattern = {b + k / 3: 1.0 if k == 0 else 0.3 for b in range(4) for k in range(3)}
        beats, level = _grid(n_bars, pattern, gains["chords"])
        notes = [chords[i // 12][arpeggio[(i % 12) // 3][i % 3]] for i in range(len(beats))]
        band.hit("chords", beats, [make(float(n)) for n in notes], 0.55 * level)
    elif genre.name == ENERGETIC:
        _pad(band, 0.30 * gains["chords"], chords, inst.wavetable(14, rng.uniform(0.9, 1.2)), 0.03)
        beats, level = _grid(n_bars, {k / 4: 1.0 if k % 4 == 0 else 0.45 for k in range(16)}, gains["chords"])
        order = rng.permutation(4)
        notes = [chords[i // 16][order[i % 4] % 3] + 12 * (order[i % 4] == 3) for i in range(len(beats))]
        band.hit("chords", beats, [make(float(n)) for n in notes], 0.30 * level)
    else:
        _pad(band, 0.18 * gains["chords"], chords, inst.wavetable(9, 1.3, odd=True), 0.15)
        stabs = ({0: 0.9, 1: 0.6, 2: 0.8, 3: 0.6}, {0: 1.0, 1.5: 0.6, 3: 0.7}, {0: 0.9, 2: 0.8, 2.5: 0.5})
        beats, level = _grid(n_bars, stabs[rng.integers(3)], gains["chords"])
        for voice in range(size):
            band.hit("chords", beats, [make(float(chords[int(b) // 4][voice])) for b in beats], 0.28 * level)

    _melody(band, gains["melody"], chords, key + 72, scale, n_bars)


def _melody(band: _Band, gain: np.ndarray, chords: list[np.ndarray], key: int, scale: np.ndarray, n_bars: int) -> None:
    """A two-bar motif, repeated; on strong beats it takes the nearest note of the chord."""
    rng = band.rng
    rhythms: dict[str, tuple[tuple[float, ...], ...]] = {
        "flow": ((0, 2, 3, 4, 6), (0, 1, 2, 4, 7), (0, 3, 4, 5, 6)),
        "groove": ((0, 0.5, 1.5, 3, 4, 5.5), (0, 1.5, 2, 4, 4.5, 6), (0.5, 1, 3, 4, 5, 6.5)),
        "drive": ((0, 0.75, 1.5, 2, 3, 4, 4.75, 5.5, 6), (0, 1, 1.5, 2.5, 3, 4, 5, 5.5, 7)),
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
    make = lru_cache(maxsize=None)(lambda n: inst.pluck(float(inst.midi_hz(n)), decay, bright, 1e-4))
    band.hit("melody", beats, [make(float(p)) for p in pitch], 0.4 * gain[bars])


def _mix(band: _Band, loudness_db: float) -> np.ndarray:
    """Tracks to one wave: tone, ducking, room, a soft ceiling, then the wanted RMS."""
    genre, rng, tracks = band.genre, band.rng, band.tracks
    music = tracks["chords"] + tracks["melody"]
    music = inst.filtered(music, "lowpass", float(rng.uniform(*{"flow": (2200, 4200)}.get(genre.name, (4500, 9000)))))
    if genre.name == ENERGETIC:  # the pumping of a kick that pushes everything else down
        phase = band.clock.beat_at(np.arange(band.n) / SAMPLE_RATE) % 1
        music = music * (0.35 + 0.65 * np.minimum(phase / 0.6, 1))
    drums = tracks["kick"] + tracks["snare"] + tracks["hat"]
    wet = {"flow": 0.30, "groove": 0.16, "drive": 0.12}[genre.name]
    seconds = float(rng.uniform(*genre.reverb_s))
    wave = inst.reverb(music, seconds, wet, rng) + inst.reverb(drums, 0.5 * seconds, 0.4 * wet, rng) + tracks["bass"]
    wave = np.tanh(1.2 * wave / np.quantile(np.abs(wave[:: 16]), 0.995))
    wave *= 10 ** (loudness_db / 20) / np.sqrt((wave**2).mean())
    wave *= min(1.0, 0.98 / np.abs(wave).max())
    edge = int(0.02 * SAMPLE_RATE)
    wave[-edge:] *= np.linspace(1, 0, edge)
    return wave.astype(np.float32)


def compose(genre: Genre, clock: BeatClock, n_samples: int, rng: np.random.Generator) -> Song:
    """A song of a genre: `n_samples` of music whose beats are the clock's."""
    seconds = n_samples / SAMPLE_RATE
    beats = clock.beats_within(seconds)
    n_bars = len(beats) // BEATS_PER_BAR + 1
    sections = _sections(n_bars, rng)
    table = np.array([SECTIONS[s][0] for s in sections])
    gains = {layer: table[:, i] for i, layer in enumerate(LAYERS)}
    band = _Band(genre, clock, n_samples, rng)
    _drums(band, gains, n_bars)
    _harmony(band, gains, int(rng.integers(-5, 7)), n_bars)
    return Song(
        wave=_mix(band, float(rng.uniform(*genre.loudness_db))),
        clock=clock,
        beats=beats,
        downbeats=beats[::BEATS_PER_BAR],
        sections=tuple(sections),
        level=np.array([SECTIONS[s][1] for s in sections]),
    )
