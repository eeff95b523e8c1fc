"""A GRU that counts what this program asks of it: nn.GRU's parameters, fewer and larger products.

nn.GRU multiplies the input at every step even if it is the same at each (a decoder's latent), adds up weight gradients
step by step, casts its weights to bfloat16 at every step (Lightning opens autocast with its cache off), and keeps what
gradients need when none are asked for. Here the input is multiplied once, weight gradients are a product over many
steps, weights are cast once a call, and dancing keeps nothing. The equations are those of nn.GRU (Cho et al., EMNLP
2014, in cuDNN's form):

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)        h' = (1 - z) n + z h

See docs/adr/0073-own-gru.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from d2m.core.errors import D2MError
from d2m.nets.products import Arithmetic, accumulate

#: "own" is this module's; "torch" is nn.GRU, on a GPU cuDNN's; "auto": "torch" on a GPU, else "own".
Backend = Literal["auto", "own", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
#: Rows (steps x batch) of one product of inputs or of weight gradients: large enough for BLAS, small in memory.
_ROWS = 2048

_backend: Backend = "auto"


def set_backend(name: object) -> None:
    """Choose what computes every GRU of this process from now on.

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


class _Weights(NamedTuple):
    """Parameters of a layer's direction: (3 h, f), (3 h, h), (3 h,), (3 h,), rows r, z, n."""

    input: Tensor
    state: Tensor
    input_bias: Tensor
    state_bias: Tensor


class _Plan(NamedTuple):
    """How a layer's direction is computed.

    steps: None if every step has an input of its own (t, b, f), else how many see the one input (b, f).
    shared: all rows begin in one state (1, h), whose products are those of one row.
    """

    steps: int | None
    reverse: bool
    shared: bool
    arithmetic: Arithmetic

    def blocks(self, t: int, b: int) -> list[range]:
        """Steps in the order in which they are computed, by the block of about :data:`_ROWS` rows."""
        size = max(1, _ROWS // max(b, 1))
        order = range(t - 1, -1, -1) if self.reverse else range(t)
        return [order[k : k + size] for k in range(0, t, size)]


def _slots(gates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., 4 h) -> r, z, the state's part of n before its reset, n; each (..., h)."""
    r, z, q, n = gates.chunk(4, dim=-1)
    return r, z, q, n


def _extent(steps: range) -> slice:
    return slice(min(steps), max(steps) + 1) if steps else slice(0, 0)


def _forward(x: Tensor, h0: Tensor, w: _Weights, plan: _Plan, keep: bool) -> tuple[Tensor, Tensor | None]:
    """States (t + 1, b, h), ``h0`` among them, and the gates of all steps (t, b, 4 h) if they are to be kept.

    Both have one index per step; the state before step k is k, and after it k + 1; in reverse k + 1 and k.
    """
    hidden = w.state.shape[1]
    t, b = (plan.steps, len(x)) if plan.steps is not None else x.shape[:2]
    states, after = x.new_empty(t + 1, b, hidden, dtype=w.state.dtype), 0 if plan.reverse else 1
    states[t if plan.reverse else 0] = h0
    operand = plan.arithmetic.operand
    w_input, w_state = operand(w.input).mT, operand(w.state).mT
    # r and z need the sum of their biases only.
    bias = torch.cat([w.input_bias[: 2 * hidden] + w.state_bias[: 2 * hidden], w.state_bias[2 * hidden :],
                      w.input_bias[2 * hidden :]])  # fmt: skip

    def add_inputs(rows: Tensor, gates: Tensor) -> None:
        gates.copy_(bias)
        accumulate(gates[:, : 2 * hidden], operand(rows), w_input[:, : 2 * hidden])
        accumulate(gates[:, 3 * hidden :], operand(rows), w_input[:, 2 * hidden :])

    blocks = plan.blocks(t, b)
    constant = None
    if plan.steps is not None:
        constant = states.new_empty(b, 4 * hidden)
        add_inputs(x, constant)
    room = t if keep else 1 if constant is not None else len(blocks[0])
    gates = states.new_empty(room, b, 4 * hidden)
    for block in blocks:
        here = _extent(block)
        begin = 0 if keep else here.start
        if constant is None:
            add_inputs(x[here].flatten(0, 1), gates[here.start - begin : here.stop - begin].flatten(0, 1))
        for k in block:
            g = gates[k - begin] if keep or constant is None else gates[0]
            if constant is not None:
                g.copy_(constant)
            h = states[k + 1 - after]
            if plan.shared and k == blocks[0][0]:
                g[:, : 3 * hidden].add_(operand(h0) @ w_state)
            else:
                accumulate(g[:, : 3 * hidden], operand(h), w_state)
            g[:, : 2 * hidden].sigmoid_()
            r, z, q, n = _slots(g)
            n.addcmul_(r, q).tanh_()
            torch.lerp(n, h, z, out=states[k + after])
    return states, gates if keep else None


class _Recurrence(torch.autograd.Function):
    """One direction of one layer: input and first state -> states of all steps (t, b, h), and the last one (b, h)."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, x: Tensor, h0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        w = _Weights(*weights)
        with torch.autocast(x.device.type, enabled=False):
            states, gates = _forward(x, h0, w, plan, keep=True)
        assert gates is not None
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, states, gates, w.input, w.state)
        out = states[:-1] if plan.reverse else states[1:]
        return out, out[0 if plan.reverse else -1].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:
        _, need_x, need_h0, *need_weights = ctx.needs_input_grad
        x, states, gates, w_input, w_state = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            found = _backward(ctx.plan, x, states, gates, w_input, w_state, grad, grad_last, need_x, any(need_weights))
        dx, dh0, *dw = found
        return (None, dx, dh0 if need_h0 else None, *(g if need else None for g, need in zip(dw, need_weights)))


def _backward(
    plan: _Plan, x: Tensor, states: Tensor, gates: Tensor, w_input: Tensor, w_state: Tensor,
    grad: Tensor | None, grad_last: Tensor | None, need_x: bool, need_weights: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of input, first state and the four parameters, from those of all states and of the last."""
    t, b, width = gates.shape
    hidden = width // 4
    after = 0 if plan.reverse else 1
    rounded, operand = plan.arithmetic.rounded, plan.arithmetic.operand
    low = rounded is not None and not plan.arithmetic.emulated
    wi, wh, xs = operand(w_input), operand(w_state), operand(x)
    dh = states.new_zeros(b, hidden) if grad_last is None else grad_last.clone()
    dw_input, dw_state = torch.empty_like(w_input), torch.empty_like(w_state)
    d_bias = states.new_zeros(width)
    total = states.new_zeros(b, width)  # over steps that see one input
    dx = states.new_empty(x.shape) if need_x else None

    def of_inputs(rows: Tensor, d: Tensor, out: Tensor | None, fresh: bool) -> None:
        """Gates' gradients (n, 4 h) of inputs (n, f): of the input's weights, the first if ``fresh``, and of inputs."""
        parts = (d[:, : 2 * hidden], slice(None, 2 * hidden)), (d[:, 3 * hidden :], slice(2 * hidden, None))
        for gate, where in parts:
            if need_weights:
                accumulate(dw_input[where], gate.mT, rows, fresh)
            if out is not None:
                accumulate(out, gate, wi[where], fresh=where.start is None)

    of_all = None  # gates' gradients of the step after a shared state, added up over rows
    blocks = plan.blocks(t, b)
    room = states.new_empty(len(blocks[0]), b, width, dtype=rounded if low else states.dtype)
    wide = states.new_empty(b, width) if low else None
    for block in reversed(blocks):
        here = _extent(block)
        d = room[: len(block)]
        for k in reversed(block):
            if grad is not None:
                dh += grad[k]
            step = d[k - here.start]
            r, z, q, n = _slots(gates[k])
            dr, dz, dq, dn = _slots(step if wide is None else wide)
            before = states[k + 1 - after]
            torch.addcmul(dh, dh, z, value=-1, out=dn)
            torch.ops.aten.tanh_backward.grad_input(dn, n, grad_input=dn)
            torch.sub(before, n, out=dz).mul_(dh)
            torch.ops.aten.sigmoid_backward.grad_input(dz, z, grad_input=dz)
            torch.mul(dn, q, out=dr)
            torch.ops.aten.sigmoid_backward.grad_input(dr, r, grad_input=dr)
            torch.mul(dn, r, out=dq)
            if wide is not None:
                step.copy_(wide)
            elif rounded is not None:
                step.copy_(step.to(rounded))
            dh.mul_(z)
            if plan.shared and k == blocks[0][0]:
                dh = dh.sum(0, keepdim=True)
                of_all = operand(step[:, : 3 * hidden].sum(0, keepdim=True, dtype=dh.dtype))
                accumulate(dh, of_all, wh)
            else:
                accumulate(dh, step[:, : 3 * hidden], wh)
        flat = d.flatten(0, 1)
        if need_weights:
            d_bias += flat.sum(0)
            there = _extent(block[1:] if plan.shared and block is blocks[0] else block)
            before = states[there.start + 1 - after : there.stop + 1 - after]
            of_states = d[there.start - here.start : there.stop - here.start].flatten(0, 1)[:, : 3 * hidden]
            accumulate(dw_state, of_states.mT, operand(before).flatten(0, 1), fresh=block is blocks[-1])
        if plan.steps is not None:
            total += d.sum(0)
        else:
            part = None if dx is None else dx[here].flatten(0, 1)
            of_inputs(xs[here].flatten(0, 1), flat, part, fresh=block is blocks[-1])
    if of_all is not None and need_weights:
        accumulate(dw_state, of_all.mT, operand(states[-1 if plan.reverse else 0, :1]))
    if plan.steps is not None:
        of_inputs(xs, operand(total), dx, fresh=True)
    d_rz, d_q, d_n = d_bias.split([2 * hidden, hidden, hidden])
    return dx, dh, dw_input, dw_state, torch.cat([d_rz, d_n]), torch.cat([d_rz, d_q])


class GRU(nn.GRU):
    """nn.GRU with ``batch_first`` and biases, computed as :func:`set_backend` says; parameters are nn.GRU's.

    Its own arithmetic differs from nn.GRU's by rounding only. A gradient's gradient is refused by the own backend
    (RuntimeError); nn.GRU has it.
    """

    def __init__(self, n_in: int, hidden: int, num_layers: int = 1, *, bidirectional: bool = False) -> None:
        super().__init__(n_in, hidden, num_layers, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor, h0: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(b, t, f), (layers * directions, b, h) -> states (b, t, directions * h), last states as ``h0``.

        First states (layers * directions, 1, h) are those of every row. The states are a view of time-major ones: what
        treats every frame by itself had better transpose them back.
        """
        if not _is_own(x):
            out: tuple[Tensor, Tensor] = super().forward(x, h0.expand(-1, len(x), -1).contiguous())
            return out
        return self._layers(x.transpose(0, 1).contiguous(), h0, None)

    def repeat(self, x: Tensor, h0: Tensor, steps: int) -> Tensor:
        """(b, f), the same at each of ``steps`` steps, and first states as in :meth:`forward` -> (b, steps, h)."""
        if not _is_own(x):
            every = h0.expand(-1, len(x), -1).contiguous()
            out: Tensor = super().forward(x.unsqueeze(1).expand(-1, steps, -1), every)[0]
            return out
        return self._layers(x, h0, steps)[0]

    def _layers(self, x: Tensor, h0: Tensor, steps: int | None) -> tuple[Tensor, Tensor]:
        arithmetic = Arithmetic.of(x)
        directions = 2 if self.bidirectional else 1
        h0 = h0.to(next(self.parameters()).dtype)
        lasts = []
        for layer in range(self.num_layers):
            outs = []
            for direction in range(directions):
                suffix = f"l{layer}_reverse" if direction else f"l{layer}"
                w = _Weights(*(getattr(self, f"{name}_{suffix}") for name in _PARAMETERS))
                plan = _Plan(steps, direction == 1, h0.shape[1] == 1, arithmetic)
                out, last = _run(plan, x, h0[layer * directions + direction], w)
                outs.append(out)
                lasts.append(last)
            x, steps = torch.cat(outs, dim=-1) if directions > 1 else outs[0], None
        return x.transpose(0, 1), torch.stack(lasts)


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _is_own(x: Tensor) -> bool:
    return _backend == "own" or (_backend == "auto" and x.device.type == "cpu")


def _run(plan: _Plan, x: Tensor, h0: Tensor, w: _Weights) -> tuple[Tensor, Tensor]:
    """States of all steps (t, b, h) and the last (b, h); what gradients need is kept only if one is asked for."""
    if torch.is_grad_enabled() and any(v.requires_grad for v in (x, h0, *w)):
        out: tuple[Tensor, Tensor] = _Recurrence.apply(plan, x, h0, *w)
        return out
    with torch.autocast(x.device.type, enabled=False):
        states, _ = _forward(x, h0, w, plan, keep=False)
    return (states[:-1], states[0]) if plan.reverse else (states[1:], states[-1])
