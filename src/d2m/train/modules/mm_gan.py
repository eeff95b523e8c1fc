"""Stage 2 as a LightningModule: composition by the music-to-movement GAN (Lee et al., NeurIPS 2019, section 3.3).

Three updates a batch: discriminators; encoders and decoders on the generator loss; encoders and regressor on the
style loss. The first two share a forward pass, because the first update changes no weights used in it
(docs/adr/0066-the-noise-behind-a-dance.md). The third has its own, with the same noise: the reference back-propagates
the style loss through weights that the generator update has already changed, which mixes activations of two models and
which current PyTorch refuses (docs/adr/0002-recomputed-gan-updates.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.nets.composition import Composition, CompositionNoise, DanceBranch, MusicBranch, RealUnits
from d2m.nets.losses import compute, full_weights, opening, unused, weighted_sum
from d2m.nets.losses.mm_gan import (
    DEFAULT,
    DISCRIMINATOR,
    GENERATOR,
    LOGGED,
    READ_MUSIC_MOVEMENTS,
    STYLE,
    GANStep,
    Inferred,
    StyleStep,
)  # fmt: skip
from d2m.nets.mm_gan import Discriminator, NoiseEncoder
from d2m.nets.rows import ALONE, Rows
from d2m.nets.sizes import Sizes
from d2m.train.movements import encode_movements, read_batch
from d2m.train.optimizers import ADAM, build_optimizer, cosine_decay, step_schedulers
from d2m.train.processes import average_gradients
from d2m.train.steps import clip_each, draw_noise, frozen, log_losses, rows_of, total_batches, val_number


class Branches(NamedTuple):
    """One forward pass through the networks that stage 2 trains, except the discriminators."""

    dance: DanceBranch
    music: MusicBranch

    def detach(self) -> Branches:
        """The same without gradients."""
        d, m = self
        return Branches(
            DanceBranch(d.z_dan.detach(), d.z_dan_samples.detach(), d.mov.detach()),
            MusicBranch(m.z_dan.detach(), m.z_dan_samples.detach(), m.mov and m.mov.detach()),
        )


class MMGANModule(pl.LightningModule):
    """The composition GAN.

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`.
        optimizer: built once each for the discriminators, the encoders (with the noise encoder), the decoders and the
            regressor, see :func:`d2m.train.optimizers.build_optimizer` (paper: Adam, 2e-4).
        lr_unit_decoder: learning rate of the fine-tuned unit decoder (paper: 2e-5).
        lr_final: final learning rate of the cosine schedule, as a share of each initial one (paper: 1).
        weights: of the terms in :mod:`d2m.nets.losses.mm_gan`; omitted ones default to the paper's.
        anneal_midpoint, anneal_slope: of the sigmoid that anneals kl_dan, in batches, as in stage 1. None (the
            paper's): full weight from the start.
        dance_logvar: added to the dance encoder's log-variances at the start (paper: 0). With a late kl_dan it lets
            z_dan learn to encode a dance before it is regularised (docs/adr/0050-a-dance-latent-that-carries.md).
        clip: gradient norm at which every updated network is clipped separately.
        seed: of the noise.
        span: compute the style from the music of the whole sequence, as ``style_mode=local`` does at inference;
            otherwise from 2 s of it (paper). Read by the curriculum, for the data module.
        augment: ranges of :func:`d2m.music.front_ends.augment.draw_change` for the training music, or None. Keep
            ``tempo`` at 1: the dance does not follow. Read by the curriculum, for the data module.

    The initial-pose encoder, the movement encoder and the music style network are frozen: the reference builds an
    optimiser for the movement encoder and never steps it (docs/adr/0003-frozen-movement-encoder.md).
    """

    def __init__(
        self,
        sizes: dict[str, int],
        optimizer: dict[str, Any] = ADAM,
        lr_unit_decoder: float = 2e-5,
        lr_final: float = 1.0,
        weights: dict[str, float] | None = None,
        anneal_midpoint: float | None = None,
        anneal_slope: float = 0.0005,
        dance_logvar: float = 0.0,
        clip: float = 0.5,
        seed: int = 0,
        span: bool = False,
        augment: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        s = Sizes.from_dict(sizes)
        self.net = net = Composition(s)
        self.movement_discriminator = Discriminator(SEQUENCE_UNITS * 2 * s.z_mov, s.n_features, s.discriminator_hidden)
        self.dance_discriminator = Discriminator(2 * s.z_dan, s.n_features, s.discriminator_hidden)
        every = full_weights((*DISCRIMINATOR, *GENERATOR, *STYLE), weights, DEFAULT)
        self.d_weights, self.g_weights, self.style_weights = (
            {name: every[name] for name in terms} for terms in (DISCRIMINATOR, GENERATOR, STYLE)
        )
        self.movements: Tensor | None = None
        self.noise_encoder = NoiseEncoder(s.z_dan, s.style) if self.g_weights["prior_dan"] else None
        for network in (net.initial_pose_encoder, net.initial_pose_decoder, net.movement_encoder, net.music_style):
            network.requires_grad_(False)
        with torch.no_grad():
            net.dance_encoder.head.logvar.bias.add_(dance_logvar)

    def annealed_weights(self, step: int, total_steps: int) -> dict[str, float]:
        """The generator phase's loss weights at a batch, with kl_dan annealed."""
        if self.hparams["anneal_midpoint"] is None:
            return self.g_weights
        share = opening(step, total_steps, self.hparams["anneal_midpoint"], self.hparams["anneal_slope"])
        return {**self.g_weights, "kl_dan": self.g_weights["kl_dan"] * share}

    # -- phases -----------------------------------------------------------------------------------------------

    def branches(self, real: RealUnits, noise: CompositionNoise) -> Branches:
        """Both branches at the current weights; in training, the music's movements are decoded only for weighted
        terms."""
        weights = {**self.d_weights, **self.g_weights}
        movements = not self.training or any(weights[name] for name in READ_MUSIC_MOVEMENTS)
        return Branches(self.net.reconstruct(real, noise), self.net.compose(real, noise, movements))

    def _gan_step(self, real: RealUnits, branches: Branches, **more: Any) -> GANStep:
        return GANStep(real, *branches, self.movement_discriminator, self.dance_discriminator, **more)

    def discriminator_phase(
        self, real: RealUnits, noise: CompositionNoise, branches: Branches | None = None
    ) -> dict[str, Tensor]:
        """Unweighted terms of the discriminators; ``branches`` is computed here unless given."""
        if branches is None:
            with torch.no_grad():
                branches = self.branches(real, noise)
        return compute(DISCRIMINATOR, self._gan_step(real, branches.detach()), without=unused(self.d_weights))

    def generator_phase(
        self,
        real: RealUnits,
        noise: CompositionNoise,
        poses: bool = True,
        branches: Branches | None = None,
        recording: Tensor | None = None,
        rows: Rows = ALONE,
    ) -> dict[str, Tensor]:
        """Unweighted terms of encoders and decoders.

        Args:
            poses: False omits "recon", because decoding the units is most of a step's cost.
            branches: as in :meth:`discriminator_phase`.
            recording, rows: as in :meth:`optimize`.
        """
        branches = branches or self.branches(real, noise)
        recon = self.net.decode_units(real, branches.dance.mov, noise) if poses else None
        inferred = self.infer(real, branches.dance, noise) if self.noise_encoder is not None else None
        left_out = unused({**self.g_weights, "recon": float(poses)}) - LOGGED
        if branches.music.mov is None:
            left_out.add("kl_fake_mov")
        step = self._gan_step(real, branches, recon=recon, inferred=inferred, recording=recording, rows=rows)
        return compute(GENERATOR, step, without=left_out)

    def infer(self, real: RealUnits, dance: DanceBranch, noise: CompositionNoise) -> Inferred:
        """Noise inferred from the dances (no gradient to their z_dan), and z_dan of the music with that noise."""
        assert self.noise_encoder is not None
        behind = self.noise_encoder(dance.z_dan_samples.detach(), real.style)
        return Inferred(behind, self.net.style_to_dance(real.style, behind.sample(noise.inferred)))

    def style_phase(
        self, real: RealUnits, noise: CompositionNoise, branches: Branches | None = None
    ) -> dict[str, Tensor]:
        """Unweighted style terms; runs its own forward pass unless ``branches`` was computed at the current weights."""
        net = self.net
        if branches is None:
            z_real = net.dance_encoder(real.z_mov.parameters_cat()).sample(noise.z_dan)
            z_fake = net.style_to_dance(real.style, noise.audio).sample(noise.fake_z_dan)
        else:
            z_real, z_fake = branches.dance.z_dan_samples, branches.music.z_dan_samples
        step = StyleStep(real.style, net.style_regressor, z_real, z_fake)
        return compute(STYLE, step, without=unused(self.style_weights))

    def _update(
        self, losses: dict[str, Tensor], weights: dict[str, float], optimizers: Sequence[Any],
        networks: Sequence[nn.Module],
    ) -> Tensor:  # fmt: skip
        loss = weighted_sum(losses, weights)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        average_gradients(p for optimizer in optimizers for g in optimizer.param_groups for p in g["params"])
        norms = clip_each(networks, self.hparams["clip"])
        for optimizer in optimizers:
            optimizer.step()
        # Autocast caches bf16 copies of the weights for a whole region: drop them, they are stale now.
        torch.clear_autocast_cache()
        return norms.max()

    def optimize(
        self,
        real: RealUnits,
        noise: CompositionNoise,
        g_weights: dict[str, float] | None = None,
        recording: Tensor | None = None,
        rows: Rows = ALONE,
    ) -> dict[str, Tensor]:
        """Run the updates of one batch, up to three; returns every loss, each at the weights before its update.

        Terms of weight 0 are not computed, and an update without terms is skipped.

        Args:
            g_weights: of the generator phase, instead of the module's own; must be 0 wherever the module's are, since
                those terms are not computed.
            recording: (b,) index of each sequence's recording, for "align".
            rows: which rows of the whole batch these are.
        """
        weights = dict(g_weights or self.g_weights)
        net = self.net
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        opt_d, opt_encoders, opt_decoders, opt_regressor = optimizers
        discriminators = [self.movement_discriminator, self.dance_discriminator]
        encoders = [net.dance_encoder, net.style_to_dance]

        # One forward pass for two updates: the first changes no weights used in it.
        branches = self.branches(real, noise)
        losses: dict[str, Tensor] = {}
        if any(self.d_weights.values()):
            losses = self.discriminator_phase(real, noise, branches)
            losses["grad_d"] = self._update(losses, self.d_weights, [opt_d], discriminators)
        with frozen(*discriminators):
            g = self.generator_phase(real, noise, weights["recon"] != 0, branches, recording, rows)
            inference = [] if self.noise_encoder is None else [self.noise_encoder]
            networks = [*encoders, *inference, net.dance_decoder, net.unit_decoder]
            losses |= {**g, "grad_g": self._update(g, weights, [opt_encoders, opt_decoders], networks)}
        if not any(self.style_weights.values()):
            return losses
        s = self.style_phase(real, noise)
        norm = self._update(s, self.style_weights, [opt_encoders, opt_regressor], [*encoders, net.style_regressor])
        return {**losses, **s, "grad_style": norm}

    def on_fit_start(self) -> None:
        self.movements = encode_movements(self)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        noise = draw_noise(self, self.net.draw_noise, batch["units"], "train", batch_idx)
        real = read_batch(self.net, batch, noise, self.movements)
        weights = self.annealed_weights(int(self.trainer.fit_loop.total_batch_idx), total_batches(self))
        losses = self.optimize(real, noise, weights, batch.get("recording"), rows_of(self, "train"))
        log_losses(self, "train", losses, len(batch["units"]))
        self.log("train/kl_weight", weights["kl_dan"])
        step_schedulers(self)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        number, counts = val_number(batch, batch_idx)
        noise = draw_noise(self, self.net.draw_noise, batch["units"], "val", number)
        real = read_batch(self.net, batch, noise, self.movements)
        branches = self.branches(real, noise)
        losses = {
            **self.discriminator_phase(real, noise, branches),
            **self.generator_phase(real, noise, branches=branches, recording=batch.get("recording")),
            **self.style_phase(real, noise, branches),
        }
        log_losses(self, "val", losses, len(batch["units"]), counts)

    def configure_optimizers(self) -> Any:
        net = self.net
        d = [*self.movement_discriminator.parameters(), *self.dance_discriminator.parameters()]
        encoders = [*net.dance_encoder.parameters(), *net.style_to_dance.parameters()]
        if self.noise_encoder is not None:
            encoders += self.noise_encoder.parameters()
        decoders = [
            {"params": list(net.dance_decoder.parameters()), "name": "dance_decoder"},
            {
                "params": list(net.unit_decoder.parameters()), "name": "unit_decoder",
                "lr": self.hparams["lr_unit_decoder"],
            },
        ]  # fmt: skip
        groups: list[Any] = [d, encoders, decoders, list(net.style_regressor.parameters())]
        optimizers = [build_optimizer(self.hparams["optimizer"], g) for g in groups]
        names = ("lr/discriminators", "lr/encoders", "lr", "lr/style_regressor")
        return optimizers, cosine_decay(self, optimizers, self.hparams["lr_final"], names)
