"""The generator as the fourth stage: closed-loop fine-tuning in ``training_step``, the test phase in ``predict_step``.

The reference trains every unit from its real first pose (open loop) and generates every unit from its own last pose
(closed loop), so its dances jump where units meet. Here the decoders are fine-tuned on what they meet at inference:
units unrolled from their own last pose (docs/adr/0004-closed-loop-fine-tuning.md), and dances that start at the last
pose of another dance (docs/adr/0067-dances-that-find-their-pose.md). Not in the paper; configurable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from d2m.core.skeleton import POSE_DIM, SEQUENCE_FRAMES
from d2m.dance.clock import segment_centres_s
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.data.normalizer import Normalizer
from d2m.nets.composition import Composition, CompositionNoise, RealUnits
from d2m.nets.losses import compute, full_weights, unused, weighted_sum
from d2m.nets.losses.generator import DEFAULT, TERMS, ClosedLoopStep, foreign_starts
from d2m.nets.music_style import StyleMode
from d2m.nets.rows import ALONE, Rows
from d2m.nets.sizes import Sizes
from d2m.train.movements import encode_movements, read_batch
from d2m.train.optimizers import ADAM, build_optimizer, cosine_decay
from d2m.train.steps import clip_each, draw_noise, log_losses, rows_of, step_generator, val_number


class GeneratorModule(pl.LightningModule):
    """Closed-loop fine-tuning of the dance decoder and the unit decoder; everything else is frozen.

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`.
        optimizer: see :func:`d2m.train.optimizers.build_optimizer`; its learning rate is the dance decoder's.
        lr_unit_decoder: the unit decoder's learning rate. lr_final: final rate of the cosine schedule, as a share of
            each initial one.
        weights: of the terms in :mod:`d2m.nets.losses.generator`; merged over its defaults.
        foreign_start: share of a batch, 0 to 1, whose dances start at another's last pose, as a song's segments do.
        recovery_frames: number of frames after which these must have returned to their own dance.
        clip: gradient norm at which each decoder is clipped separately.
        seed: of the noise.
        style_mode: of the dances that ``predict_step`` generates, see :class:`d2m.nets.music_style.MusicStyle`.
        span, augment: as of :class:`d2m.train.modules.mm_gan.MMGANModule`.
    """

    def __init__(
        self,
        sizes: dict[str, int],
        optimizer: dict[str, Any] = ADAM,
        lr_unit_decoder: float = 2e-5,
        lr_final: float = 1.0,
        weights: dict[str, float] | None = None,
        foreign_start: float = 0.0,
        recovery_frames: int = 16,
        clip: float = 0.5,
        seed: int = 0,
        style_mode: StyleMode = "windows",
        span: bool = False,
        augment: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Composition(Sizes.from_dict(sizes))
        self.weights = full_weights(TERMS, weights, DEFAULT)
        self.movements: Tensor | None = None
        self.net.requires_grad_(False)
        self.net.dance_decoder.requires_grad_(True)
        self.net.unit_decoder.requires_grad_(True)

    def losses(self, real: RealUnits, noise: CompositionNoise, rows: Rows = ALONE) -> dict[str, Tensor]:
        """Forward pass, both branches unrolled from the same first pose; returns the unweighted terms of nonzero
        weight.

        ``rows``: which rows of the whole batch these are.
        """
        net = self.net
        b, u = real.units.shape[:2]
        dance, music = net.reconstruct(real, noise), net.compose(real, noise)
        recon_mov = dance.mov.sample(noise.recon_mov.view(b, u, -1))
        assert music.mov is not None
        fake_mov = music.mov.sample(noise.fake_mov)
        first, due = foreign_starts(real.units, self.hparams["foreign_start"], self.hparams["recovery_frames"], rows)
        ini = noise.z_ini.view(b, u, -1)
        # Both branches in one unroll: a GRU's cost depends on its steps, hardly on its rows.
        poses = net.unroll(torch.cat([recon_mov, fake_mov]), torch.cat([first, first]), torch.cat([ini, ini]))
        step = ClosedLoopStep(real.units, poses[:b], poses[b:], real.z_mov, dance.mov, due)
        return compute(TERMS, step, without=unused(self.weights))

    def _step(self, stream: str, batch: dict[str, Tensor], number: int, counts: bool = True) -> Tensor:
        noise = draw_noise(self, self.net.draw_noise, batch["units"], stream, number)
        real = read_batch(self.net, batch, noise, self.movements)
        losses = self.losses(real, noise, rows_of(self, stream))
        total = weighted_sum(losses, self.weights)
        log_losses(self, stream, {**losses, "loss": total}, len(batch["units"]), counts)
        return total

    def on_fit_start(self) -> None:
        self.movements = encode_movements(self)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self._step("train", batch, batch_idx)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step("val", batch, *val_number(batch, batch_idx))

    @torch.no_grad()
    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The test phase: ``features`` (b, t, n_features) of songs of one length -> dances (b, t, 28), both normalised.

        Same as :func:`d2m.dance.together.dance_to` without redraws and without the warp; noise is a function of the
        seed, the batch and the rank.
        """
        features = batch["features"]
        b, t = features.shape[:2]
        n = -(-t // SEQUENCE_FRAMES)
        widths = (POSE_DIM, POSE_DIM, self.net.sizes.n_features, self.net.sizes.n_features)
        identity = Normalizer(*(np.full(w, v, np.float32) for w, v in zip(widths, (0, 1, 0, 1), strict=True)))
        dancer = DanceGenerator(self.net, identity, genres=(), style_mode=self.hparams["style_mode"])
        noise = DanceNoise.draw(
            self.net.sizes, b, n, 1, step_generator(self, "predict", batch_idx, self.hparams["seed"])
        )
        styles = torch.stack([dancer.segment_styles(song, segment_centres_s(n)) for song in features])
        z_dan = dancer.encode_style(styles, noise).sample
        return dancer.choreograph(z_dan, noise).poses[:, :t]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        norms = clip_each([self.net.dance_decoder, self.net.unit_decoder], self.hparams["clip"])
        self.log_dict({"train/grad_dance_decoder": norms[0], "train/grad_unit_decoder": norms[1]})

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": list(self.net.dance_decoder.parameters()), "name": "dance_decoder"},
            {
                "params": list(self.net.unit_decoder.parameters()), "name": "unit_decoder",
                "lr": self.hparams["lr_unit_decoder"],
            },
        ]  # fmt: skip
        optimizers = [build_optimizer(self.hparams["optimizer"], groups)]
        return optimizers, cosine_decay(self, optimizers, self.hparams["lr_final"], ("lr",))
