"""The closed loop of a single dance on a CPU without gradients, around the compiled loop of its GRU.

What the units' inputs add to the gates and to the initial states does not depend on poses and is computed for all
units at once: besides the recurrent weights, a unit then reads only the head's. See docs/adr/0073-own-gru.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from d2m.core.skeleton import UNIT_FRAMES
from d2m.nets.du_vae import InitialPoseEncoder, UnitDecoder


def unroll_row(
    encoder: InitialPoseEncoder, decoder: UnitDecoder, z_mov: Tensor, pose: Tensor, z_ini_noise: Tensor
) -> Tensor:
    """As :meth:`d2m.nets.composition.Composition.unroll` for one dance, up to rounding.

    z_mov (u, z_mov), pose (1, 28), noise (u, z_ini) -> (u, 32, 28). The decoder's GRU must take rows now
    (:attr:`d2m.nets.gru.GRU.takes_rows`).
    """
    body, head = decoder.body, decoder.head
    of_ini, of_mov = body.initial.weight.split([z_ini_noise.shape[1], z_mov.shape[1]], dim=1)
    starts, gates = F.linear(z_mov, of_mov, body.initial.bias), body.gru.input_gates(z_mov)
    units = []
    for k in range(len(z_mov)):
        z_ini = encoder(pose).sample(z_ini_noise[k : k + 1])
        h0 = torch.addmv(starts[k], of_ini, z_ini[0])
        units.append(head(body.gru.repeat_row(gates[k], h0, UNIT_FRAMES)))
        pose = units[-1][-1:]
    return torch.stack(units)
