"""The beat clock that a song and its dancer share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The tempo wanders by this share around its mean, once in DRIFT_PERIOD_S, as players do.
DRIFT = 0.004
DRIFT_PERIOD_S = 23.0
BEATS_PER_BAR = 4


@dataclass(frozen=True)
class BeatClock:
    """Beat number as a smooth function of time; beat 0, the first downbeat, is at `start_s`."""

    bpm: float
    start_s: float
    drift_phase: float

    def beat_at(self, seconds: np.ndarray) -> np.ndarray:
        """Continuous beat number at each time (any shape, seconds); negative before beat 0."""

        def elapsed(t: np.ndarray | float) -> np.ndarray:
            turn = 2 * np.pi / DRIFT_PERIOD_S
            return t - DRIFT / turn * np.cos(turn * np.asarray(t) + self.drift_phase)

        return np.asarray(self.bpm / 60 * (elapsed(seconds) - elapsed(self.start_s)))

    def time_of(self, beats: np.ndarray) -> np.ndarray:
        """Times in seconds of (fractional) beat numbers (any shape): the inverse of `beat_at`."""
        beats = np.asarray(beats, dtype=np.float64)
        seconds = self.start_s + beats * 60 / self.bpm
        for _ in range(6):  # a contraction by DRIFT at each turn: exact to rounding after six
            seconds = seconds + (beats - self.beat_at(seconds)) * 60 / self.bpm
        return seconds

    def beats_within(self, seconds: float) -> np.ndarray:
        """Times (n,) of the whole beats from beat 0 to the end of a song of `seconds`."""
        last = int(np.floor(self.beat_at(np.asarray(seconds))))
        times = self.time_of(np.arange(last + 1))
        return times[times < seconds]


def draw_clock(tempo: tuple[float, float], rng: np.random.Generator) -> BeatClock:
    """A clock with a tempo drawn from the range (beats per minute) and a random start."""
    return BeatClock(
        bpm=float(rng.uniform(*tempo)),
        start_s=float(rng.uniform(0.10, 0.50)),
        drift_phase=float(rng.uniform(0, 2 * np.pi)),
    )
