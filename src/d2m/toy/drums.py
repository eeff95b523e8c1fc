"""The drum parts of the three genres."""

from __future__ import annotations

import numpy as np

from d2m.toy import instruments as inst
from d2m.toy.band import Band, bar_grid
from d2m.toy.genres import ENERGETIC, FLOWING


def play_drums(band: Band, gains: dict[str, np.ndarray], n_bars: int) -> None:
    rng = band.rng

    def play(layer: str, sound: np.ndarray, pattern: dict[float, float], loudness: float) -> None:
        beats, level = bar_grid(n_bars, pattern, gains[layer])
        band.hit(layer, beats, sound, loudness * level * rng.uniform(0.88, 1.0, len(level)))

    if band.genre.name == FLOWING:
        soft = inst.filtered(inst.kick(rng, rng.uniform(50, 62), 0.16, 0.10), "lowpass", 1500)
        play("kick", soft, {0: 1.0, 2: 0.75}, 0.75)
        play("snare", inst.shaker(rng, rng.uniform(0.07, 0.11)), {1: 0.8, 3: 0.8}, 0.35)
        light = {b + k / 3: 0.2 for b in range(4) for k in (1, 2)}
        play("hat", inst.hat(rng, 0.02, 5000), {0: 0.6, 1: 0.5, 2: 0.6, 3: 0.5} | light, 0.16)
    elif band.genre.name == ENERGETIC:
        play(
            "kick",
            inst.kick(rng, rng.uniform(46, 58), rng.uniform(0.09, 0.14), 0.9),
            dict.fromkeys(range(4), 1.0),
            1.0,
        )
        play("snare", inst.clap(rng, rng.uniform(0.05, 0.09)), {1: 1.0, 3: 1.0}, 0.7)
        closed, opened = (
            inst.hat(rng, rng.uniform(0.012, 0.02), 6500),
            inst.hat(rng, rng.uniform(0.04, 0.08), 6000),
        )
        play("hat", closed, {k / 4: 0.8 if k % 4 == 0 else 0.2 for k in range(16)}, 0.4)
        play("hat", opened, {b + 0.5: 1.0 for b in range(4)}, rng.uniform(0.08, 0.16))
    else:
        kicks: tuple[dict[float, float], ...] = (
            {0: 1.0, 2: 0.9, 2.5: 0.5}, {0: 1.0, 1.5: 0.45, 2: 0.9}, {0: 1.0, 2: 0.95, 3.5: 0.4},
        )  # fmt: skip
        play("kick", inst.kick(rng, rng.uniform(52, 66), 0.11, 0.3), kicks[rng.integers(3)], 0.95)
        sound = inst.snare(rng, rng.uniform(170, 215), rng.uniform(0.06, 0.10), rng.uniform(4000, 6500))
        play("snare", sound, {1: 1.0, 3: 1.0}, 0.6)
        off = float(rng.uniform(0.3, 0.5))
        play(
            "hat",
            inst.hat(rng, 0.025, 6000),
            {b + k / 2: off if k else 0.8 for b in range(4) for k in (0, 1)},
            0.28,
        )
