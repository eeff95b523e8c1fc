"""The loss terms of the fourth stage, on units unrolled in closed loop. Not in the paper.

A new term is a function in :data:`TERMS` and its weight in conf/model/generator.yaml.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.losses import Terms
from d2m.nets.rows import ALONE, Rows

#: Smaller than the mean square step of any real unit (normalised); keeps the logarithm finite for a frozen dance.
_ENERGY_FLOOR = 1e-4


class ClosedLoopStep(NamedTuple):
    """Inputs of the terms. Poses are (b, u, 32, 28), unrolled from a first pose that may belong to another dance."""

    real: Tensor
    recon: Tensor
    fake: Tensor  # the music branch
    real_mov: DiagonalGaussian  # (b, u, z_mov)
    recon_mov: DiagonalGaussian
    due: Tensor  # (b, u, 32), 0 to 1: weight of a frame in recon and velocity, see `foreign_starts`


def foreign_starts(units: Tensor, share: float, recovery: int, rows: Rows = ALONE) -> tuple[Tensor, Tensor]:
    """First poses, some of which are the last pose of another dance, and the weight of each frame in the losses.

    When a song is danced, every segment starts from the last pose of a segment with another z_dan
    (docs/adr/0067-dances-that-find-their-pose.md).

    Args:
        units: (b, u, 32, 28) real.
        share: fraction of the batch, 0 to 1, that starts from the last real pose of the preceding sequence in the
            batch (of the last one, for the first).
        recovery: number of frames after which these must have returned to their own dance.
        rows: which rows of the batch the units are.

    Returns:
        First poses (b, 28), and weights "due" (b, u, 32): for these sequences rising linearly from 0 to 1 over
        ``recovery`` frames; 1 elsewhere.
    """
    u, t = units.shape[1:3]
    last = rows.gather(units[:, -1, -1])
    own = rows.own(len(last))
    foreign = (torch.arange(len(last), device=units.device) < round(share * len(last)))[own]
    first = torch.where(foreign[:, None], last.roll(1, 0)[own], units[:, 0, 0])
    rise = (torch.arange(u * t, device=units.device) / max(recovery, 1)).clamp_max(1).to(units)
    due = torch.where(foreign[:, None], rise, torch.ones_like(rise))
    return first, due.unflatten(1, (u, t))


def steps_between(units: Tensor) -> Tensor:
    """(b, u, 32, 28) -> differences between the last and first frames of consecutive units (b, u - 1, 28)."""
    return units[:, 1:, 0] - units[:, :-1, -1]


def log_energy(units: Tensor) -> Tensor:
    """Log mean square frame step within units of every sequence, (b, u, 32, 28) -> (b,), in normalised units.

    The first unit is excluded, since in it a dance may still be returning from the end of another one.
    """
    return (
        units[:, -max(units.shape[1] - 1, 1) :].diff(dim=2).float().square().mean(dim=(1, 2, 3)) + _ENERGY_FLOOR
    ).log()


def fake_boundary(s: ClosedLoopStep) -> Tensor:
    """How far the music branch's steps between units exceed its own mean step within units."""
    usual = s.fake.diff(dim=2).abs().mean(dim=(1, 2, 3)).detach()
    return F.relu(steps_between(s.fake).abs().mean(dim=(1, 2)) - usual).mean()


def velocity(s: ClosedLoopStep) -> Tensor:
    """L1 of the frame differences within units to the real ones, weighted by ``due``; docs/adr/0005-motion-first.md."""
    return (s.due[..., 1:, None] * (s.recon.diff(dim=2) - s.real.diff(dim=2)).abs()).mean()


#: Name -> term, unweighted; the names are those of the weights and of the logs.
TERMS: Terms[ClosedLoopStep] = {
    "recon": lambda s: (s.due[..., None] * (s.recon - s.real).abs()).mean(),
    "velocity": velocity,
    # L1 of the steps from unit to unit to the real ones.
    "boundary": lambda s: F.l1_loss(steps_between(s.recon), steps_between(s.real)),
    "fake_boundary": fake_boundary,
    # L1 between the log motion energies of the music branch and of the music's own dance.
    "energy": lambda s: F.l1_loss(log_energy(s.recon), log_energy(s.real)),
    "fake_energy": lambda s: F.l1_loss(log_energy(s.fake), log_energy(s.real)),
    "mov_mu": lambda s: F.l1_loss(s.recon_mov.mu, s.real_mov.mu),
    "mov_logvar": lambda s: F.l1_loss(s.recon_mov.logvar, s.real_mov.logvar),
}
#: Without velocity, which was added later; the same as experiment=paper.
DEFAULT = {
    "recon": 10.0, "boundary": 10.0, "mov_mu": 1.0, "mov_logvar": 1.0, "fake_boundary": 10.0, "fake_energy": 1.0,
}  # fmt: skip
