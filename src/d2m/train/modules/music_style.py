"""The music style stage as a LightningModule: a genre classifier whose last state is the style."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.gaussian import randn
from d2m.nets.music_style import MusicStyle
from d2m.nets.sizes import Sizes
from d2m.train.optimizers import ADAMW, build_optimizer
from d2m.train.steps import log_losses, step_generator


class MusicStyleModule(pl.LightningModule):
    """Cross-entropy over genres on 2 s windows, genres drawn uniformly (so plain accuracy is balanced in training).

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`.
        optimizer: see :func:`d2m.train.optimizers.build_optimizer`. It decays weights: the corpora that fit here have
            tens of songs, and the network memorises them.
        dropout: on the style, before the classifier.
        label_smoothing: of the cross-entropy.
        feature_noise: standard deviation of noise added to the normalised features in training.
        song_shift: standard deviation of one offset per window and feature, in training: songs differ by
            recording level and equalisation, which a network must not read as genre.
        seed: of the noise.
    """

    def __init__(
        self,
        sizes: dict[str, int],
        optimizer: dict[str, Any] = ADAMW,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        feature_noise: float = 0.0,
        song_shift: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        s = Sizes.from_dict(sizes)
        self.net = MusicStyle(s.n_genres, s.n_features, s.style)

    def augment(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Noise and offsets on normalised features (b, t, n_features)."""
        h = self.hparams
        if h["feature_noise"] > 0:
            features = features + h["feature_noise"] * randn(*features.shape, generator=generator, like=features)
        if h["song_shift"] > 0:
            b, _, f = features.shape
            features = features + h["song_shift"] * randn(b, 1, f, generator=generator, like=features)
        return features

    def loss(self, features: Tensor, genre: Tensor, generator: torch.Generator) -> Tensor:
        """Cross-entropy of augmented features (b, 30, n_features) against genres (b,)."""
        style = self.net.style(self.augment(features, generator))
        keep = 1 - self.hparams["dropout"]
        if keep < 1:  # by hand: nn.Dropout draws from the global generator, and a resumed stage would draw others
            mask = torch.rand(style.shape, generator=generator).to(style) < keep
            style = style * mask / keep
        logits = self.net.classifier(style)
        return F.cross_entropy(logits, genre, label_smoothing=self.hparams["label_smoothing"])

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        generator = step_generator(self, "train", batch_idx, self.hparams["seed"])
        loss = self.loss(batch["features"], batch["genre"], generator)
        log_losses(self, "train", {"loss": loss}, len(batch["genre"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        logits = self.net(batch["features"])
        loss = F.cross_entropy(logits, batch["genre"])
        accuracy = (logits.argmax(-1) == batch["genre"]).float().mean()
        log_losses(self, "val", {"loss": loss, "accuracy": accuracy}, len(logits))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.hparams["optimizer"], self.parameters())
