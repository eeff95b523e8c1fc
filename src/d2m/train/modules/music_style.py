"""The music style stage as a LightningModule: a genre classifier of music whose hidden state is the style.

With ``tempo`` it has a second head, so that the style also encodes how fast a song is: trained on genre alone, it
discards what differs between songs of one genre (docs/adr/0068-a-style-that-hears.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2m.core.gaussian import randn
from d2m.nets.music_style import MusicStyle
from d2m.nets.rows import ALONE, Rows
from d2m.nets.sizes import Sizes
from d2m.train.optimizers import ADAMW, build_optimizer
from d2m.train.steps import draw_noise, log_losses, rows_of, val_number


class StyleNoise(NamedTuple):
    """All noise of a batch of b windows; unused kinds have zero columns."""

    features: Tensor  # (b, 30, n_features)
    song: Tensor  # (b, 1, n_features)
    keep: Tensor  # (b, style), uniform in [0, 1)

    def rows(self, own: slice, n: int) -> StyleNoise:
        """The noise of this process's share of the batch's ``n`` windows."""
        return StyleNoise(*(x[own] for x in self))


class MusicStyleModule(pl.LightningModule):
    """Cross-entropy over genres on 2 s windows, genres drawn uniformly (so plain accuracy is balanced in training).

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`.
        optimizer: see :func:`d2m.train.optimizers.build_optimizer`. The default has weight decay: typical corpora have
            tens of songs, which the network would memorise.
        dropout: on the style, before the heads.
        label_smoothing: of the cross-entropy.
        feature_noise: standard deviation of noise added to the normalised features in training.
        song_shift: standard deviation of one offset per window and feature, in training: songs differ by
            recording level and equalisation, which a network must not take for genre.
        tempo: weight of the squared error, octaves², of the tempo predicted linearly from the style; 0: no such head
            (the paper's). Songs of unknown tempo are ignored.
        augment: ranges of :func:`d2m.music.front_ends.augment.draw_change` for the training music; None: no
            augmentation.
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
        self.style_width = s.style
        self.tempo_head = nn.Linear(s.style, 1) if tempo > 0 else None

    def draw_noise(self, features: Tensor, generator: torch.Generator) -> StyleNoise:
        """Draw the noise for a batch like ``features`` (b, 30, n_features)."""
        h, (b, t, f) = self.hparams, features.shape
        none = features.new_empty(b, 0)
        noise = randn(b, t, f, generator=generator, like=features) if h["feature_noise"] > 0 else none
        song = randn(b, 1, f, generator=generator, like=features) if h["song_shift"] > 0 else none
        keep = none
        if h["dropout"] > 0:
            keep = torch.rand(b, self.style_width, generator=generator, device=generator.device).to(features)
        return StyleNoise(noise, song, keep)

    def disturb(self, features: Tensor, noise: StyleNoise) -> Tensor:
        """Add noise and offsets to normalised features (b, t, n_features)."""
        h = self.hparams
        if h["feature_noise"] > 0:
            features = features + h["feature_noise"] * noise.features
        if h["song_shift"] > 0:
            features = features + h["song_shift"] * noise.song
        return features

    def loss(
        self, features: Tensor, genre: Tensor, noise: StyleNoise, tempo: Tensor | None = None,
        rate: Tensor | None = None, rows: Rows = ALONE,
    ) -> Tensor:  # fmt: skip
        """Loss of noisy features (b, 30, n_features) for genres (b,) and tempi (b,), in octaves above 120 BPM.

        ``rate`` (b,): octaves by which augmentation changed the tempi; a window at another tempo is left out of the
        genre loss, because genre may depend on tempo. ``rows``: which rows of the whole batch these are.
        """
        h = self.hparams
        style = self.net.style(self.disturb(features, noise))
        keep = 1 - h["dropout"]
        if keep < 1:  # not nn.Dropout: it draws from the global generator, so that a resumed stage would differ
            style = style * (noise.keep.to(style) < keep) / keep
        logits = self.net.classifier(style)
        each = F.cross_entropy(logits, genre, label_smoothing=h["label_smoothing"], reduction="none")
        loss = each.mean()
        if rate is not None:
            loss = _mean_where(each, rate == 0, rows)
        if self.tempo_head is not None and tempo is not None:
            off = (self.tempo_head(style)[:, 0] - tempo.nan_to_num()).square()
            loss = loss + h["tempo"] * _mean_where(off, tempo.isfinite(), rows)
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        noise = draw_noise(self, self.draw_noise, batch["features"], "train", batch_idx)
        rows = rows_of(self, "train")
        loss = self.loss(batch["features"], batch["genre"], noise, batch.get("tempo"), batch.get("rate"), rows)
        log_losses(self, "train", {"loss": loss}, len(batch["genre"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        logits = self.net(batch["features"])
        loss = F.cross_entropy(logits, batch["genre"])
        accuracy = (logits.argmax(-1) == batch["genre"]).float().mean()
        _, counts = val_number(batch, batch_idx)
        log_losses(self, "val", {"loss": loss, "accuracy": accuracy}, len(logits), counts)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.hparams["optimizer"], self.parameters())


def _mean_where(values: Tensor, kept: Tensor, rows: Rows) -> Tensor:
    """Mean of the kept values of (b,); 0 if none are kept.

    Averaged over the processes, this is the mean over the batch: each process divides by the mean number of kept
    values.
    """
    count = rows.mean(kept.sum().to(values)).clamp_min(1 / rows.world)
    return torch.where(kept, values, torch.zeros_like(values)).sum() / count
