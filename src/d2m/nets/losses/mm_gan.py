"""The loss terms of stage 2's three updates (Lee et al., "Dancing to Music", NeurIPS 2019, section 3.3).

A new term is a function in the update's mapping and its weight in conf/model/mm_gan.yaml.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.composition import DanceBranch, MusicBranch, RealUnits
from d2m.nets.losses import Terms, bce_fake, bce_real
from d2m.nets.rows import ALONE, Rows


class Inferred(NamedTuple):
    """The noise behind the real dances (b, style), and z_dan (b, z_dan) given the music and a sample of that noise."""

    noise: DiagonalGaussian
    z_dan: DiagonalGaussian


class GANStep(NamedTuple):
    """Inputs of the discriminators' and the generator's terms."""

    real: RealUnits
    dance: DanceBranch
    music: MusicBranch
    movement_discriminator: nn.Module
    dance_discriminator: nn.Module
    recon: Tensor | None = None  # (b, u, 32, 28), re-decoded units; only if "recon" is computed
    inferred: Inferred | None = None  # only if "prior_dan" is computed
    recording: Tensor | None = None  # (b,) the recording of each sequence; None: all different
    rows: Rows = ALONE  # which rows of the batch these are

    def judge_mov(self, branch: DanceBranch | MusicBranch) -> Tensor:
        """The movement discriminator's logits (b,)."""
        assert branch.mov is not None
        logits: Tensor = self.movement_discriminator(branch.mov.parameters_cat(), self.real.audio)
        return logits

    def judge_dan(self, branch: DanceBranch | MusicBranch) -> Tensor:
        """The dance discriminator's logits (b,)."""
        logits: Tensor = self.dance_discriminator(branch.z_dan.parameters_cat(), self.real.audio)
        return logits


class StyleStep(NamedTuple):
    """Inputs of the style terms: the music's style and those regressed from both z_dan samples, all (b, style)."""

    style: Tensor
    regressor: nn.Module
    z_dan_real: Tensor
    z_dan_fake: Tensor


def recon(s: GANStep) -> Tensor:
    """L1 of re-decoded poses to the real units."""
    assert s.recon is not None
    return F.l1_loss(s.recon, s.real.units)


def prior_dan(s: GANStep) -> Tensor:
    """Upper bound on KL(z_dan of the dance, held fixed || z_dan given its music), in nats.

    E[log q(z) - log p(z | music, noise)] + KL(noise || N(0, I)), with the expectation over z_dan of the dance and over
    the noise inferred from a sample of it: the loss of a conditional VAE (Sohn et al., "Learning Structured Output
    Representation using Deep Conditional Generative Models", NeurIPS 2015).
    """
    assert s.inferred is not None
    return s.dance.z_dan.detach().kl_to(s.inferred.z_dan) + s.inferred.noise.kl()


def kl_fake_mov(s: GANStep) -> Tensor:
    """KL of the music branch's movements to N(0, I)."""
    assert s.music.mov is not None
    return s.music.mov.kl()


#: Temperature of :func:`align`; fixed, whereas CLIP learns it, starting at 0.07.
TEMPERATURE = 0.1


def align(s: GANStep) -> Tensor:
    """Symmetric InfoNCE between z_dan (mu) of the music and of its own dance within the batch, in nats.

    As in CLIP (Radford et al., ICML 2021). Other sequences of the same recording are not used as negatives;
    sequences on other processes are. No gradient flows into the dance side.
    """
    wide = torch.float64 if s.music.z_dan.mu.dtype == torch.float64 else torch.float32
    music = F.normalize(s.rows.gather(s.music.z_dan.mu.to(wide)), dim=-1)
    dance = F.normalize(s.rows.gather(s.dance.z_dan.mu.detach().to(wide)), dim=-1)
    logits = music @ dance.mT / TEMPERATURE
    own = torch.arange(len(logits), device=logits.device)
    if s.recording is not None:
        recording = s.rows.gather(s.recording)
        same = (recording[:, None] == recording) & (own[:, None] != own)
        logits = logits.masked_fill(same, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


#: BCE(real, 1) + BCE(fake, 0) for both discriminators; "real" movements are reconstructions. Branches are detached.
DISCRIMINATOR: Terms[GANStep] = {
    "d_mov_real": lambda s: bce_real(s.judge_mov(s.dance)),
    "d_mov_fake": lambda s: bce_fake(s.judge_mov(s.music)),
    "d_dan_real": lambda s: bce_real(s.judge_dan(s.dance)),
    "d_dan_fake": lambda s: bce_fake(s.judge_dan(s.music)),
}
#: Non-saturating GAN terms, KLs, and L1 of reconstructed movements and of re-decoded poses. The reference logs the
#: music branch's KLs but optimises neither; prior_dan and align are not in the paper
#: (docs/adr/0066-the-noise-behind-a-dance.md).
GENERATOR: Terms[GANStep] = {
    "recon": recon,
    "g_mov": lambda s: bce_real(s.judge_mov(s.music)),
    "g_dan": lambda s: bce_real(s.judge_dan(s.music)),
    "kl_dan": lambda s: s.dance.z_dan.kl(),
    "kl_mov": lambda s: s.dance.mov.kl(),
    "mov_mu": lambda s: F.l1_loss(s.dance.mov.mu, s.real.z_mov.mu),
    "mov_logvar": lambda s: F.l1_loss(s.dance.mov.logvar, s.real.z_mov.logvar),
    "kl_fake_dan": lambda s: s.music.z_dan.kl(),
    "kl_fake_mov": kl_fake_mov,
    "prior_dan": prior_dan,
    "align": align,
}
#: MSE between the style regressed from each z_dan sample and the style of the music.
STYLE: Terms[StyleStep] = {
    "style_real": lambda s: F.mse_loss(s.regressor(s.z_dan_real), s.style),
    "style_fake": lambda s: F.mse_loss(s.regressor(s.z_dan_fake), s.style),
}
#: Logged by the reference but not in its loss: computed whenever their inputs exist, even with weight 0.
LOGGED = frozenset({"kl_fake_dan", "kl_fake_mov"})
#: Terms that need the movements decoded by the music branch.
READ_MUSIC_MOVEMENTS = frozenset({"d_mov_real", "d_mov_fake", "g_mov", "kl_fake_mov"})

#: The paper's weights; terms that are not in its losses have none. The same as experiment=paper.
DEFAULT = {
    "d_mov_real": 1.0, "d_mov_fake": 1.0, "d_dan_real": 1.0, "d_dan_fake": 1.0,
    "recon": 10.0, "g_mov": 1.0, "g_dan": 1.0, "kl_dan": 0.01, "kl_mov": 0.01, "mov_mu": 1.0, "mov_logvar": 1.0,
    "style_real": 1.0, "style_fake": 1.0,
}  # fmt: skip
