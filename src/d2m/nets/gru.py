"""A faster GRU for this program's use: the parameters of nn.GRU, but fewer and larger matrix products.

nn.GRU multiplies the input at every step even if it is always the same (a decoder's latent), accumulates weight
gradients step by step, casts its weights to bfloat16 at every step (Lightning disables the cache of autocast), and
saves tensors for backward even without gradients. Here the input is multiplied once, weight gradients are products over
many steps, weights are cast once per call, and inference saves nothing. See docs/adr/0073-own-gru.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from d2m.core.errors import D2MError
from d2m.nets.products import Arithmetic
from d2m.nets.recurrence import Plan, Weights, input_gates, run
from d2m.nets.row_loop import row_loop

#: "own" is this module's; "torch" is nn.GRU, on a GPU cuDNN's; "auto": "torch" on a GPU, else "own".
Backend = Literal["auto", "own", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_backend: Backend = "auto"


def set_backend(name: object) -> None:
    """Choose the implementation of all GRUs in this process from now on.

    Raises:
        D2MError: an unknown name.
    """
    global _backend
    if name not in BACKENDS:
        raise D2MError(f"gru={name}: choose from {', '.join(BACKENDS)}")
    _backend = name


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Inside the block, :func:`set_backend` to ``name``."""
    before = _backend
    set_backend(name)
    try:
        yield
    finally:
        set_backend(before)


class GRU(nn.GRU):
    """nn.GRU with ``batch_first`` and biases, computed by the backend of :func:`set_backend`.

    The parameters are those of nn.GRU, and results differ from it only by rounding. The backend "own" does not support
    double backward (RuntimeError); "torch" does.
    """

    def __init__(self, n_in: int, hidden: int, num_layers: int = 1, *, bidirectional: bool = False) -> None:
        super().__init__(n_in, hidden, num_layers, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(b, t, f), (layers * directions, b, h) -> states (b, t, directions * h), last states as ``h0``.

        Initial states of shape (layers * directions, 1, h) are shared by all rows. The returned states are a view of a
        time-major tensor: frame-wise operations are faster if they transpose them back.
        """
        if not _is_own(x):
            out: tuple[Tensor, Tensor] = super().forward(x, h0.expand(-1, len(x), -1).contiguous())
            return out
        return self._layers(x.transpose(0, 1).contiguous(), h0, None)

    def repeat(self, x: Tensor, h0: Tensor, steps: int) -> Tensor:
        """As :meth:`forward`, with the same input (b, f) at each of ``steps`` steps -> (b, steps, h)."""
        if not _is_own(x):
            every = h0.expand(-1, len(x), -1).contiguous()
            out: Tensor = super().forward(x.unsqueeze(1).expand(-1, steps, -1), every)[0]
            return out
        return self._layers(x, h0, steps)[0]

    @property
    def takes_rows(self) -> bool:
        """Whether :meth:`input_gates` and :meth:`repeat_row` can be used now: for one layer and direction in float32 on
        a CPU, without gradients or autocast."""
        weight = self._weights("l0").state
        return (
            self.num_layers == 1 and not self.bidirectional and _is_own(weight) and weight.device.type == "cpu"
            and weight.dtype == torch.float32 and not torch.is_grad_enabled() and Arithmetic.of(weight).rounded is None
        )  # fmt: skip

    def input_gates(self, x: Tensor) -> Tensor:
        """(n, f) -> (n, 4 h): all that :meth:`repeat_row` needs of each of n inputs, computed at once."""
        return input_gates(x, self._weights("l0"), Arithmetic())

    def repeat_row(self, gates: Tensor, h0: Tensor, steps: int) -> Tensor:
        """As :meth:`repeat`, up to rounding, for a single row: its :meth:`input_gates` (4 h,), (h,) -> (steps, h)."""
        out = h0.new_empty(steps, self.hidden_size)
        row_loop()(*(x.detach().contiguous().numpy() for x in (gates, h0, self._weights("l0").state, out)))
        return out

    def _weights(self, suffix: str) -> Weights:
        return Weights(*(getattr(self, f"{name}_{suffix}") for name in _PARAMETERS))

    def _layers(self, x: Tensor, h0: Tensor, steps: int | None) -> tuple[Tensor, Tensor]:
        arithmetic = Arithmetic.of(x)
        directions = 2 if self.bidirectional else 1
        h0 = h0.to(next(self.parameters()).dtype)
        lasts = []
        for layer in range(self.num_layers):
            outs = []
            for direction in range(directions):
                w = self._weights(f"l{layer}_reverse" if direction else f"l{layer}")
                plan = Plan(steps, direction == 1, h0.shape[1] < x.shape[-2], arithmetic)
                out, last = run(plan, x, h0[layer * directions + direction], w)
                outs.append(out)
                lasts.append(last)
            x, steps = torch.cat(outs, dim=-1) if directions > 1 else outs[0], None
        return x.transpose(0, 1), torch.stack(lasts)


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _is_own(x: Tensor) -> bool:
    return _backend == "own" or (_backend == "auto" and x.device.type == "cpu")
