"""The similarity-constrained optimiser: finds latents whose dance has the target genre and the same choreography.

Nurlu's *Dancing2Music In Style* names this as future work: latent arithmetic moves towards a genre without regard to
what the dance must keep. Starting from its result, z_dan is moved by gradients through the frozen decoders to minimise,
for every song, a weighted sum of

    target   -log p(target | motion), by a classifier that sees poses only, mean over windows of 32 frames
    content  L1 of poses + 4 x L1 of frame steps to the original dance (normalised units)
    prior    squared Mahalanobis distance of z, divided by its dimension: about 1 for typical latents
    beat     kinetic energy on frames 3, 11, 19, 27 of the units over their mean energy: 1 if beats make no difference

Tensors and callables only; see docs/adr/0046-optimiser.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from d2m.core.skeleton import BEAT_FRAMES, UNIT_FRAMES
from d2m.nets.losses import weighted_sum
from d2m.stats.covariance import ShrunkCovariance

#: One per term of :class:`DanceTerms`.
WEIGHTS = {"target": 1.0, "content": 0.5, "prior": 0.1, "beat": 0.1}
#: Stage 1's weight of frame differences relative to poses (docs/adr/0005-motion-first.md).
VELOCITY_WEIGHT = 4.0
#: Keeps the beat term finite when nothing moves (normalised units squared).
_ENERGY_FLOOR = 1e-6

Terms = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """N(mean, floor I + basis^T diag(extra) basis), the rows of ``basis`` (r, d) orthonormal; mean (d,), extra (r,)."""

    mean: Tensor
    floor: float
    basis: Tensor
    extra: Tensor

    @classmethod
    def standard(cls, d: int) -> Self:
        """N(0, I), the prior that the KL of z_dan pulls to."""
        return cls(torch.zeros(d), 1.0, torch.zeros(0, d), torch.zeros(0))

    @classmethod
    def fit(cls, z: ArrayLike) -> Self:
        """Of latents (n, d), n >= 2, with Ledoit and Wolf's shrinkage.

        Raises:
            ValueError: fewer than two, or all the same.
        """
        x = np.asarray(z, np.float64)
        if x.ndim != 2 or len(x) < 2 or np.ptp(x, axis=0).max() == 0:
            raise ValueError(f"latents of shape {x.shape}: two different ones are needed for a covariance")
        mean = x.mean(0)
        covariance = ShrunkCovariance.fit(x - mean)
        # The estimated intensity may be 0, which would leave no variance outside the span of the latents.
        floor = max(covariance.floor, 1e-3 * covariance.trace / x.shape[1])
        kept = (torch.from_numpy(np.asarray(a, np.float32)) for a in (mean, covariance.basis, covariance.extra))
        mean_, basis, extra = kept
        return cls(mean_, float(floor), basis, extra)

    def __call__(self, z: Tensor) -> Tensor:
        """(..., d) -> (...): squared Mahalanobis distance divided by d."""
        x = z - self.mean.to(z)
        inside = (x @ self.basis.to(z).T).square()
        share = self.extra.to(z) / (self.floor + self.extra.to(z))
        out: Tensor = (x.square().sum(-1) - (inside * share).sum(-1)) / self.floor / z.shape[-1]
        return out


def content_loss(poses: Tensor, original: Tensor) -> Tensor:
    """Dances (b, t, 28), normalised -> (b,): L1 of poses + 4 x L1 of frame steps."""
    position = (poses - original).abs().mean(dim=(1, 2))
    velocity = (poses.diff(dim=1) - original.diff(dim=1)).abs().mean(dim=(1, 2))
    return position + VELOCITY_WEIGHT * velocity


def beat_energy(poses: Tensor) -> Tensor:
    """Dances of whole units (b, 32 u, 28) -> (b,): energy on the units' beats over their mean energy, >= 0.

    Energy is the mean squared central difference. About 0 for dancers who move and stop on their beats.
    """
    energy = (0.5 * (poses[:, 2:] - poses[:, :-2])).square().mean(-1)
    units = torch.nn.functional.pad(energy, (1, 1)).unflatten(1, (-1, UNIT_FRAMES))
    inner = units[..., 1:-1].mean(dim=(1, 2))
    out: Tensor = units[..., list(BEAT_FRAMES)].mean(dim=(1, 2)) / (inner + _ENERGY_FLOOR)
    return out


@dataclass(frozen=True, eq=False)
class DanceTerms:
    """The four terms of z (b, n, d) for b songs; keys as in :data:`WEIGHTS`, values (b,).

    Args:
        dance: z (b, n, d) -> poses (b, t, 28), normalised and differentiable, with all noise fixed.
        log_p: poses (b, t, 28) -> log-probabilities of windows (b, w, n_genres).
        target: index of the wanted genre.
        original: poses (b, t, 28) of the unedited dances.
        prior: of z.
    """

    dance: Callable[[Tensor], Tensor]
    log_p: Callable[[Tensor], Tensor]
    target: int
    original: Tensor
    prior: GaussianPrior

    def __call__(self, z: Tensor) -> dict[str, Tensor]:
        poses = self.dance(z)
        return {
            "target": -self.log_p(poses)[..., self.target].mean(1),
            "content": content_loss(poses, self.original),
            "prior": self.prior(z).mean(1),
            "beat": beat_energy(poses),
        }


@dataclass(frozen=True, eq=False)
class Optimised:
    """What :func:`optimise` returns for b songs.

    z: (b, n, d), the best of every song. terms: name -> (b,) at z. history: name -> (s, b), row 0 is the start; a song
    that has stopped repeats its last row. steps: (b,) number of steps of each song.
    """

    z: Tensor
    terms: dict[str, Tensor]
    history: dict[str, Tensor]
    steps: Tensor


def optimise(
    start: Tensor,
    terms: Terms,
    weights: Mapping[str, float] = WEIGHTS,
    *,
    steps: int = 100,
    rate: float = 0.05,
    patience: int = 15,
    tolerance: float = 1e-3,
) -> Optimised:
    """Adam on the latents of a batch of songs, each with its own stopping; no song ends worse than it started.

    Songs are independent: the terms of a song may depend only on its own latents. Only z gets gradients.
    Deterministic if ``terms`` is.

    Args:
        start: (b, n, d), the result of latent arithmetic.
        terms: z (b, n, d) -> {name: (b,)}.
        weights: one per term.
        steps: maximum number; 0 only evaluates.
        rate: Adam's learning rate, and the maximum step of a latent (root mean square over its d dimensions).
        patience: steps without an improvement by ``tolerance`` after which a song stops.

    Raises:
        KeyError: weights and terms do not have the same names.
        ValueError: start is not (b, n, d), or a setting is out of range.
    """
    if start.ndim != 3 or steps < 0 or not rate > 0 or patience < 1 or tolerance < 0:
        raise ValueError(f"latents {tuple(start.shape)}, steps {steps}, rate {rate}, patience {patience}, {tolerance}")
    z = start.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=rate)
    best, best_total = start.detach().clone(), torch.full_like(start[:, 0, 0], torch.inf)
    mark, waited = best_total.clone(), torch.zeros(len(z), dtype=torch.long, device=z.device)
    running = torch.ones(len(z), dtype=torch.bool, device=z.device)
    taken = torch.zeros_like(waited)
    kept: dict[str, Tensor] = {}
    history: dict[str, list[Tensor]] = {}
    for step in range(steps + 1):
        with torch.enable_grad():
            values = terms(z)
            objective = weighted_sum(values, weights)  # songs are independent: the gradient of each is its own
            gradient = torch.autograd.grad(objective, z)[0] if step < steps else None
        with torch.no_grad():
            now = {k: v.detach() for k, v in values.items()}
            total = torch.stack([weights[k] * v for k, v in now.items()]).sum(0)
            for name, value in now.items():
                history.setdefault(name, []).append(value)
            better = running & (total < best_total)
            if step == 0:
                better, kept = torch.ones_like(better), dict(now)
            best = torch.where(better[:, None, None], z.detach(), best)
            kept = {k: torch.where(better, now[k], kept[k]) for k in now}
            best_total = torch.where(better, total, best_total)
            improved = total < mark - tolerance
            mark = torch.where(improved, total, mark)
            waited = torch.where(improved, 0, waited + 1)
            running &= total.isfinite() & (waited < patience)
            if gradient is None or not bool(running.any()):
                break
            before = z.detach().clone()
            z.grad = gradient.nan_to_num(0.0, 0.0, 0.0)
            adam.step()
            move = z - before
            size = move.square().mean(-1, keepdim=True).sqrt()
            move = move * (rate / size.clamp(min=rate))
            z.copy_(torch.where(running[:, None, None], before + move, before))
            taken += running
    return Optimised(best, kept, {k: torch.stack(v) for k, v in history.items()}, taken)
