"""The band: places sounds on a beat clock, with human timing, into one track per layer."""

from __future__ import annotations

import numpy as np

from d2m.core.skeleton import SAMPLE_RATE
from d2m.toy.clock import BEATS_PER_BAR, BeatClock
from d2m.toy.genres import Character, Genre

#: Standard deviation of a player's note onsets, seconds.
TIMING_S = 0.004
LAYERS = ("kick", "snare", "hat", "bass", "chords", "melody")


class Band:
    """The players: places sounds on the clock, with human timing, into one track per layer."""

    def __init__(
        self, genre: Genre, character: Character, clock: BeatClock, n_samples: int, rng: np.random.Generator
    ) -> None:
        self.genre, self.character, self.clock, self.n, self.rng = genre, character, clock, n_samples, rng
        self.tracks = {name: np.zeros(n_samples) for name in LAYERS}
        self.swing = float(rng.uniform(*genre.swing))

    def seconds(self, beats: np.ndarray) -> np.ndarray:
        """Times at which (fractional) beats are played: off-beat eighths are swung, and all have human timing."""
        whole, part = np.floor(beats), beats % 1
        swung = np.where(part < 0.5, part * 2 * self.swing, self.swing + (part - 0.5) * 2 * (1 - self.swing))
        human = self.rng.standard_normal(beats.shape).clip(-2, 2) * TIMING_S
        return self.clock.time_of(whole + swung) + human

    def hit(self, layer: str, beats: np.ndarray, sound: np.ndarray | list[np.ndarray], level: np.ndarray) -> None:
        """Add a sound (or one per beat) at `beats` (k,) with `level` (k,), cut at the song's end."""
        track = self.tracks[layer]
        starts = np.round(self.seconds(beats) * SAMPLE_RATE).astype(int)
        sounds = sound if isinstance(sound, list) else [sound] * len(starts)
        for start, one, loud in zip(starts, sounds, level, strict=True):
            if loud > 0 and 0 <= start < self.n:
                end = min(start + len(one), self.n)
                track[start:end] += loud * one[: end - start]


def bar_grid(n_bars: int, pattern: dict[float, float], gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Beats (k,) and levels (k,) of a one-bar pattern {beat: level} played in every bar at its gain.

    Bars with many notes have the same power as bars with few, so that the density of a genre does not affect its level.
    """
    places, levels = np.array(list(pattern)), np.array(list(pattern.values()))
    levels /= np.sqrt(0.5 * np.square(levels).sum())
    beats = (BEATS_PER_BAR * np.arange(n_bars)[:, None] + places).ravel()
    return beats, (gain[:, None] * levels).ravel()
