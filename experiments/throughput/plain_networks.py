"""The networks as the paper's appendix lists them and nothing more: what the program's own are timed against.

Lee et al., "Dancing to Music", NeurIPS 2019. Recurrent layers are ``nn.GRU``; the input of a decoder is repeated for
every step. Parameters have the names of :mod:`d2m.nets`, so that weights can be copied.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from d2m.nets.sizes import Sizes

Moments = tuple[Tensor, Tensor]


def layers(*widths: int) -> list[nn.Module]:
    """Linear, LayerNorm, LeakyReLU 0.2 from width to width."""
    return [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.LayerNorm(b), nn.LeakyReLU(0.2))]


class Head(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.mu, self.logvar = nn.Linear(n_in, n_out), nn.Linear(n_in, n_out)

    def forward(self, h: Tensor) -> Moments:
        return self.mu(h), self.logvar(h)


class Gaussian(nn.Module):
    """A body, and the (mu, logvar) of what it gives."""

    def __init__(self, body: nn.Module, n_hidden: int, n_out: int) -> None:
        super().__init__()
        self.body, self.head = body, Head(n_hidden, n_out)

    def forward(self, x: Tensor) -> Moments:
        return self.head(self.body(x))  # type: ignore[no-any-return]


class Plain(nn.Module):
    """A body and nothing after it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


class Reader(nn.Module):
    """GRU over a sequence from a learned state; the last step's output, and the first step's of the way back."""

    def __init__(self, n_in: int, hidden: int, both_ways: bool = False) -> None:
        super().__init__()
        self.hidden = hidden
        self.h0 = nn.Parameter(torch.zeros(1 + both_ways, 1, hidden))
        self.gru = nn.GRU(n_in, hidden, batch_first=True, bidirectional=both_ways)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.gru(x, self.h0.repeat(1, len(x), 1))
        if self.gru.bidirectional:
            return torch.cat([out[:, -1, : self.hidden], out[:, 0, self.hidden :]], dim=1)
        return out[:, -1]  # type: ignore[no-any-return]


class Writer(nn.Module):
    """GRU that is fed the same latent at every step."""

    def __init__(self, n_in: int, n_condition: int, hidden: int) -> None:
        super().__init__()
        self.initial = nn.Linear(n_condition, hidden)
        self.gru = nn.GRU(n_in, hidden, batch_first=True)

    def forward(self, x: Tensor, condition: Tensor, steps: int) -> Tensor:
        out, _ = self.gru(x.unsqueeze(1).repeat(1, steps, 1), self.initial(condition).unsqueeze(0))
        return out  # type: ignore[no-any-return]


class UnitDecoder(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        h = s.unit_hidden
        self.body = Writer(s.z_mov, s.z_ini + s.z_mov, h)
        self.head = nn.Sequential(nn.Linear(h, h), nn.LayerNorm(h), nn.ReLU(), nn.Linear(h, 28))

    def forward(self, z_ini: Tensor, z_mov: Tensor) -> Tensor:
        return self.head(self.body(z_mov, torch.cat([z_ini, z_mov], dim=1), 32))  # type: ignore[no-any-return]


class DanceDecoder(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        h = s.dance_decoder_hidden
        self.body = Writer(s.z_dan, s.z_dan, h)
        self.mix = nn.Sequential(nn.Linear(h, h), nn.LayerNorm(h), nn.ReLU())
        self.head = Head(h, s.z_mov)

    def forward(self, z_dan: Tensor, units: int = 3) -> Moments:
        return self.head(self.mix(self.body(z_dan, z_dan, units)))  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    def __init__(self, n_in: int, s: Sizes) -> None:
        super().__init__()
        h = s.discriminator_hidden
        self.latent = nn.Sequential(*layers(n_in, h, h // 2, h // 4), nn.Linear(h // 4, 30))
        self.audio = nn.Sequential(*layers(s.n_features, 30, 30))
        self.joint = nn.Linear(60, 1)

    def forward(self, latent: Tensor, audio: Tensor) -> Tensor:
        both = torch.cat([self.latent(latent.flatten(1)), self.audio(audio)], dim=1)
        return self.joint(both).squeeze(1)  # type: ignore[no-any-return]


class MusicStyle(nn.Module):
    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.body = Reader(s.n_features, s.style)
        self.classifier = nn.Sequential(nn.Linear(s.style, s.style), nn.ReLU(), nn.Linear(s.style, s.n_genres))

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(self.body(features))  # type: ignore[no-any-return]


class Decomposition(nn.Module):
    """Stage 1's networks."""

    def __init__(self, s: Sizes) -> None:
        super().__init__()
        self.sizes = s
        self.initial_pose_encoder = Gaussian(nn.Sequential(*layers(28, 64, 64)), 64, s.z_ini)
        self.initial_pose_decoder = Plain(nn.Sequential(*layers(s.z_ini, 64, 64), nn.Linear(64, 28)))
        self.movement_encoder = Gaussian(Reader(28, s.movement_hidden, True), 2 * s.movement_hidden, s.z_mov)
        self.unit_decoder = UnitDecoder(s)


class Composed(Decomposition):
    """Stage 2's networks but for the discriminators; those of stage 1 among them."""

    def __init__(self, s: Sizes) -> None:
        super().__init__(s)
        self.music_style = MusicStyle(s)
        self.dance_encoder = Gaussian(Reader(2 * s.z_mov, s.dance_encoder_hidden), s.dance_encoder_hidden, s.z_dan)
        self.dance_decoder = DanceDecoder(s)
        self.style_to_dance = Gaussian(nn.Sequential(*layers(2 * s.style, 64, 128)), 128, s.z_dan)
        self.style_regressor = Plain(nn.Sequential(*layers(s.z_dan, 512, 256, 128), nn.Linear(128, s.style)))


def sample(moments: Moments, noise: Tensor) -> Tensor:
    """mu + exp(logvar / 2) * noise."""
    return moments[0] + (0.5 * moments[1]).exp() * noise


def kl(moments: Moments) -> Tensor:
    """To N(0, I): summed over the latent, averaged over the rest."""
    mu, logvar = moments[0].float(), moments[1].float()
    return (-0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(-1)).mean()
