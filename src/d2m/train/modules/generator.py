"""The generator as the fourth stage: closed-loop fine-tuning in ``training_step``, the test phase in ``predict_step``.

The reference trains every unit from its real first pose (open loop) and generates every unit from its own last pose
(closed loop), so its dances jump where units meet. Here the decoders are fine-tuned on what they will meet: units
unrolled from their own last pose. Not in the paper; switched by config (docs/adr/0004-closed-loop-fine-tuning.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.skeleton import SEQUENCE_FRAMES
from d2m.dance.generator import DanceGenerator, DanceNoise
from d2m.data.normalizer import Normalizer
from d2m.nets.composition import Composition, CompositionNoise, RealUnits
from d2m.nets.losses import weighted_sum
from d2m.train.steps import clip_each, cosine_decay, log_losses, step_generator

WEIGHTS = {
    "recon": 10.0, "boundary": 10.0, "mov_mu": 1.0, "mov_logvar": 1.0, "fake_boundary": 10.0, "fake_energy": 1.0,
}  # fmt: skip
#: Below every real unit's mean square step (normalised units): keeps the logarithm finite on a frozen dance.
_ENERGY_FLOOR = 1e-4


def steps_within_and_between(units: Tensor) -> tuple[Tensor, Tensor]:
    """(b, u, 32, 28) -> frame steps within units (b, u, 31, 28) and from unit to unit (b, u - 1, 28)."""
    return units.diff(dim=2), units[:, 1:, 0] - units[:, :-1, -1]


def log_energy(units: Tensor) -> Tensor:
    """Log mean square frame step of every sequence, (b, u, 32, 28) -> (b,), in normalised units."""
    within, _ = steps_within_and_between(units)
    return (within.float().square().mean(dim=(1, 2, 3)) + _ENERGY_FLOOR).log()


def compute_losses(real: Tensor, recon: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """Closed-loop terms on poses (b, u, 32, 28).

    recon: L1 of the unrolled reconstruction. boundary: L1 of its steps between units to the real ones.
    fake_boundary: how far the music branch's steps between units exceed its own mean step within units.
    fake_energy: L1 between the log motion energies of the music branch and of the dance that belongs to the music.
    """
    _, real_between = steps_within_and_between(real)
    _, recon_between = steps_within_and_between(recon)
    fake_within, fake_between = steps_within_and_between(fake)
    usual = fake_within.abs().mean(dim=(1, 2, 3)).detach()
    return {
        "recon": F.l1_loss(recon, real),
        "boundary": F.l1_loss(recon_between, real_between),
        "fake_boundary": F.relu(fake_between.abs().mean(dim=(1, 2)) - usual).mean(),
        "fake_energy": F.l1_loss(log_energy(fake), log_energy(real)),
    }


class GeneratorModule(pl.LightningModule):
    """Closed-loop fine-tuning of the dance decoder and the unit decoder; everything else is frozen.

    Args:
        n_genres, z_ini, z_mov, z_dan, *_hidden: sizes, see :class:`d2m.nets.composition.Composition`.
        lr, lr_unit_decoder: Adam's learning rates; lr_final: the share of both that a cosine decays to.
        weights: one per loss term, merged over :data:`WEIGHTS`.
        clip: norm at which each decoder is clipped on its own.
        seed: of the noise.
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
        lr: float = 2e-4,
        lr_unit_decoder: float = 2e-5,
        lr_final: float = 1.0,
        weights: dict[str, float] | None = None,
        clip: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Composition(
            n_genres, z_ini, z_mov, z_dan, movement_hidden, unit_hidden, dance_encoder_hidden, dance_decoder_hidden
        )
        self.weights = {**WEIGHTS, **(weights or {})}
        self.net.requires_grad_(False)
        self.net.dance_decoder.requires_grad_(True)
        self.net.unit_decoder.requires_grad_(True)

    def losses(self, real: RealUnits, noise: CompositionNoise) -> dict[str, Tensor]:
        """Both branches unrolled from the real first pose; terms of :func:`compute_losses` and of the movements."""
        net = self.net
        b, u = real.units.shape[:2]
        dance, music = net.reconstruct(real, noise), net.compose(real, noise)
        recon_mov = dance.mov.sample(noise.recon_mov.view(b, u, -1))
        fake_mov = music.mov.sample(noise.fake_mov)
        first, ini = real.units[:, 0, 0], noise.z_ini.view(b, u, -1)
        # Both branches in one unroll: a GRU's cost is in its steps, not in its rows.
        poses = net.unroll(torch.cat([recon_mov, fake_mov]), torch.cat([first, first]), torch.cat([ini, ini]))
        return {
            **compute_losses(real.units, poses[:b], poses[b:]),
            "mov_mu": F.l1_loss(dance.mov.mu, real.z_mov.mu),
            "mov_logvar": F.l1_loss(dance.mov.logvar, real.z_mov.logvar),
        }

    def _step(self, stream: str, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        generator = step_generator(self, stream, batch_idx, self.hparams["seed"])
        noise = self.net.draw_noise(batch["units"], generator)
        real = self.net.read_real(batch["units"], batch["features"], noise)
        losses = self.losses(real, noise)
        total = weighted_sum(losses, self.weights)
        log_losses(self, stream, {**losses, "loss": total}, len(batch["units"]))
        return total

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch, batch_idx)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step("val", batch, batch_idx)

    @torch.no_grad()
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The test phase: ``features`` (b, t, 28), normalised songs of one length -> dances (b, t, 28), normalised.

        As :func:`d2m.dance.song_dance.dance_to` without redraws and without the warp; noise is a function of the seed,
        the batch and the rank.
        """
        features = batch["features"]
        b, t = features.shape[:2]
        n = -(-t // SEQUENCE_FRAMES)
        identity = Normalizer(*(np.full(28, v, np.float32) for v in (0, 1, 0, 1)))
        dancer = DanceGenerator(self.net, identity, genres=())
        noise = DanceNoise.draw(
            self.net.sizes, b, n, 1, step_generator(self, "predict", batch_idx, self.hparams["seed"])
        )
        styles = torch.stack([self.net.music_style.song_style(song) for song in features])
        z_dan = dancer.encode_style(styles, noise).sample
        return dancer.choreograph(z_dan, noise).poses[:, :t]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        norms = clip_each([self.net.dance_decoder, self.net.unit_decoder], self.hparams["clip"])
        self.log_dict({"train/grad_dance_decoder": norms[0], "train/grad_unit_decoder": norms[1]})

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": list(self.net.dance_decoder.parameters())},
            {"params": list(self.net.unit_decoder.parameters()), "lr": self.hparams["lr_unit_decoder"]},
        ]
        optimizers = [torch.optim.Adam(groups, lr=self.hparams["lr"], fused=True)]
        return optimizers, cosine_decay(self, optimizers, self.hparams["lr_final"])
