"""Diagonal Gaussians: the posterior that every encoder of the method returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def randn(
    *shape: int, generator: torch.Generator | None, like: Tensor | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise drawn on the generator's device and moved to ``like``'s device and dtype.

    Drawing on the generator's device gives the same dance for a seed on a CPU and on a GPU.
    """
    source = generator.device if generator is not None else (like.device if like is not None else device)
    noise = torch.randn(*shape, generator=generator, device=source)
    return noise if like is None else noise.to(device=like.device, dtype=like.dtype)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mu, diag(exp(logvar))) with any leading shape; the last axis is the latent dimension.

    The reference calls the log-variance ``std``; we name it what it is.
    """

    mu: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """mu + exp(logvar / 2) * eps, with ``noise`` of mu's shape as eps, or eps from ``generator``."""
        if noise is None:
            noise = randn(*self.mu.shape, generator=generator, like=self.mu)
        return self.mu + torch.exp(0.5 * self.logvar) * noise

    def kl(self) -> Tensor:
        """KL to N(0, I): summed over the latent, averaged over everything else; a scalar in float32 or wider.

        Not computed in bfloat16, whose 8 bits of mantissa would round small differences away.
        """
        wide = torch.float64 if self.mu.dtype == torch.float64 else torch.float32
        mu, logvar = self.mu.to(wide), self.logvar.to(wide)
        return (-0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(-1)).mean()

    def kl_to(self, prior: DiagonalGaussian) -> Tensor:
        """KL to ``prior``, of the same shape: summed over the latent, averaged over everything else; as :meth:`kl`."""
        wide = torch.float64 if self.mu.dtype == torch.float64 else torch.float32
        mu, logvar, m, v = (x.to(wide) for x in (self.mu, self.logvar, prior.mu, prior.logvar))
        return (0.5 * (v - logvar + (logvar - v).exp() + (mu - m).square() / v.exp() - 1).sum(-1)).mean()

    def parameters_cat(self) -> Tensor:
        """[mu, logvar] on the last axis: (..., 2 d)."""
        return torch.cat([self.mu, self.logvar], dim=-1)

    def detach(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.mu.detach(), self.logvar.detach())

    def reshape(self, *leading: int) -> DiagonalGaussian:
        """The same distributions with other leading axes."""
        d = self.mu.shape[-1]
        return DiagonalGaussian(self.mu.reshape(*leading, d), self.logvar.reshape(*leading, d))
