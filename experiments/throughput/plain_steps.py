"""Plain training steps of stages 1 and 2, from the paper: nothing cached, nothing shared, one call per pose stream.

"As released" does what the 2019 release is known to do for nothing: stage 2's losses reach the movement encoder, whose
gradients no optimizer uses. Its style loss cannot be back-propagated after the generator's update on today's PyTorch;
its gradients are therefore taken just before, through the same graph. "Needed" leaves that work out, and gives every
update a forward pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2m.nets.composition import CompositionNoise
from d2m.nets.du_vae import DUVAENoise
from d2m.nets.sizes import Sizes
from experiments.throughput.plain_networks import (
    Composed,
    Decomposition,
    Discriminator,
    Gaussian,
    Moments,
    kl,
    layers,
    sample,
)

Batch = Mapping[str, Tensor]
Losses = dict[str, Tensor]
CLIP = 0.5


def adam(*networks: nn.Module, lr: float = 2e-4) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for n in networks for p in n.parameters()], lr=lr)


def step(optimizers: Iterable[torch.optim.Optimizer], clipped: Iterable[nn.Module]) -> None:
    for network in clipped:
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    for optimizer in optimizers:
        optimizer.step()


def total(losses: Losses, weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weights[k] * v for k, v in losses.items() if weights[k]]).sum()


def normal(like: Tensor, *shape: int) -> Tensor:
    return torch.randn(*shape, device=like.device)


class PlainDUVAE(nn.Module):
    """Stage 1."""

    def __init__(self, sizes: Sizes, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.net, self.weights = Decomposition(sizes), weights
        self.optimizers = [adam(n) for n in self.net.children()]

    def draw(self, batch: Batch) -> DUVAENoise:
        b, s, like = len(batch["units1"]), self.net.sizes, batch["units1"]
        frames = torch.randperm(32)[:4].to(like.device)
        return DUVAENoise(
            normal(like, 2 * b, s.z_ini), normal(like, 2 * b, s.z_mov), normal(like, 4 * b, s.z_ini), frames
        )

    def losses(self, batch: Batch, noise: DUVAENoise) -> Losses:
        """Every stream by a call of its own: two copies, two reconstructions, two crossings, four single frames."""
        net, copies = self.net, (batch["units1"], batch["units2"])
        ini = [net.initial_pose_encoder(x[:, 0]) for x in copies]
        mov = [net.movement_encoder(x) for x in copies]
        z_ini = [sample(m, e) for m, e in zip(ini, noise.z_ini.chunk(2), strict=True)]
        z_mov = [sample(m, e) for m, e in zip(mov, noise.z_mov.chunk(2), strict=True)]
        poses = []
        for frame, eps in zip(noise.frames.tolist(), noise.z_single.chunk(4), strict=True):
            target = copies[0][:, frame]
            poses.append(F.l1_loss(net.initial_pose_decoder(sample(net.initial_pose_encoder(target), eps)), target))
        return {
            "recon": sum_of(F.l1_loss(net.unit_decoder(z_ini[i], z_mov[i]), copies[i]) for i in (0, 1)),
            "cross": sum_of(F.l1_loss(net.unit_decoder(z_ini[i], z_mov[1 - i]), copies[i]) for i in (0, 1)),
            "shift": F.l1_loss(z_mov[0], z_mov[1]),
            "pose": sum_of(poses) / 4,
            "kl_ini": sum_of(kl(m) for m in ini) / 2,
            "kl_mov": sum_of(kl(m) for m in mov) / 2,
        }

    def step(self, batch: Batch) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        total(self.losses(batch, self.draw(batch)), self.weights).backward()
        step(self.optimizers, [self.net.movement_encoder, self.net.unit_decoder])


def sum_of(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()


class Real(NamedTuple):
    """What is read from a batch of sequences (b, 3, 32, 28) and their music."""

    units: Tensor
    audio: Tensor
    style: Tensor
    z_ini: Tensor
    mov: Moments  # (b, 3, z_mov)


class PlainGAN(nn.Module):
    """Stage 2.

    Args:
        weights: of the terms in :mod:`d2m.nets.losses.mm_gan`; a term without weight is not computed.
        as_released: see the module.
    """

    def __init__(self, sizes: Sizes, weights: Mapping[str, float], as_released: bool = False) -> None:
        super().__init__()
        s, self.weights, self.as_released = sizes, weights, as_released
        self.net = net = Composed(s)
        self.movement_discriminator, self.dance_discriminator = (
            Discriminator(6 * s.z_mov, s),
            Discriminator(2 * s.z_dan, s),
        )
        self.noise_encoder = (
            Gaussian(nn.Sequential(*layers(s.z_dan + s.style, 256, 256)), 256, s.style)
            if weights["prior_dan"]
            else None
        )
        for frozen in (net.initial_pose_encoder, net.initial_pose_decoder, net.music_style):
            frozen.requires_grad_(False)
        net.movement_encoder.requires_grad_(as_released)
        self.d_optimizer = adam(self.movement_discriminator, self.dance_discriminator)
        self.encoders = adam(
            net.dance_encoder, net.style_to_dance, *([self.noise_encoder] if self.noise_encoder else [])
        )
        self.decoders = [adam(net.dance_decoder), adam(net.unit_decoder, lr=2e-5)]
        self.regressor = adam(net.style_regressor)

    def draw(self, batch: Batch) -> CompositionNoise:
        (b, u), s, like = batch["units"].shape[:2], self.net.sizes, batch["units"]
        return CompositionNoise(
            normal(like, b * u, s.z_ini),
            normal(like, b, s.z_dan),
            normal(like, b * u, s.z_mov),
            normal(like, b, s.style),
            normal(like, b, s.z_dan),
            normal(like, b, u, s.z_mov),
            normal(like, b, s.style),
        )

    def read(self, batch: Batch, noise: CompositionNoise) -> Real:
        units, music = batch["units"], batch["features"]
        flat = units.flatten(0, 1)
        with torch.no_grad():
            z_ini = sample(self.net.initial_pose_encoder(flat[:, 0]), noise.z_ini)
            style = self.net.music_style.body(music)
        with torch.set_grad_enabled(self.as_released):
            mu, logvar = (x.view(*units.shape[:2], -1) for x in self.net.movement_encoder(flat))
        return Real(units, music.mean(1), style, z_ini, (mu, logvar))

    def dance(self, real: Real, noise: CompositionNoise) -> tuple[Moments, Tensor, Moments]:
        """z_dan of the dance, its sample, and the movements again."""
        z_dan = self.net.dance_encoder(torch.cat(real.mov, dim=-1))
        z = sample(z_dan, noise.z_dan)
        return z_dan, z, self.net.dance_decoder(z)

    def music(self, real: Real, noise: CompositionNoise) -> tuple[Moments, Tensor, Moments]:
        z_dan = self.net.style_to_dance(torch.cat([real.style, noise.audio], dim=1))
        z = sample(z_dan, noise.fake_z_dan)
        return z_dan, z, self.net.dance_decoder(z)

    def judge(self, which: str, moments: Moments, real: Real, says_real: bool) -> Tensor:
        network = self.movement_discriminator if which == "mov" else self.dance_discriminator
        logits = network(torch.cat(moments, dim=-1), real.audio)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(says_real)))

    def discriminator_losses(self, real: Real, dance: Any, music: Any) -> Losses:
        if not self.weights["d_mov_real"]:
            return {}
        (dan_real, _, mov_real), (dan_fake, _, mov_fake) = (
            [tuple(y.detach() for y in x) if isinstance(x, tuple) else x for x in branch] for branch in (dance, music)
        )
        return {
            "d_mov_real": self.judge("mov", mov_real, real, True),
            "d_mov_fake": self.judge("mov", mov_fake, real, False),
            "d_dan_real": self.judge("dan", dan_real, real, True),
            "d_dan_fake": self.judge("dan", dan_fake, real, False),
        }

    def generator_losses(
        self, real: Real, noise: CompositionNoise, dance: Any, music: Any, recording: Tensor
    ) -> Losses:
        (z_dan, z, mov), (z_fake, _, mov_fake), w = dance, music, self.weights
        target = [x.detach() for x in real.mov]
        losses = {
            "kl_dan": kl(z_dan), "kl_mov": kl(mov),
            "mov_mu": F.l1_loss(mov[0], target[0]), "mov_logvar": F.l1_loss(mov[1], target[1]),
        }  # fmt: skip
        if w["recon"]:
            flat = tuple(x.flatten(0, 1) for x in mov)
            poses = self.net.unit_decoder(real.z_ini, sample((flat[0], flat[1]), noise.recon_mov))
            losses["recon"] = F.l1_loss(poses.view_as(real.units), real.units)
        if w["g_mov"]:
            losses["g_mov"] = self.judge("mov", mov_fake, real, True)
            losses["g_dan"] = self.judge("dan", z_fake, real, True)
        if w["prior_dan"]:
            losses["prior_dan"] = self.prior(real, noise, (z_dan[0].detach(), z_dan[1].detach()), z.detach())
        if w["align"]:
            losses["align"] = align(z_fake[0], z_dan[0].detach(), recording)
        return losses

    def prior(self, real: Real, noise: CompositionNoise, dance: Moments, z: Tensor) -> Tensor:
        assert self.noise_encoder is not None
        behind = self.noise_encoder(torch.cat([z, real.style], dim=1))
        mu, logvar = self.net.style_to_dance(torch.cat([real.style, sample(behind, noise.inferred)], dim=1))
        m, v = (x.float() for x in dance)
        apart = 0.5 * (logvar - v + (v.exp() + (m - mu) ** 2) / logvar.exp() - 1)
        return apart.sum(-1).mean() + kl(behind)

    def style_losses(self, real: Real, z_real: Tensor, z_fake: Tensor) -> Losses:
        if not self.weights["style_real"]:
            return {}
        regressor = self.net.style_regressor
        return {
            "style_real": F.mse_loss(regressor(z_real), real.style),
            "style_fake": F.mse_loss(regressor(z_fake), real.style),
        }

    def losses(self, batch: Batch, noise: CompositionNoise) -> Losses:
        """All of them at one set of weights."""
        real = self.read(batch, noise)
        dance, music = self.dance(real, noise), self.music(real, noise)
        return {
            **self.discriminator_losses(real, dance, music),
            **self.generator_losses(real, noise, dance, music, batch["recording"]),
            **self.style_losses(real, dance[1], music[1]),
        }

    def step(self, batch: Batch) -> None:
        noise = self.draw(batch)
        for optimizer in (self.d_optimizer, self.encoders, *self.decoders, self.regressor):
            optimizer.zero_grad()
        self.step_as_released(batch, noise) if self.as_released else self.step_as_needed(batch, noise)

    def step_as_needed(self, batch: Batch, noise: CompositionNoise) -> None:
        net, real = self.net, self.read(batch, noise)
        if self.weights["d_mov_real"]:
            with torch.no_grad():
                dance, music = self.dance(real, noise), self.music(real, noise)
            total(self.discriminator_losses(real, dance, music), self.weights).backward()
            step([self.d_optimizer], [self.movement_discriminator, self.dance_discriminator])
        dance, music = self.dance(real, noise), self.music(real, noise)
        total(self.generator_losses(real, noise, dance, music, batch["recording"]), self.weights).backward()
        inference = [self.noise_encoder] if self.noise_encoder else []
        step(
            [self.encoders, *self.decoders],
            [net.dance_encoder, net.style_to_dance, *inference, net.dance_decoder, net.unit_decoder],
        )
        if self.weights["style_real"]:
            self.encoders.zero_grad()
            z_real = sample(net.dance_encoder(torch.cat(real.mov, dim=-1)), noise.z_dan)
            z_fake = sample(net.style_to_dance(torch.cat([real.style, noise.audio], dim=1)), noise.fake_z_dan)
            total(self.style_losses(real, z_real, z_fake), self.weights).backward()
            step([self.encoders, self.regressor], [net.dance_encoder, net.style_to_dance, net.style_regressor])

    def step_as_released(self, batch: Batch, noise: CompositionNoise) -> None:
        net, real = self.net, self.read(batch, noise)
        dance, music = self.dance(real, noise), self.music(real, noise)
        total(self.discriminator_losses(real, dance, music), self.weights).backward()
        step([self.d_optimizer], [self.movement_discriminator, self.dance_discriminator])
        networks = [net.dance_encoder, net.style_to_dance, net.style_regressor]
        parameters = [p for n in networks for p in n.parameters()]
        style = total(self.style_losses(real, dance[1], music[1]), self.weights)
        gradients = torch.autograd.grad(
            style, [*parameters, *net.movement_encoder.parameters()], retain_graph=True, allow_unused=True
        )
        total(self.generator_losses(real, noise, dance, music, batch["recording"]), self.weights).backward()
        step(
            [self.encoders, *self.decoders],
            [net.dance_encoder, net.style_to_dance, net.dance_decoder, net.unit_decoder],
        )
        net.movement_encoder.zero_grad()
        for parameter, gradient in zip(parameters, gradients, strict=False):
            parameter.grad = gradient
        step([self.encoders, self.regressor], networks)


def align(music: Tensor, dance: Tensor, recording: Tensor) -> Tensor:
    """Symmetric InfoNCE at temperature 0.1; other sequences of a recording are no negatives."""
    logits = F.normalize(music.float(), dim=1) @ F.normalize(dance.float(), dim=1).T / 0.1
    own = torch.arange(len(logits), device=logits.device)
    others = (recording[:, None] == recording) & (own[:, None] != own)
    logits = logits.masked_fill(others, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
