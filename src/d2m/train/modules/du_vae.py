"""Stage 1 as a LightningModule: decomposition (Lee et al., NeurIPS 2019, section 3.2)."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from d2m.nets.du_vae import DUVAE, DUVAENoise
from d2m.nets.losses import compute, full_weights, opening, unused, weighted_sum
from d2m.nets.losses.du_vae import DEFAULT, TERMS, DUVAEStep
from d2m.nets.sizes import Sizes
from d2m.train.optimizers import ADAM, build_optimizer, cosine_decay
from d2m.train.steps import clip_each, draw_noise, log_losses, total_batches, val_number


class DUVAEModule(pl.LightningModule):
    """The dance-unit VAE.

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`.
        optimizer: over all networks, see :func:`d2m.train.optimizers.build_optimizer` (paper: Adam, 2e-4).
        lr_final: final learning rate of the cosine schedule, as a share of the initial one (paper: 1).
        weights: of the terms in :mod:`d2m.nets.losses.du_vae`, by default the paper's; those of the KL terms are also
            multiplied by the annealing factor.
        anneal_midpoint, anneal_slope: of the KL annealing's sigmoid, in batches; the midpoint is at most half the run,
            with the slope scaled to match.
        clip: gradient norm at which the movement encoder and the unit decoder are clipped, each separately.
        seed: of the noise.
    """

    def __init__(
        self,
        sizes: dict[str, int],
        optimizer: dict[str, Any] = ADAM,
        lr_final: float = 1.0,
        weights: dict[str, float] | None = None,
        anneal_midpoint: float = 15000.0,
        anneal_slope: float = 0.0005,
        clip: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = DUVAE(Sizes.from_dict(sizes))
        self.weights = full_weights(TERMS, weights, DEFAULT)

    @property
    def batch_count(self) -> int:
        """Batches trained on so far."""
        return int(self.trainer.fit_loop.total_batch_idx)

    def annealed_weights(self, step: int, total_steps: int) -> dict[str, float]:
        """The loss weights at a batch, with annealed KL terms."""
        share = opening(step, total_steps, self.hparams["anneal_midpoint"], self.hparams["anneal_slope"])
        return {k: v * share if k.startswith("kl_") else v for k, v in self.weights.items()}

    def losses(self, batch: dict[str, Tensor], noise: DUVAENoise) -> dict[str, Tensor]:
        """Forward pass; returns unweighted terms of one batch, those of weight 0 only if validation monitors them."""
        out = self.net(batch["units1"], batch["units2"], noise)
        without = unused(self.weights) - (set() if self.training else {"recon"})
        return compute(TERMS, DUVAEStep(out, batch["units1"], batch["units2"]), without=without)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.losses(batch, draw_noise(self, self.net.draw_noise, batch["units1"], "train", batch_idx))
        weights = self.annealed_weights(self.batch_count, total_batches(self))
        total = weighted_sum(losses, weights)
        log_losses(self, "train", {**losses, "loss": total}, len(batch["units1"]))
        self.log("train/kl_weight", weights["kl_mov"])
        return total

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        number, counts = val_number(batch, batch_idx)
        losses = self.losses(batch, draw_noise(self, self.net.draw_noise, batch["units1"], "val", number))
        # The KL's final weight: with an annealed one, epochs could not be compared.
        losses["loss"] = weighted_sum(losses, self.weights)
        log_losses(self, "val", losses, len(batch["units1"]), counts)

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip each recurrent network separately, as the reference does, and the initial-pose networks not at all."""
        norms = clip_each([self.net.movement_encoder, self.net.unit_decoder], self.hparams["clip"])
        self.log_dict({"train/grad_movement_encoder": norms[0], "train/grad_unit_decoder": norms[1]})

    def configure_optimizers(self) -> Any:
        # One Adam over all networks takes the same steps as one per network at one learning rate.
        optimizers = [build_optimizer(self.hparams["optimizer"], self.net.parameters())]
        return optimizers, cosine_decay(self, optimizers, self.hparams["lr_final"], ("lr",))
