"""The three invented genres: what a song of each sounds like and how its dancers move.

The names are descriptions, not claims about real styles. `FLOWING` is the slow, wide, low-energy one,
`ENERGETIC` the fast, sharp, high-energy one; the third lies between.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Genre names with a promise: every test of "more energy" compares these two.
FLOWING = "flow"
ENERGETIC = "drive"


@dataclass(frozen=True)
class Genre:
    """Ranges from which a song and its dancer are drawn; (low, high) pairs are uniform ranges."""

    name: str
    tempo: tuple[float, float]  # beats per minute
    division: int  # parts of a beat: 3 is a compound (12/8) metre, 2 eighths, 4 sixteenths
    swing: tuple[float, float]  # where the off-beat eighth falls within the beat
    timing_s: float  # standard deviation of a player's note onsets, seconds
    loudness_db: tuple[float, float]  # RMS, dBFS; the genres overlap on purpose
    reverb_s: tuple[float, float]  # time for the tail to fall by 60 dB
    through: float  # share of a steady velocity that a movement keeps on the beat (0: it stops)
    snap: float  # 0: even easing between beats; 1: a fast move between two holds
    amplitude: tuple[float, float]  # scale of a dancer's movement around the middle of each move
    stance: tuple[float, float]  # ankle-to-ankle width, share of body height
    bounce: tuple[float, float]  # how far the hips drop on the beat, share of body height
    drift_deg: float  # how far the facing wanders


GENRES: dict[str, Genre] = {
    genre.name: genre
    for genre in (
        Genre(
            name=FLOWING,
            tempo=(82.0, 90.0),
            division=3,
            swing=(0.5, 0.5),
            timing_s=0.005,
            loudness_db=(-23.0, -16.0),
            reverb_s=(1.6, 2.4),
            through=0.30,
            snap=0.0,
            amplitude=(0.72, 0.98),
            stance=(0.13, 0.18),
            bounce=(0.002, 0.008),
            drift_deg=25.0,
        ),
        Genre(
            name="groove",
            tempo=(98.0, 110.0),
            division=2,
            swing=(0.55, 0.64),
            timing_s=0.005,
            loudness_db=(-21.0, -15.0),
            reverb_s=(0.5, 0.9),
            through=0.10,
            snap=0.25,
            amplitude=(0.85, 1.15),
            stance=(0.14, 0.19),
            bounce=(0.010, 0.020),
            drift_deg=20.0,
        ),
        Genre(
            name=ENERGETIC,
            tempo=(124.0, 133.0),
            division=4,
            swing=(0.5, 0.5),
            timing_s=0.002,
            loudness_db=(-20.0, -14.0),
            reverb_s=(0.4, 0.8),
            through=0.0,
            snap=0.6,
            amplitude=(0.88, 1.15),
            stance=(0.16, 0.21),
            bounce=(0.018, 0.032),
            drift_deg=15.0,
        ),
    )
}
