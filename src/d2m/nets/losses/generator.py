"""The loss terms of the fourth stage, on units unrolled in closed loop. Not in the paper.

A new term is a function in :data:`TERMS` and its weight in conf/model/generator.yaml.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.losses import Terms

#: Below every real unit's mean square step (normalised units): keeps the logarithm finite on a frozen dance.
_ENERGY_FLOOR = 1e-4


class ClosedLoopStep(NamedTuple):
    """What the terms read; poses are (b, u, 32, 28), unrolled from the real first pose."""

    real: Tensor
    recon: Tensor
    fake: Tensor  # the music branch
    real_mov: DiagonalGaussian  # (b, u, z_mov)
    recon_mov: DiagonalGaussian


def steps_between(units: Tensor) -> Tensor:
    """(b, u, 32, 28) -> frame steps from unit to unit (b, u - 1, 28)."""
    return units[:, 1:, 0] - units[:, :-1, -1]


def log_energy(units: Tensor) -> Tensor:
    """Log mean square frame step within units of every sequence, (b, u, 32, 28) -> (b,), in normalised units."""
    return (units.diff(dim=2).float().square().mean(dim=(1, 2, 3)) + _ENERGY_FLOOR).log()


def fake_boundary(s: ClosedLoopStep) -> Tensor:
    """How far the music branch's steps between units exceed its own mean step within units."""
    usual = s.fake.diff(dim=2).abs().mean(dim=(1, 2, 3)).detach()
    return F.relu(steps_between(s.fake).abs().mean(dim=(1, 2)) - usual).mean()


#: Name -> term, unweighted; the names are those of the weights and of the logs.
TERMS: Terms[ClosedLoopStep] = {
    "recon": lambda s: F.l1_loss(s.recon, s.real),
    # Of the steps between units to the real ones.
    "boundary": lambda s: F.l1_loss(steps_between(s.recon), steps_between(s.real)),
    "fake_boundary": fake_boundary,
    # Between the log motion energies of the music branch and of the dance that belongs to the music.
    "fake_energy": lambda s: F.l1_loss(log_energy(s.fake), log_energy(s.real)),
    "mov_mu": lambda s: F.l1_loss(s.recon_mov.mu, s.real_mov.mu),
    "mov_logvar": lambda s: F.l1_loss(s.recon_mov.logvar, s.real_mov.logvar),
}
#: The weights that go with the paper's networks and losses; experiment=paper says the same.
DEFAULT = {
    "recon": 10.0, "boundary": 10.0, "mov_mu": 1.0, "mov_logvar": 1.0, "fake_boundary": 10.0, "fake_energy": 1.0,
}  # fmt: skip
