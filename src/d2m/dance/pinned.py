"""Draws chosen explicitly instead of by the motion threshold, to redraw one segment and keep the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise


@dataclass(eq=False)
class PinnedDraws(DanceGenerator):
    """A generator with chosen draws for the first segments.

    draws: one per segment, 0 to ``max_draws`` - 1; later segments are decided by the motion threshold. All candidates
    of a chosen segment are the chosen draw, so the dance reports draw 0; :meth:`chosen` converts it to the original
    number.
    """

    draws: tuple[int, ...] = ()

    @classmethod
    def of(cls, generator: DanceGenerator, draws: Sequence[int]) -> PinnedDraws:
        """The same networks with these draws.

        Raises:
            D2MError: a draw that the bundle does not have.
        """
        if wrong := [d for d in draws if not 0 <= d < generator.max_draws]:
            raise D2MError(f"draws: {wrong[0]} is not a draw of this bundle; give 0 to {generator.max_draws - 1}")
        own = {f.name: getattr(generator, f.name) for f in fields(DanceGenerator)}
        return cls(**own, draws=tuple(draws))

    def draw_noise(
        self, n_segments: int, generator: torch.Generator | None, max_draws: int | None = None
    ) -> DanceNoise:
        noise = super().draw_noise(n_segments, generator, max_draws)
        k = noise.audio.shape[2]
        which = torch.arange(k).repeat(n_segments, 1)
        for segment, draw in enumerate(self.draws[:n_segments]):
            which[segment] = min(draw, k - 1)
        rows = torch.arange(n_segments)[:, None]
        return DanceNoise(*(x[:, rows, which] for x in (noise.audio, noise.z_dan, noise.z_mov, noise.z_ini)))

    def chosen(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Accepted draws (n,) of a dance of this generator -> their numbers among all draws of the bundle."""
        out = np.array(draws)
        n = min(len(out), len(self.draws))
        out[:n] = self.draws[:n]
        return out
