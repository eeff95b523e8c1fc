"""The loss terms of stage 1 (Lee et al., "Dancing to Music", NeurIPS 2019, section 3.2).

A new term is a function in :data:`TERMS` and its weight in conf/model/du_vae.yaml.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.nets.du_vae import DUVAEOutput
from d2m.nets.losses import Terms


class DUVAEStep(NamedTuple):
    """Inputs of the terms: the forward pass, and the copies (b, 32, 28) that it reconstructs."""

    out: DUVAEOutput
    units1: Tensor
    units2: Tensor


def velocity(s: DUVAEStep) -> Tensor:
    """L1 of the frame-to-frame differences of recon and cross. Not in the paper; docs/adr/0005-motion-first.md."""
    step = s.units1.diff(dim=1)  # the copies differ by a constant shift, so their differences are the same
    return torch.stack([F.l1_loss(x.diff(dim=1), step) for x in (*s.out.recon, *s.out.cross)]).sum()


def recon(s: DUVAEStep) -> Tensor:
    """L1 of decode(z_ini_i, z_mov_i) to copy i, summed over the copies."""
    return F.l1_loss(s.out.recon[0], s.units1) + F.l1_loss(s.out.recon[1], s.units2)


def cross(s: DUVAEStep) -> Tensor:
    """L1 of decode(z_ini_i, z_mov_j) to copy i, summed over the copies."""
    return F.l1_loss(s.out.cross[0], s.units1) + F.l1_loss(s.out.cross[1], s.units2)


def shift(s: DUVAEStep) -> Tensor:
    """L1 between the z_mov samples of the copies: the movement must not depend on the dancer's position."""
    mov1, mov2 = s.out.z_mov_samples.chunk(2)
    return F.l1_loss(mov1, mov2)


#: Name -> term, unweighted; the names are those of the weights and of the logs.
TERMS: Terms[DUVAEStep] = {
    "velocity": velocity,
    "recon": recon,
    "cross": cross,
    "shift": shift,
    # The initial-pose autoencoder on the single frames.
    "pose": lambda s: F.l1_loss(s.out.singles_recon, s.out.singles),
    # Of both copies to N(0, I).
    "kl_ini": lambda s: s.out.z_ini.kl(),
    "kl_mov": lambda s: s.out.z_mov.kl(),
}
#: The paper's weights; terms that are not in the paper have none. The same as experiment=paper.
DEFAULT = {"recon": 1.0, "cross": 1.0, "shift": 1.0, "pose": 1.0, "kl_ini": 0.01, "kl_mov": 0.01}
