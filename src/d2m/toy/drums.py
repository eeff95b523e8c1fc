"""The drum parts: the kit is drawn from one pool, the pattern is the genre's."""

from __future__ import annotations

import numpy as np

from d2m.toy import instruments as inst
from d2m.toy.band import Band, bar_grid

#: Kick patterns, {beat: level} of one bar, one of which a song draws.
KICKS: dict[str, tuple[dict[float, float], ...]] = {
    "flow": ({0: 1.0, 2: 0.8}, {0: 1.0, 2: 0.8, 3 + 2 / 3: 0.5}, {0: 1.0, 1 + 2 / 3: 0.5, 2: 0.9}),
    "groove": ({0: 1.0, 2: 0.9, 2.5: 0.5}, {0: 1.0, 1.5: 0.45, 2: 0.9}, {0: 1.0, 2: 0.95, 3.5: 0.4}),
    "drive": ({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {0: 1.0, 1: 0.9, 2: 1.0, 3: 0.9, 3.75: 0.5}),
}
BACKBEAT: dict[float, float] = {1: 1.0, 3: 1.0}


def play_drums(band: Band, gains: dict[str, np.ndarray], n_bars: int) -> None:
    """Kick, a backbeat, and a cymbal on every division of the beat; an intense song's are louder and busier."""
    rng, division = band.rng, band.genre.division
    intensity, lead = band.character.intensity, band.character.lead
    loud = 1.2 * 10 ** (0.5 * intensity)

    def play(layer: str, sound: np.ndarray, pattern: dict[float, float], loudness: float) -> None:
        beats, level = bar_grid(n_bars, pattern, gains[layer])
        band.hit(layer, beats, sound, loud * loudness * level * rng.uniform(0.88, 1.0, len(level)))

    kick = inst.kick(rng, rng.uniform(46, 64), rng.uniform(0.09, 0.14), rng.uniform(0.2, 0.8))
    play(
        "kick",
        kick,
        KICKS[band.genre.name][rng.integers(len(KICKS[band.genre.name]))],
        10 ** (-0.15 * lead) * rng.uniform(0.85, 1.0),
    )
    hand = (
        inst.snare(rng, rng.uniform(170, 215), rng.uniform(0.06, 0.10), rng.uniform(4000, 6500)),
        inst.clap(rng, rng.uniform(0.05, 0.09)),
        inst.shaker(rng, rng.uniform(0.07, 0.11)),
    )[rng.integers(3)]
    play("snare", hand, BACKBEAT, rng.uniform(0.55, 0.65))
    between = 0.6 + 0.25 * intensity
    cymbal = inst.hat(rng, rng.uniform(0.05, 0.11) / division, rng.uniform(5200, 6200))
    steps = {b + k / division: between if k else 0.8 for b in range(4) for k in range(division)}
    play("hat", cymbal, steps, 10 ** (0.35 * lead) * rng.uniform(0.5, 0.6))
