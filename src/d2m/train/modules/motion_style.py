"""The optional stage motion_style as a LightningModule: genre classifiers of motion that guide and judge edits."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.errors import D2MError
from d2m.core.gaussian import randn
from d2m.nets.motion_style import MotionStyle
from d2m.nets.sizes import MotionSizes, Sizes, sizes_in
from d2m.train.metrics import BalancedAccuracy
from d2m.train.optimizers import ADAMW, build_optimizer
from d2m.train.steps import draw_noise, log_losses, val_number


class SizeNoise(NamedTuple):
    """The noise of a batch of b units."""

    size: Tensor  # (b, 1, 1)

    def rows(self, own: slice, n: int) -> SizeNoise:
        """The noise of this process's share of the batch's ``n`` units."""
        return SizeNoise(self.size[own])


class MotionStyleModule(pl.LightningModule):
    """Cross-entropy over genres on single real units, genres drawn uniformly; guide and judge are trained together.

    Args:
        sizes: plain :class:`d2m.nets.sizes.Sizes`, of which only ``n_genres`` matters here.
        hidden: width of guide and judge.
        optimizer: see :func:`d2m.train.optimizers.build_optimizer`.
        label_smoothing: of the cross-entropy; the guide then never saturates and keeps a gradient.
        size_jitter: standard deviation of a scale factor (1 + jitter) per unit in training: dancers and cameras differ
            in scale, which must not be taken for genre.
        seed: of the noise.
    """

    def __init__(
        self,
        sizes: dict[str, int],
        hidden: int = 48,
        optimizer: dict[str, Any] = ADAMW,
        label_smoothing: float = 0.05,
        size_jitter: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        n_genres = Sizes.from_dict(sizes).n_genres
        self.net = MotionStyle(MotionSizes(n_genres, hidden))
        # Over the whole pass and all ranks: the mean of the batches' balanced accuracies is not a balanced accuracy.
        self.guide_accuracy, self.judge_accuracy = BalancedAccuracy(n_genres), BalancedAccuracy(n_genres)

    def draw_noise(self, units: Tensor, generator: torch.Generator) -> SizeNoise:
        """Draw the noise for a batch like ``units`` (b, 32, 28)."""
        return SizeNoise(randn(len(units), 1, 1, generator=generator, like=units))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        units = batch["units"]
        scale = 1 + self.hparams["size_jitter"] * draw_noise(self, self.draw_noise, units, "train", batch_idx).size
        guide, judge = (
            F.cross_entropy(logits, batch["genre"], label_smoothing=self.hparams["label_smoothing"])
            for logits in self.net(units * scale)
        )
        loss = guide + judge
        log_losses(self, "train", {"loss": loss, "guide": guide, "judge": judge}, len(units))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        genre = batch["genre"]
        logits = self.net(batch["units"])
        loss = sum((F.cross_entropy(x, genre) for x in logits), torch.zeros((), device=genre.device))
        _, counts = val_number(batch, batch_idx)
        for accuracy, x in zip((self.guide_accuracy, self.judge_accuracy), logits, strict=True):
            accuracy.update(x[: len(x) * counts], genre[: len(x) * counts])
        self.log_dict({"val/guide_accuracy": self.guide_accuracy, "val/balanced_accuracy": self.judge_accuracy})
        log_losses(self, "val", {"loss": loss}, len(genre), counts)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.hparams["optimizer"], self.parameters())


def read_motion_style(checkpoint: Path, n_genres: int | None = None) -> MotionStyle:
    """The classifier of a motion_style checkpoint, frozen.

    Raises:
        D2MError: no such checkpoint, or its number of genres is not ``n_genres``.
    """
    try:
        ckpt = torch.load(checkpoint, map_location="cpu", weights_only=True)
        hparams = ckpt["hyper_parameters"]
        net = MotionStyle(MotionSizes(sizes_in(hparams)["n_genres"], hparams["hidden"]))
        net.load_state_dict({k[4:]: v for k, v in ckpt["state_dict"].items() if k.startswith("net.")}, strict=True)
    except (OSError, KeyError, RuntimeError, UnpicklingError, D2MError) as e:
        raise D2MError(f"{checkpoint}: not a checkpoint of stage motion_style ({type(e).__name__})") from e
    if n_genres is not None and net.sizes.n_genres != n_genres:
        raise D2MError(f"{checkpoint}: classifies {net.sizes.n_genres} genres, but the corpus has {n_genres}")
    return net.eval().requires_grad_(False)
