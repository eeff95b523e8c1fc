"""Stage 2: composition. Dance encoder and decoder over movements, the music branch, two discriminators.

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.3. The noise encoder is not in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from d2m.core.gaussian import DiagonalGaussian
from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.nets.blocks import ConstantInputDecoder, GaussianHead, SequenceEncoder, mlp
from d2m.nets.products import Linear

_AUDIO_HIDDEN = 30
_NOISE_HIDDEN = 256


class DanceEncoder(nn.Module):
    """Movements as [mu, logvar] (b, u, 2 z_mov) -> N(z_dan) (b, z_dan)."""

    def __init__(self, z_mov: int, z_dan: int, hidden: int) -> None:
        super().__init__()
        self.body = SequenceEncoder(2 * z_mov, hidden)
        self.head = GaussianHead(hidden, z_dan)

    def forward(self, movements: Tensor) -> DiagonalGaussian:
        out: DiagonalGaussian = self.head(self.body(movements))
        return out


class DanceDecoder(nn.Module):
    """z_dan (b, z_dan) -> N(z_mov) of u units (b, u, z_mov)."""

    def __init__(self, z_mov: int, z_dan: int, hidden: int) -> None:
        super().__init__()
        self.body = ConstantInputDecoder(z_dan, z_dan, hidden)
        self.mix = nn.Sequential(Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.head = GaussianHead(hidden, z_mov)

    def forward(self, z_dan: Tensor, n_units: int = SEQUENCE_UNITS) -> DiagonalGaussian:
        # In memory order, as in UnitDecoder.
        units: DiagonalGaussian = self.head(self.mix(self.body(z_dan, z_dan, n_units).transpose(0, 1)))
        return DiagonalGaussian(*(x.transpose(0, 1).contiguous() for x in (units.mu, units.logvar)))


class StyleToDance(nn.Module):
    """Style and noise, both (b, style) -> N(z_dan) (b, z_dan). The noise is an argument, never drawn inside."""

    def __init__(self, z_dan: int, style: int) -> None:
        super().__init__()
        self.noise_dim = style  # as in the paper
        self.body = mlp([2 * style, 64, 128])
        self.head = GaussianHead(128, z_dan)

    def forward(self, style: Tensor, noise: Tensor) -> DiagonalGaussian:
        out: DiagonalGaussian = self.head(self.body(torch.cat([style, noise], dim=-1)))
        return out


class NoiseEncoder(nn.Module):
    """z_dan (b, z_dan) of a dance and the style (b, style) of its music -> N(the noise behind it) (b, style).

    With it, :class:`StyleToDance` is the decoder of a conditional VAE (Sohn et al., NeurIPS 2015). Not in the paper,
    and used only while stage 2 trains (docs/adr/0066-the-noise-behind-a-dance.md).
    """

    def __init__(self, z_dan: int, style: int) -> None:
        super().__init__()
        self.body = mlp([z_dan + style, _NOISE_HIDDEN, _NOISE_HIDDEN])
        self.head = GaussianHead(_NOISE_HIDDEN, style)

    def forward(self, z_dan: Tensor, style: Tensor) -> DiagonalGaussian:
        out: DiagonalGaussian = self.head(self.body(torch.cat([z_dan, style], dim=-1)))
        return out


class StyleRegressor(nn.Module):
    """z_dan (b, z_dan) -> style (b, style)."""

    def __init__(self, z_dan: int, style: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*mlp([z_dan, 512, 256, 128]), Linear(128, style))

    def forward(self, z_dan: Tensor) -> Tensor:
        out: Tensor = self.body(z_dan)
        return out


class Discriminator(nn.Module):
    """A latent (b, n_in) and the mean music features (b, n_features) -> one logit (b,).

    The layers on the latent have widths ``hidden``, ``hidden`` / 2 and ``hidden`` / 4 (paper: ``hidden`` is 1024).
    """

    def __init__(self, n_in: int, n_features: int, hidden: int = 1024) -> None:
        super().__init__()
        last = max(hidden // 4, 1)
        self.latent = nn.Sequential(*mlp([n_in, hidden, max(hidden // 2, 1), last]), Linear(last, _AUDIO_HIDDEN))
        self.audio = mlp([n_features, _AUDIO_HIDDEN, _AUDIO_HIDDEN])
        self.joint = Linear(2 * _AUDIO_HIDDEN, 1)

    def forward(self, latent: Tensor, audio: Tensor) -> Tensor:
        h = torch.cat([self.latent(latent.flatten(1)), self.audio(audio)], dim=-1)
        out: Tensor = self.joint(h).squeeze(-1)
        return out
