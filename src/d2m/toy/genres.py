"""The three invented genres: what a song of each sounds like and how its dancers move.

The names are descriptions, not claims about real styles. `FLOWING` is smooth and of low energy, `ENERGETIC` sharp and
of high energy; the third lies between. A genre is a rhythm (how the beat is divided, the drum pattern) and a texture
(what the chords play); its tempi overlap with the others', and keys, harmony, instruments, room and loudness are drawn
from a common pool (docs/adr/0063). Within a genre, every song has its own character, which its dancer shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Names of the calmest and the most energetic genre, which tests of energy compare.
FLOWING = "flow"
ENERGETIC = "drive"


@dataclass(frozen=True)
class Genre:
    """Ranges from which a song and its dancer are drawn; (low, high) pairs are uniform ranges."""

    name: str
    tempo: tuple[float, float]  # beats per minute; half or double of these is outside the range of dancers
    division: int  # parts of a beat: 3 is a compound (12/8) metre, 2 eighths, 4 sixteenths
    swing: tuple[float, float]  # position of the off-beat eighth within the beat
    through: float  # fraction of a steady velocity kept on the beat (0: movements stop)
    snap: float  # 0: even easing between beats; 1: a fast move between two holds
    amplitude: float  # scale of a dancer's movement around the middle of each move
    stance: tuple[float, float]  # ankle-to-ankle width, share of body height
    bounce: float  # how far the hips drop on the beat, share of body height
    drift_deg: float  # how far the facing wanders


@dataclass(frozen=True)
class Character:
    """Differences between songs of a genre, in sound and dance; each number is between -1 and 1."""

    intensity: float  # drums loud and busy: the dancer moves large and bounces
    articulation: float  # notes short, with sharp attacks: the dancer moves in snaps and stops on the beat
    lead: float  # 1: the melody leads, and the dancer's arms; -1: the bass, and feet in a wide stance


def draw_character(rng: np.random.Generator) -> Character:
    """A random character, independent of genre."""
    return Character(*(float(x) for x in rng.uniform(-1, 1, 3)))


GENRES: dict[str, Genre] = {
    genre.name: genre
    for genre in (
        Genre(
            name=FLOWING,
            tempo=(88.0, 112.0),
            division=3,
            swing=(0.5, 0.5),
            through=0.25,
            snap=0.10,
            amplitude=0.70,
            stance=(0.14, 0.17),
            bounce=0.006,
            drift_deg=25.0,
        ),
        Genre(
            name="groove",
            tempo=(96.0, 122.0),
            division=2,
            swing=(0.56, 0.63),
            through=0.12,
            snap=0.25,
            amplitude=0.95,
            stance=(0.15, 0.18),
            bounce=0.014,
            drift_deg=20.0,
        ),
        Genre(
            name=ENERGETIC,
            tempo=(106.0, 134.0),
            division=4,
            swing=(0.5, 0.5),
            through=0.05,
            snap=0.55,
            amplitude=1.0,
            stance=(0.17, 0.20),
            bounce=0.022,
            drift_deg=15.0,
        ),
    )
}
