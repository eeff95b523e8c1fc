"""All noise of a dance, as an argument (docs/adr/0009-noise-is-an-argument.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from d2m.core.gaussian import randn
from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.nets.sizes import Sizes


@dataclass(frozen=True)
class DanceNoise:
    """All noise of b dances of n segments with k candidate draws each.

    An original and its edits are comparable only if they share it.
    """

    audio: Tensor  # (b, n, k, style)
    z_dan: Tensor  # (b, n, k, z_dan)
    z_mov: Tensor  # (b, n, k, 3, z_mov)
    z_ini: Tensor  # (b, n, k, 3, z_ini)

    @classmethod
    def draw(cls, sizes: Sizes, b: int, n: int, k: int, generator: torch.Generator) -> DanceNoise:
        """Drawn segment by segment, so that a longer song starts with the draws of a shorter one."""
        shapes = {
            "audio": (b, k, sizes.style),
            "z_dan": (b, k, sizes.z_dan),
            "z_mov": (b, k, SEQUENCE_UNITS, sizes.z_mov),
            "z_ini": (b, k, SEQUENCE_UNITS, sizes.z_ini),
        }
        rows = [{name: randn(*s, generator=generator) for name, s in shapes.items()} for _ in range(n)]
        return cls(**{name: torch.stack([r[name] for r in rows], dim=1) for name in shapes})

    def tensors(self) -> tuple[Tensor, ...]:
        return self.audio, self.z_dan, self.z_mov, self.z_ini

    def to(self, device: torch.device) -> DanceNoise:
        return DanceNoise(*(x.to(device) for x in self.tensors()))

    def pick(self, draws: Tensor) -> DanceNoise:
        """Select one draw (b, n) for every segment: k becomes 1."""
        return DanceNoise(*(pick_draws(x, draws) for x in self.tensors()))


def one_after_the_other(noises: Sequence[DanceNoise]) -> DanceNoise:
    """Concatenate the noise of dances of n1, n2, ... segments to that of one dance of n1 + n2 + ... segments."""
    return DanceNoise(*(torch.cat(parts, 1) for parts in zip(*(x.tensors() for x in noises), strict=True)))


def pick_draws(x: Tensor, draws: Tensor) -> Tensor:
    """(b, n, k, ...) and draws (b, n) -> (b, n, 1, ...)."""
    b, n = draws.shape
    return x[torch.arange(b)[:, None], torch.arange(n)[None, :], draws].unsqueeze(2)
