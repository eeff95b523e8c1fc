"""Building blocks shared by the networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.gru import GRU
from d2m.nets.products import Linear


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear, LayerNorm, LeakyReLU(0.2) for every step of ``sizes``."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [Linear(n_in, n_out), nn.LayerNorm(n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def window_starts(t: int, length: int, device: torch.device | None = None) -> Tensor:
    """First frames (n,), increasing, of windows of ``length`` frames that overlap by at least half and cover all t.

    If t is a multiple of ``length``, every other window starts at a multiple of ``length``.

    Raises:
        ValueError: fewer frames than one window.
    """
    if t < length:
        raise ValueError(f"{t} frames are fewer than one window of {length}")
    n = -(-2 * (t - length) // length) + 1
    return torch.linspace(0, t - length, n, device=device).round().long()


def windows(x: Tensor, length: int) -> Tensor:
    """(..., t, f) -> (..., n, length, f): the windows that start at :func:`window_starts`.

    Raises:
        ValueError: fewer frames than one window.
    """
    starts = window_starts(x.shape[-2], length, x.device)
    return x[..., starts[:, None] + torch.arange(length, device=x.device), :]


class GaussianHead(nn.Module):
    """Two linear layers from features to (mu, logvar)."""

    def __init__(self, n_in: int, n_latent: int) -> None:
        super().__init__()
        self.mu = Linear(n_in, n_latent)
        self.logvar = Linear(n_in, n_latent)

    def forward(self, h: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mu(h), self.logvar(h))


class SequenceEncoder(nn.Module):
    """GRU with a learned initial state; one vector for a sequence (b, t, f) -> (b, hidden * directions).

    The output of the last step of the forward direction and, if bidirectional, of the first step of the backward one.
    """

    def __init__(self, n_in: int, hidden: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.h0 = nn.Parameter(torch.zeros(2 if bidirectional else 1, 1, hidden))
        self.gru = GRU(n_in, hidden, bidirectional=bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(x, self.h0)
        out: Tensor = last.transpose(0, 1).flatten(1)
        return out


class StatisticsEncoder(nn.Module):
    """Mean and standard deviation over time, one linear layer and tanh: (b, t, f) -> (b, hidden), for any t >= 1.

    The statistics pooling of x-vectors (Snyder et al., "X-vectors: Robust DNN embeddings for speaker recognition",
    ICASSP 2018), without the layers before it. The order of frames is lost.
    """

    def __init__(self, n_in: int, hidden: int) -> None:
        super().__init__()
        self.linear = Linear(2 * n_in, hidden)

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        # The lower bound keeps the gradient of a constant column finite.
        deviation = (centred.square().mean(1) + 1e-6).sqrt()
        out: Tensor = self.linear(torch.cat([x.mean(1), deviation], dim=-1)).tanh()
        return out


class ConstantInputDecoder(nn.Module):
    """GRU with the same latent as input at every step, whose initial state is a linear map of a condition.

    ``forward(x (b, d), condition (b, c), steps) -> (b, steps, hidden)``, a view of (steps, b, hidden) in memory. The
    reference reshapes the initial state of a decoder with more than one layer to (layers, b, hidden) directly, which
    mixes layers and batch; here each layer gets its own part. With one layer, the default, both agree.
    """

    def __init__(self, n_in: int, n_condition: int, hidden: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden = hidden
        self.initial = Linear(n_condition, hidden * num_layers)
        self.gru = GRU(n_in, hidden, num_layers)

    def forward(self, x: Tensor, condition: Tensor, steps: int) -> Tensor:
        b = x.shape[0]
        h0 = self.initial(condition).view(b, self.gru.num_layers, self.hidden).transpose(0, 1).contiguous()
        return self.gru.repeat(x, h0, steps)
