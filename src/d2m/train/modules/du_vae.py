"""Stage 1 as a LightningModule: decomposition (Lee et al., NeurIPS 2019, section 3.2)."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.nets.du_vae import DUVAE, DUVAENoise, DUVAEOutput
from d2m.nets.losses import opening, weighted_sum
from d2m.train.steps import clip_each, cosine_decay, log_losses, step_generator

#: The paper's weights. Every reconstruction is a mean over its elements, summed over the two copies.
#: ``velocity`` is ours and off here: conf/model/du_vae.yaml turns it on (docs/adr/0005-motion-first.md).
WEIGHTS = {"recon": 1.0, "cross": 1.0, "velocity": 0.0, "shift": 1.0, "pose": 1.0, "kl_ini": 0.01, "kl_mov": 0.01}


def compute_losses(out: DUVAEOutput, units1: Tensor, units2: Tensor) -> dict[str, Tensor]:
    """The stage-1 terms, unweighted; keys are those of :data:`WEIGHTS`.

    recon: L1 of decode(z_ini_i, z_mov_i) to copy i. cross: L1 of decode(z_ini_i, z_mov_j) to copy i. velocity: L1
    of the frame steps of both. shift: L1 between the z_mov samples of the copies (the movement must not know where
    the dancer stands). pose: L1 of the initial-pose autoencoder on the single frames. kl_ini, kl_mov: KL of both
    copies to N(0, I).
    """
    mov1, mov2 = out.z_mov_samples.chunk(2)
    step = units1.diff(dim=1)  # the copies differ by a constant shift: their steps are the same
    return {
        "velocity": torch.stack([F.l1_loss(x.diff(dim=1), step) for x in (*out.recon, *out.cross)]).sum(),
        "recon": F.l1_loss(out.recon[0], units1) + F.l1_loss(out.recon[1], units2),
        "cross": F.l1_loss(out.cross[0], units1) + F.l1_loss(out.cross[1], units2),
        "shift": F.l1_loss(mov1, mov2),
        "pose": F.l1_loss(out.singles_recon, out.singles),
        "kl_ini": out.z_ini.kl(),
        "kl_mov": out.z_mov.kl(),
    }


class DUVAEModule(pl.LightningModule):
    """The dance-unit VAE.

    Args:
        z_ini, z_mov, movement_hidden, unit_hidden: sizes, see :class:`d2m.nets.du_vae.DUVAE`.
        lr: Adam's learning rate (paper: 2e-4); lr_final: the share of it that a cosine decays to (paper: 1).
        weights: one per loss term, merged over :data:`WEIGHTS`; the KL's are multiplied by the annealing.
        anneal_midpoint, anneal_slope: the KL's opening in batches; a shorter run opens it at its half.
        clip: norm at which the movement encoder and the unit decoder are clipped, each on its own.
        seed: of the noise.
    """

    def __init__(
        self,
        z_ini: int = 10,
        z_mov: int = 512,
        movement_hidden: int = 1024,
        unit_hidden: int = 1024,
        lr: float = 2e-4,
        lr_final: float = 1.0,
        weights: dict[str, float] | None = None,
        anneal_midpoint: float = 15000.0,
        anneal_slope: float = 0.0005,
        clip: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = DUVAE(z_ini, z_mov, movement_hidden, unit_hidden)
        self.weights = {**WEIGHTS, **(weights or {})}

    @property
    def batch_count(self) -> int:
        """Batches trained on so far."""
        return int(self.trainer.fit_loop.total_batch_idx)

    def annealed_weights(self, step: int, total_steps: int) -> dict[str, float]:
        """The weights at a batch: the KL terms opened by the annealing."""
        share = opening(step, total_steps, self.hparams["anneal_midpoint"], self.hparams["anneal_slope"])
        return {k: v * share if k.startswith("kl_") else v for k, v in self.weights.items()}

    def losses(self, batch: dict[str, Tensor], noise: DUVAENoise) -> dict[str, Tensor]:
        """Forward and unweighted terms of one batch."""
        out = self.net(batch["units1"], batch["units2"], noise)
        return compute_losses(out, batch["units1"], batch["units2"])

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        generator = step_generator(self, "train", batch_idx, self.hparams["seed"])
        losses = self.losses(batch, self.net.draw_noise(batch["units1"], generator))
        weights = self.annealed_weights(self.batch_count, int(self.trainer.estimated_stepping_batches))
        total = weighted_sum(losses, weights)
        log_losses(self, "train", {**losses, "loss": total}, len(batch["units1"]))
        self.log("train/kl_weight", weights["kl_mov"])
        return total

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        generator = step_generator(self, "val", batch_idx, self.hparams["seed"])
        losses = self.losses(batch, self.net.draw_noise(batch["units1"], generator))
        # The KL's full weight: a moving weight would make epochs incomparable.
        losses["loss"] = weighted_sum(losses, self.weights)
        log_losses(self, "val", losses, len(batch["units1"]))

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Each recurrent network on its own, as the reference does; the initial-pose networks are never clipped."""
        norms = clip_each([self.net.movement_encoder, self.net.unit_decoder], self.hparams["clip"])
        self.log_dict({"train/grad_movement_encoder": norms[0], "train/grad_unit_decoder": norms[1]})

    def configure_optimizers(self) -> Any:
        # One Adam over all networks takes the same steps as one per network at one learning rate.
        optimizers = [torch.optim.Adam(self.net.parameters(), lr=self.hparams["lr"], fused=True)]
        return optimizers, cosine_decay(self, optimizers, self.hparams["lr_final"])
