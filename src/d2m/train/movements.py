"""Movements of a whole corpus, encoded once: after stage 1 the movement encoder is frozen and units are not shifted."""

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

#: A larger table is not made; batches are then encoded one by one.
MAX_BYTES = 2**30
_CHUNK = 512


@torch.no_grad()
def encode_movements(module: pl.LightningModule) -> Tensor | None:
    """[mu, logvar] of every unit of the corpus that a stage trains on: (n, 2 z_mov) on the stage's device.

    None if the Trainer has no :class:`DanceDataModule`, or if the table would be larger than :data:`MAX_BYTES`. Chunks
    do not depend on the batches, so that a resumed stage reads the same numbers.
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
    """What the frozen encoders say of a batch of sequences.

    Its movements are looked up in ``movements``, the table of :func:`encode_movements`; if there is none, or the batch
    does not name its units, they are encoded here.
    """
    z_mov = None
    if movements is not None and "unit" in batch:
        ids = batch["unit"][:, None] + torch.arange(SEQUENCE_UNITS, device=movements.device)
        z_mov = DiagonalGaussian(*movements[ids].chunk(2, dim=-1))
    return net.read_real(batch["units"], music_of(batch), noise, z_mov)
