"""The music style stage as a LightningModule: a genre classifier whose hidden state is the style.

With ``tempo`` it has a second head, so that the style also says how fast a song is: trained on genre alone, it learns
to forget whatever differs between songs of one genre (docs/adr/0068-a-style-that-hears.md).
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
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
        dropout: on the style, before the heads.
        label_smoothing: of the cross-entropy.
        feature_noise: standard deviation of noise added to the normalised features in training.
        song_shift: standard deviation of one offset per window and feature, in training: songs differ by
            recording level and equalisation, which a network must not read as genre.
        tempo: weight of the squared error of a linear reading of tempo from the style, octaves; 0: no such head (the
            paper's). Songs of unknown tempo do not count.
        augment: ranges of :func:`d2m.music.front_ends.augment.draw_change`: the music of training is changed so; None:
            it is not.
        seed: of the noise.
    """

    def __init__(
        self,
        sizes: dict[str, Any],
        optimizer: dict[str, Any] = ADAMW,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        feature_noise: float = 0.0,
        song_shift: float = 0.0,
        tempo: float = 0.0,
        augment: dict[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        s = Sizes.from_dict(sizes)
        self.net = MusicStyle(s.n_genres, s.n_features, s.style, s.style_network)
        self.tempo_head = nn.Linear(s.style, 1) if tempo > 0 else None

    def disturb(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Noise and offsets on normalised features (b, t, n_features)."""
        h = self.hparams
        if h["feature_noise"] > 0:
            features = features + h["feature_noise"] * randn(*features.shape, generator=generator, like=features)
        if h["song_shift"] > 0:
            b, _, f = features.shape
            features = features + h["song_shift"] * randn(b, 1, f, generator=generator, like=features)
        return features

    def loss(
        self, features: Tensor, genre: Tensor, generator: torch.Generator, tempo: Tensor | None = None,
        rate: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Of disturbed features (b, 30, n_features) against genres (b,) and tempi (b,), octaves above 120 BPM.

        ``rate`` (b,): by how many octaves augmentation changed the tempi; a window at another tempo says nothing of its
        genre, which may be a matter of tempo.
        """
        h = self.hparams
        style = self.net.style(self.disturb(features, generator))
        keep = 1 - h["dropout"]
        if keep < 1:  # by hand: nn.Dropout draws from the global generator, and a resumed stage would draw others
            mask = torch.rand(style.shape, generator=generator).to(style) < keep
            style = style * mask / keep
        logits = self.net.classifier(style)
        each = F.cross_entropy(logits, genre, label_smoothing=h["label_smoothing"], reduction="none")
        loss = each.mean()
        if rate is not None:
            loss = _mean_where(each, rate == 0)
        if self.tempo_head is not None and tempo is not None:
            off = (self.tempo_head(style)[:, 0] - tempo.nan_to_num()).square()
            loss = loss + h["tempo"] * _mean_where(off, tempo.isfinite())
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        generator = step_generator(self, "train", batch_idx, self.hparams["seed"])
        loss = self.loss(batch["features"], batch["genre"], generator, batch.get("tempo"), batch.get("rate"))
        log_losses(self, "train", {"loss": loss}, len(batch["genre"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        logits = self.net(batch["features"])
        loss = F.cross_entropy(logits, batch["genre"])
        accuracy = (logits.argmax(-1) == batch["genre"]).float().mean()
        log_losses(self, "val", {"loss": loss, "accuracy": accuracy}, len(logits))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.hparams["optimizer"], self.parameters())


def _mean_where(values: Tensor, kept: Tensor) -> Tensor:
    """Mean of those values (b,) that are kept; 0 if none are."""
    return torch.where(kept, values, torch.zeros_like(values)).sum() / kept.sum().clamp_min(1)
