"""Stage 1: the dance-unit VAE, which splits a unit into an initial pose (z_ini) and a movement (z_mov).

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from d2m.core.gaussian import DiagonalGaussian, randn
from d2m.core.skeleton import POSE_DIM, UNIT_FRAMES
from d2m.nets.blocks import ConstantInputDecoder, GaussianHead, SequenceEncoder, mlp
from d2m.nets.products import Linear
from d2m.nets.sizes import Sizes

#: How many frames of a unit, besides the first, the initial-pose autoencoder is trained on.
SINGLE_FRAMES = 4


class InitialPoseEncoder(nn.Module):
    """Normalised pose (b, 28) -> N(z_ini) (b, z_ini)."""

    def __init__(self, z_ini: int, hidden: int = 64) -> None:
        super().__init__()
        self.body = mlp([POSE_DIM, hidden, hidden])
        self.head = GaussianHead(hidden, z_ini)

    def forward(self, pose: Tensor) -> DiagonalGaussian:
        out: DiagonalGaussian = self.head(self.body(pose))
        return out


class InitialPoseDecoder(nn.Module):
    """z_ini (b, z_ini) -> normalised pose (b, 28)."""

    def __init__(self, z_ini: int, hidden: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(*mlp([z_ini, hidden, hidden]), Linear(hidden, POSE_DIM))

    def forward(self, z_ini: Tensor) -> Tensor:
        out: Tensor = self.body(z_ini)
        return out


class MovementEncoder(nn.Module):
    """Normalised unit (b, 32, 28) -> N(z_mov) (b, z_mov)."""

    def __init__(self, z_mov: int, hidden: int) -> None:
        super().__init__()
        self.body = SequenceEncoder(POSE_DIM, hidden, bidirectional=True)
        self.head = GaussianHead(2 * hidden, z_mov)

    def forward(self, units: Tensor) -> DiagonalGaussian:
        out: DiagonalGaussian = self.head(self.body(units))
        return out


class UnitDecoder(nn.Module):
    """z_ini (b, z_ini), z_mov (b, z_mov) -> normalised unit (b, 32, 28)."""

    def __init__(self, z_ini: int, z_mov: int, hidden: int, num_layers: int = 1) -> None:
        super().__init__()
        self.body = ConstantInputDecoder(z_mov, z_ini + z_mov, hidden, num_layers)
        self.head = nn.Sequential(Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU(), Linear(hidden, POSE_DIM))

    def forward(self, z_ini: Tensor, z_mov: Tensor) -> Tensor:
        h = self.body(z_mov, torch.cat([z_ini, z_mov], dim=-1), UNIT_FRAMES)
        # The head works on single frames, so they are processed in memory order.
        out: Tensor = self.head(h.transpose(0, 1)).transpose(0, 1).contiguous()
        return out


class DUVAENoise(NamedTuple):
    """All noise of one stage-1 batch of b units: rows of copy 1 first, then of copy 2."""

    z_ini: Tensor  # (2b, z_ini)
    z_mov: Tensor  # (2b, z_mov)
    z_single: Tensor  # (4b, z_ini), frame-major
    frames: Tensor  # (4,) int64: the single frames, shared by the batch

    def rows(self, own: slice, n: int) -> DUVAENoise:
        """The noise of the units ``own`` of a batch of ``n``."""
        ini, mov, single = (x.unflatten(0, (-1, n))[:, own].flatten(0, 1) for x in self[:3])
        return DUVAENoise(ini, mov, single, self.frames)


class DUVAEOutput(NamedTuple):
    """Inputs of the stage-1 losses. Pairs are (copy 1, copy 2); tensors with 2b rows have copy 1 first."""

    z_ini: DiagonalGaussian  # (2b, z_ini)
    z_mov: DiagonalGaussian  # (2b, z_mov)
    z_ini_samples: Tensor
    z_mov_samples: Tensor
    recon: tuple[Tensor, Tensor]  # decode(z_ini_i, z_mov_i)
    cross: tuple[Tensor, Tensor]  # decode(z_ini_i, z_mov_j)
    first_recon: tuple[Tensor, Tensor]  # initial-pose autoencoder on the first frames
    singles: Tensor  # (4b, 28) the single frames of copy 1
    z_single: DiagonalGaussian
    singles_recon: Tensor  # (4b, 28)


class DUVAE(nn.Module):
    """The four networks of stage 1 and the forward pass that trains them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = s = sizes
        self.initial_pose_encoder = InitialPoseEncoder(s.z_ini)
        self.initial_pose_decoder = InitialPoseDecoder(s.z_ini)
        self.movement_encoder = MovementEncoder(s.z_mov, s.movement_hidden)
        self.unit_decoder = UnitDecoder(s.z_ini, s.z_mov, s.unit_hidden)

    def draw_noise(self, units: Tensor, generator: torch.Generator | None = None) -> DUVAENoise:
        """One draw for a batch like ``units`` (b, 32, 28)."""
        b = units.shape[0]
        source = generator.device if generator is not None else units.device
        frames = torch.randperm(UNIT_FRAMES, generator=generator, device=source)[:SINGLE_FRAMES]
        return DUVAENoise(
            randn(2 * b, self.sizes.z_ini, generator=generator, like=units),
            randn(2 * b, self.sizes.z_mov, generator=generator, like=units),
            randn(SINGLE_FRAMES * b, self.sizes.z_ini, generator=generator, like=units),
            frames.to(units.device),
        )

    def forward(self, units1: Tensor, units2: Tensor, noise: DUVAENoise) -> DUVAEOutput:
        """Two shifted copies (b, 32, 28) of the same units -> all intermediate tensors."""
        b = units1.shape[0]
        both = torch.cat([units1, units2])
        z_ini = self.initial_pose_encoder(both[:, 0])
        z_mov = self.movement_encoder(both)
        ini, mov = z_ini.sample(noise.z_ini), z_mov.sample(noise.z_mov)
        swapped = torch.cat([mov[b:], mov[:b]])
        # One pass of the decoder for recon and cross: the cost of a GRU depends on its steps more than on its rows.
        poses = self.unit_decoder(torch.cat([ini, ini]), torch.cat([mov, swapped]))
        first = self.initial_pose_decoder(ini)
        singles = units1[:, noise.frames].transpose(0, 1).reshape(-1, units1.shape[-1])
        z_single = self.initial_pose_encoder(singles)
        return DUVAEOutput(
            z_ini=z_ini,
            z_mov=z_mov,
            z_ini_samples=ini,
            z_mov_samples=mov,
            recon=(poses[:b], poses[b : 2 * b]),
            cross=(poses[2 * b : 3 * b], poses[3 * b :]),
            first_recon=(first[:b], first[b:]),
            singles=singles,
            z_single=z_single,
            singles_recon=self.initial_pose_decoder(z_single.sample(noise.z_single)),
        )
