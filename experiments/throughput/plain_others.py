"""Plain steps of the stages that the paper does not have, or has but does not describe: one call per stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.composition import CompositionNoise
from d2m.nets.losses import weighted_sum
from d2m.nets.losses.generator import TERMS, ClosedLoopStep, foreign_starts
from d2m.nets.motion_style import ConvMotion, with_steps
from d2m.nets.sizes import Sizes
from d2m.train.modules.music_style import StyleNoise
from experiments.throughput.plain_networks import MusicStyle, Reader, sample
from experiments.throughput.plain_steps import Batch, Losses, PlainGAN, normal, step


class PlainGenerator(PlainGAN):
    """Closed-loop fine-tuning: movements of both branches, each unrolled by itself, unit by unit."""

    def __init__(self, sizes: Sizes, weights: Mapping[str, float], hparams: Mapping[str, Any]) -> None:
        super().__init__(sizes, {"prior_dan": 0.0})
        self.term_weights, self.hparams = weights, hparams
        self.net.requires_grad_(False)
        for network in (self.net.dance_decoder, self.net.unit_decoder):
            network.requires_grad_(True)

    def unroll(self, z_mov: Tensor, pose: Tensor, ini: Tensor) -> Tensor:
        units = []
        for k in range(z_mov.shape[1]):
            z_ini = sample(self.net.initial_pose_encoder(pose), ini[:, k])
            units.append(self.net.unit_decoder(z_ini, z_mov[:, k]))
            pose = units[-1][:, -1]
        return torch.stack(units, dim=1)

    def losses(self, batch: Batch, noise: CompositionNoise) -> Losses:
        real = self.read(batch, noise)
        b, u = real.units.shape[:2]
        (_, _, mov), (_, _, fake) = self.dance(real, noise), self.music(real, noise)
        first, due = foreign_starts(real.units, self.hparams["foreign_start"], self.hparams["recovery_frames"])
        ini = noise.z_ini.view(b, u, -1)
        dance = self.unroll(sample(mov, noise.recon_mov.view(b, u, -1)), first, ini)
        music = self.unroll(sample(fake, noise.fake_mov), first, ini)
        read = ClosedLoopStep(real.units, dance, music, DiagonalGaussian(*real.mov), DiagonalGaussian(*mov), due)
        return {name: term(read) for name, term in TERMS.items() if self.term_weights[name]}

    def step(self, batch: Batch) -> None:
        for optimizer in self.decoders:
            optimizer.zero_grad()
        weighted_sum(self.losses(batch, self.draw(batch)), self.term_weights).backward()
        step(self.decoders, [self.net.dance_decoder, self.net.unit_decoder])


class PlainMusicStyle(nn.Module):
    """Genres of 2 s of music, with the noise on features and on the style that the program's stage has."""

    def __init__(self, sizes: Sizes, hparams: Mapping[str, Any]) -> None:
        super().__init__()
        self.net, self.hparams = MusicStyle(sizes), hparams
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=3e-3)

    def draw(self, batch: Batch) -> StyleNoise:
        x = batch["features"]
        keep = torch.rand(len(x), self.net.body.hidden, device=x.device)
        return StyleNoise(normal(x, *x.shape), normal(x, len(x), 1, x.shape[2]), keep)

    def losses(self, batch: Batch, noise: StyleNoise) -> Losses:
        h = self.hparams
        x = batch["features"] + h["feature_noise"] * noise.features + h["song_shift"] * noise.song
        kept = 1 - h["dropout"]
        logits = self.net.classifier(self.net.body(x) * (noise.keep < kept) / kept)
        return {"loss": F.cross_entropy(logits, batch["genre"], label_smoothing=h["label_smoothing"])}

    def step(self, batch: Batch) -> None:
        self.optimizer.zero_grad()
        self.losses(batch, self.draw(batch))["loss"].backward()
        self.optimizer.step()


class Judge(nn.Module):
    def __init__(self, n_genres: int, hidden: int) -> None:
        super().__init__()
        self.body, self.head = Reader(56, hidden, both_ways=True), nn.Linear(2 * hidden, n_genres)

    def forward(self, units: Tensor) -> Tensor:
        return self.head(self.body(with_steps(units)))  # type: ignore[no-any-return]


class PlainMotionStyle(nn.Module):
    """Genres of units, by convolutions and by a GRU."""

    def __init__(self, n_genres: int, hparams: Mapping[str, Any]) -> None:
        super().__init__()
        self.hparams = hparams
        self.net = nn.ModuleDict({
            "guide": ConvMotion(n_genres, hparams["hidden"]), "judge": Judge(n_genres, hparams["hidden"])
        })  # fmt: skip
        self.optimizers = [torch.optim.AdamW(n.parameters(), lr=2e-3) for n in self.net.values()]

    def draw(self, batch: Batch) -> Tensor:
        return normal(batch["units"], len(batch["units"]), 1, 1)

    def losses(self, batch: Batch, noise: Tensor) -> Losses:
        units = batch["units"] * (1 + self.hparams["size_jitter"] * noise)
        smoothing = self.hparams["label_smoothing"]
        return {
            name: F.cross_entropy(network(units), batch["genre"], label_smoothing=smoothing)
            for name, network in self.net.items()
        }

    def step(self, batch: Batch) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        losses = self.losses(batch, self.draw(batch))
        (losses["guide"] + losses["judge"]).backward()
        for optimizer in self.optimizers:
            optimizer.step()
