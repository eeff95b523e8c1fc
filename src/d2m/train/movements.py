"""Movements of the whole corpus, encoded once: the movement encoder is frozen after stage 1, and units not shifted."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from d2m.core.gaussian import DiagonalGaussian
from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.data.datamodule import DanceDataModule
from d2m.nets.composition import Composition, CompositionNoise, RealUnits
from d2m.train.steps import music_of

#: Largest table; beyond it, batches are encoded one by one.
MAX_BYTES = 2**30
_CHUNK = 512


@torch.no_grad()
def encode_movements(module: pl.LightningModule) -> Tensor | None:
    """[mu, logvar] of every unit of the stage's corpus: (n, 2 z_mov), on the stage's device.

    None if the Trainer has no :class:`DanceDataModule`, or if the table would be larger than :data:`MAX_BYTES`. Units
    are encoded in chunks that do not depend on the batches, so that a resumed stage gets the same numbers.
    """
    data: Any = getattr(module.trainer, "datamodule", None)
    net = module.net
    if not isinstance(data, DanceDataModule) or not isinstance(net, Composition):
        return None
    units = data.corpus.units
    if len(units) * 8 * net.sizes.z_mov > MAX_BYTES:
        return None
    encoder = net.movement_encoder
    dtype = next(encoder.parameters()).dtype
    rows = []
    with module.trainer.precision_plugin.forward_context():
        for k in range(0, len(units), _CHUNK):
            poses = torch.from_numpy(data.corpus.normalizer.normalize_poses(units[k : k + _CHUNK]))
            rows.append(encoder(poses.to(module.device, dtype)).parameters_cat())
    return torch.cat(rows)


def read_batch(
    net: Composition, batch: dict[str, Tensor], noise: CompositionNoise, movements: Tensor | None
) -> RealUnits:
    """The frozen encoders' outputs for a batch of sequences.

    Movements are looked up in ``movements``, the table of :func:`encode_movements`; without a table, or if the batch
    has no unit indices, they are encoded here.
    """
    z_mov = None
    if movements is not None and "unit" in batch:
        ids = batch["unit"][:, None] + torch.arange(SEQUENCE_UNITS, device=movements.device)
        z_mov = DiagonalGaussian(*movements[ids].chunk(2, dim=-1))
    return net.read_real(batch["units"], music_of(batch), noise, z_mov)
