"""The networks of stage 2 together: the forward pass that trains them and the closed loop that dances."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from d2m.core.gaussian import DiagonalGaussian, randn
from d2m.nets.du_vae import InitialPoseDecoder, InitialPoseEncoder, MovementEncoder, UnitDecoder
from d2m.nets.mm_gan import DanceDecoder, DanceEncoder, StyleRegressor, StyleToDance
from d2m.nets.music_style import MusicStyle


class CompositionNoise(NamedTuple):
    """All noise of one stage-2 batch of b sequences of u units; one draw serves every update of the batch."""

    z_ini: Tensor  # (b u, z_ini)
    z_dan: Tensor  # (b, z_dan)
    recon_mov: Tensor  # (b u, z_mov)
    audio: Tensor  # (b, 30)
    fake_z_dan: Tensor  # (b, z_dan)
    fake_mov: Tensor  # (b, u, z_mov): used where the music branch is decoded to poses


class RealUnits(NamedTuple):
    """What the frozen encoders say of a real batch; no gradient flows into it."""

    units: Tensor  # (b, u, 32, 28)
    z_ini: DiagonalGaussian  # (b u, z_ini)
    z_ini_samples: Tensor
    z_mov: DiagonalGaussian  # (b, u, z_mov)
    style: Tensor  # (b, 30)
    audio: Tensor  # (b, 28): mean features, the discriminators' condition


class DanceBranch(NamedTuple):
    """The reconstruction: units -> z_dan -> movements ( -> poses)."""

    z_dan: DiagonalGaussian  # (b, z_dan)
    z_dan_samples: Tensor
    mov: DiagonalGaussian  # (b, u, z_mov)


class MusicBranch(NamedTuple):
    """The composition from music: style, noise -> z_dan -> movements."""

    z_dan: DiagonalGaussian
    z_dan_samples: Tensor
    mov: DiagonalGaussian


class Composition(nn.Module):
    """Every network that a trained system needs: the discriminators are the only ones left out.

    Args:
        n_genres: classes of the music style network.
        z_ini, z_mov, z_dan: latent sizes (the paper's: 10, 512, 512).
        movement_hidden, unit_hidden, dance_encoder_hidden, dance_decoder_hidden: GRU widths (the paper's: 1024).
    """

    def __init__(
        self,
        n_genres: int,
        z_ini: int = 10,
        z_mov: int = 512,
        z_dan: int = 512,
        movement_hidden: int = 1024,
        unit_hidden: int = 1024,
        dance_encoder_hidden: int = 1024,
        dance_decoder_hidden: int = 1024,
    ) -> None:
        super().__init__()
        self.sizes = {
            "n_genres": n_genres,
            "z_ini": z_ini,
            "z_mov": z_mov,
            "z_dan": z_dan,
            "movement_hidden": movement_hidden,
            "unit_hidden": unit_hidden,
            "dance_encoder_hidden": dance_encoder_hidden,
            "dance_decoder_hidden": dance_decoder_hidden,
        }
        self.initial_pose_encoder = InitialPoseEncoder(z_ini)
        self.initial_pose_decoder = InitialPoseDecoder(z_ini)  # used by no stage after the first, kept for study
        self.movement_encoder = MovementEncoder(z_mov, movement_hidden)
        self.unit_decoder = UnitDecoder(z_ini, z_mov, unit_hidden)
        self.music_style = MusicStyle(n_genres)
        self.dance_encoder = DanceEncoder(z_mov, z_dan, dance_encoder_hidden)
        self.dance_decoder = DanceDecoder(z_mov, z_dan, dance_decoder_hidden)
        self.style_to_dance = StyleToDance(z_dan)
        self.style_regressor = StyleRegressor(z_dan)

    def draw_noise(self, units: Tensor, generator: torch.Generator | None = None) -> CompositionNoise:
        """One draw for a batch like ``units`` (b, u, 32, 28)."""
        b, u = units.shape[:2]
        s = self.sizes

        def draw(*shape: int) -> Tensor:
            return randn(*shape, generator=generator, like=units)

        return CompositionNoise(
            z_ini=draw(b * u, s["z_ini"]),
            z_dan=draw(b, s["z_dan"]),
            recon_mov=draw(b * u, s["z_mov"]),
            audio=draw(b, self.style_to_dance.noise_dim),
            fake_z_dan=draw(b, s["z_dan"]),
            fake_mov=draw(b, u, s["z_mov"]),
        )

    @torch.no_grad()
    def read_real(self, units: Tensor, features: Tensor, noise: CompositionNoise) -> RealUnits:
        """Units (b, u, 32, 28) and their music (b, t, 28) through the frozen networks."""
        b, u = units.shape[:2]
        flat = units.flatten(0, 1)
        z_ini = self.initial_pose_encoder(flat[:, 0])
        return RealUnits(
            units=units,
            z_ini=z_ini,
            z_ini_samples=z_ini.sample(noise.z_ini),
            z_mov=self.movement_encoder(flat).reshape(b, u),
            style=self.music_style.style(features),
            audio=features.mean(1),
        )

    def reconstruct(self, real: RealUnits, noise: CompositionNoise) -> DanceBranch:
        """Movements of the real units through z_dan and back."""
        z_dan = self.dance_encoder(real.z_mov.parameters_cat())
        sample = z_dan.sample(noise.z_dan)
        return DanceBranch(z_dan, sample, self.dance_decoder(sample, real.units.shape[1]))

    def compose(self, real: RealUnits, noise: CompositionNoise) -> MusicBranch:
        """Movements from the music's style and noise."""
        z_dan = self.style_to_dance(real.style, noise.audio)
        sample = z_dan.sample(noise.fake_z_dan)
        return MusicBranch(z_dan, sample, self.dance_decoder(sample, real.units.shape[1]))

    def decode_units(self, real: RealUnits, mov: DiagonalGaussian, noise: CompositionNoise) -> Tensor:
        """Reconstructed movements with every unit's own first pose (open loop): (b, u, 32, 28)."""
        samples = mov.reshape(-1).sample(noise.recon_mov)
        out: Tensor = self.unit_decoder(real.z_ini_samples, samples)
        return out.reshape_as(real.units)

    def unroll(self, z_mov: Tensor, pose: Tensor, z_ini_noise: Tensor) -> Tensor:
        """Closed loop: every unit starts from the last pose of the one before it.

        Args:
            z_mov: (b, u, z_mov) sampled movements.
            pose: (b, 28) normalised pose that the first unit's z_ini is encoded from.
            z_ini_noise: (b, u, z_ini).

        Returns:
            (b, u, 32, 28) normalised poses.
        """
        units = []
        for k in range(z_mov.shape[1]):
            z_ini = self.initial_pose_encoder(pose).sample(z_ini_noise[:, k])
            unit = self.unit_decoder(z_ini, z_mov[:, k])
            units.append(unit)
            pose = unit[:, -1]
        return torch.stack(units, dim=1)
