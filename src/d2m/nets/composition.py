"""All networks of stage 2: the forward pass for training and the closed loop for dancing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from d2m.core.gaussian import DiagonalGaussian, randn
from d2m.nets.du_vae import InitialPoseDecoder, InitialPoseEncoder, MovementEncoder, UnitDecoder
from d2m.nets.mm_gan import DanceDecoder, DanceEncoder, StyleRegressor, StyleToDance
from d2m.nets.music_style import MusicStyle
from d2m.nets.sizes import Sizes
from d2m.nets.unroll_row import unroll_row


class CompositionNoise(NamedTuple):
    """All noise of one stage-2 batch of b sequences of u units, drawn once and shared by all updates of the batch."""

    z_ini: Tensor  # (b u, z_ini)
    z_dan: Tensor  # (b, z_dan)
    recon_mov: Tensor  # (b u, z_mov)
    audio: Tensor  # (b, style)
    fake_z_dan: Tensor  # (b, z_dan)
    fake_mov: Tensor  # (b, u, z_mov): used if the music branch is decoded to poses
    inferred: Tensor = torch.empty(0)  # (b, style): samples the noise behind the real dance, if stage 2 infers it

    def rows(self, own: slice, n: int) -> CompositionNoise:
        """The noise of the sequences ``own`` of a batch of ``n``."""
        return CompositionNoise(*(x.unflatten(0, (n, -1))[own].flatten(0, 1) for x in self))


class RealUnits(NamedTuple):
    """Outputs of the frozen encoders on a real batch; without gradients."""

    units: Tensor  # (b, u, 32, 28)
    z_ini: DiagonalGaussian  # (b u, z_ini)
    z_ini_samples: Tensor
    z_mov: DiagonalGaussian  # (b, u, z_mov)
    style: Tensor  # (b, style)
    audio: Tensor  # (b, n_features): mean features, the discriminators' condition


class DanceBranch(NamedTuple):
    """The reconstruction: units -> z_dan -> movements ( -> poses)."""

    z_dan: DiagonalGaussian  # (b, z_dan)
    z_dan_samples: Tensor
    mov: DiagonalGaussian  # (b, u, z_mov)


class MusicBranch(NamedTuple):
    """The composition from music: style, noise -> z_dan -> movements."""

    z_dan: DiagonalGaussian
    z_dan_samples: Tensor
    mov: DiagonalGaussian | None  # None: not decoded


class Composition(nn.Module):
    """All networks of a trained system, that is, all but the discriminators."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = s = sizes
        self.initial_pose_encoder = InitialPoseEncoder(s.z_ini)
        self.initial_pose_decoder = InitialPoseDecoder(s.z_ini)  # not used after stage 1, kept for study
        self.movement_encoder = MovementEncoder(s.z_mov, s.movement_hidden)
        self.unit_decoder = UnitDecoder(s.z_ini, s.z_mov, s.unit_hidden)
        self.music_style = MusicStyle(s.n_genres, s.n_features, s.style, s.style_network)
        self.dance_encoder = DanceEncoder(s.z_mov, s.z_dan, s.dance_encoder_hidden)
        self.dance_decoder = DanceDecoder(s.z_mov, s.z_dan, s.dance_decoder_hidden)
        self.style_to_dance = StyleToDance(s.z_dan, s.style)
        self.style_regressor = StyleRegressor(s.z_dan, s.style)

    def draw_noise(self, units: Tensor, generator: torch.Generator | None = None) -> CompositionNoise:
        """One draw for a batch like ``units`` (b, u, 32, 28)."""
        b, u = units.shape[:2]
        s = self.sizes

        def draw(*shape: int) -> Tensor:
            return randn(*shape, generator=generator, like=units)

        return CompositionNoise(
            z_ini=draw(b * u, s.z_ini),
            z_dan=draw(b, s.z_dan),
            recon_mov=draw(b * u, s.z_mov),
            audio=draw(b, s.style),
            fake_z_dan=draw(b, s.z_dan),
            fake_mov=draw(b, u, s.z_mov),
            inferred=draw(b, s.style),
        )

    @torch.no_grad()
    def read_real(
        self, units: Tensor, features: Tensor, noise: CompositionNoise, z_mov: DiagonalGaussian | None = None
    ) -> RealUnits:
        """Encode units (b, u, 32, 28) and their music (b, t, n_features), at least 2 s, with the frozen networks.

        Args:
            z_mov: (b, u, z_mov) of the units, if already computed.
        """
        b, u = units.shape[:2]
        flat = units.flatten(0, 1)
        z_ini = self.initial_pose_encoder(flat[:, 0])
        return RealUnits(
            units=units,
            z_ini=z_ini,
            z_ini_samples=z_ini.sample(noise.z_ini),
            z_mov=self.movement_encoder(flat).reshape(b, u) if z_mov is None else z_mov,
            style=self.music_style.window_style(features),
            audio=features.mean(1),
        )

    def reconstruct(self, real: RealUnits, noise: CompositionNoise) -> DanceBranch:
        """Movements of the real units through z_dan and back."""
        z_dan = self.dance_encoder(real.z_mov.parameters_cat())
        sample = z_dan.sample(noise.z_dan)
        return DanceBranch(z_dan, sample, self.dance_decoder(sample, real.units.shape[1]))

    def compose(self, real: RealUnits, noise: CompositionNoise, movements: bool = True) -> MusicBranch:
        """z_dan, and optionally ``movements``, from the style of the music and noise."""
        z_dan = self.style_to_dance(real.style, noise.audio)
        sample = z_dan.sample(noise.fake_z_dan)
        return MusicBranch(z_dan, sample, self.dance_decoder(sample, real.units.shape[1]) if movements else None)

    def decode_units(self, real: RealUnits, mov: DiagonalGaussian, noise: CompositionNoise) -> Tensor:
        """Decode movements in open loop, each unit from its own real first pose: (b, u, 32, 28)."""
        samples = mov.reshape(-1).sample(noise.recon_mov)
        out: Tensor = self.unit_decoder(real.z_ini_samples, samples)
        return out.reshape_as(real.units)

    def unroll(self, z_mov: Tensor, pose: Tensor, z_ini_noise: Tensor) -> Tensor:
        """Decode in closed loop: every unit starts from the last pose of the previous one.

        Args:
            z_mov: (b, u, z_mov) sampled movements.
            pose: (b, 28) normalised pose from which the z_ini of the first unit is encoded.
            z_ini_noise: (b, u, z_ini).

        Returns:
            (b, u, 32, 28) normalised poses.
        """
        if len(pose) == 1 and self.unit_decoder.body.gru.takes_rows:
            return unroll_row(self.initial_pose_encoder, self.unit_decoder, z_mov[0], pose, z_ini_noise[0])[None]
        units = []
        for k in range(z_mov.shape[1]):
            z_ini = self.initial_pose_encoder(pose).sample(z_ini_noise[:, k])
            unit = self.unit_decoder(z_ini, z_mov[:, k])
            units.append(unit)
            pose = unit[:, -1]
        return torch.stack(units, dim=1)
