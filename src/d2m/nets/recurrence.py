"""One direction of one layer of a GRU: its steps and their gradients, in few large products.

The equations are those of nn.GRU (Cho et al., EMNLP 2014, in cuDNN's form):

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)        h' = (1 - z) n + z h

See docs/adr/0073-own-gru.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from d2m.nets.products import Arithmetic, accumulate, add_product

#: Rows (steps x batch) of one product of inputs or of weight gradients: large enough for BLAS, small in memory.
_ROWS = 2048


class Weights(NamedTuple):
    """Parameters of one direction of a layer: (3 h, f), (3 h, h), (3 h,), (3 h,), rows r, z, n."""

    input: Tensor
    state: Tensor
    input_bias: Tensor
    state_bias: Tensor


class Plan(NamedTuple):
    """How one direction of a layer is computed.

    steps: None if every step has its own input (t, b, f), otherwise the number of steps that share the input (b, f).
    shared: all rows start from the same state (1, h), so that its products are computed for one row only.
    """

    steps: int | None
    reverse: bool
    shared: bool
    arithmetic: Arithmetic

    def blocks(self, t: int, b: int) -> list[range]:
        """Steps in the order of computation, in blocks of about :data:`_ROWS` rows."""
        size = max(1, _ROWS // max(b, 1))
        order = range(t - 1, -1, -1) if self.reverse else range(t)
        return [order[k : k + size] for k in range(0, t, size)]


def _slots(gates: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(..., 4 h) -> r, z, the state's part of n before its reset, n; each (..., h)."""
    r, z, q, n = gates.chunk(4, dim=-1)
    return r, z, q, n


def _parts(gates: Tensor) -> tuple[Tensor, ...]:
    """(..., 4 h) -> views written by a step: r, z and q (..., 3 h), r and z (..., 2 h), and those of :func:`_slots`."""
    hidden = gates.shape[-1] // 4
    return gates[..., : 3 * hidden], gates[..., : 2 * hidden], *_slots(gates)


def _extent(steps: range) -> slice:
    return slice(min(steps), max(steps) + 1) if steps else slice(0, 0)


def _input_filler(w: Weights, arithmetic: Arithmetic) -> Callable[[Tensor, Tensor], None]:
    """A function fill(x, gates) that sets gates (n, 4 h), in the order of :func:`_slots`, to the share of inputs (n, f)
    and biases; the operands that all calls share are made once."""
    operand, hidden = arithmetic.operand, w.state.shape[1]
    weight = operand(w.input).mT
    # r and z only need the sum of their biases.
    bias = torch.cat([w.input_bias[: 2 * hidden] + w.state_bias[: 2 * hidden], w.state_bias[2 * hidden :],
                      w.input_bias[2 * hidden :]])  # fmt: skip

    def fill(x: Tensor, gates: Tensor) -> None:
        gates.copy_(bias)
        rows, rz, n = operand(x), gates[:, : 2 * hidden], gates[:, 3 * hidden :]
        add_product(rz, rows, weight[:, : 2 * hidden], rz)
        add_product(n, rows, weight[:, 2 * hidden :], n)

    return fill


def input_gates(x: Tensor, w: Weights, arithmetic: Arithmetic) -> Tensor:
    """(n, f) -> (n, 4 h): the share of inputs and biases in the gates, in the order of :func:`_slots`."""
    gates = w.state.new_empty(len(x), 4 * w.state.shape[1])
    _input_filler(w, arithmetic)(x, gates)
    return gates


def _forward(x: Tensor, h0: Tensor, w: Weights, plan: Plan, keep: bool) -> tuple[Tensor, Tensor | None]:
    """States (t + 1, b, h), including ``h0``, and if ``keep`` the gates of all steps (t, b, 4 h).

    The state before step k has index k, and the one after it k + 1; in reverse, k + 1 and k.
    """
    hidden = w.state.shape[1]
    t, b = (plan.steps, len(x)) if plan.steps is not None else x.shape[:2]
    states, after = x.new_empty(t + 1, b, hidden, dtype=w.state.dtype), 0 if plan.reverse else 1
    states[t if plan.reverse else 0] = h0
    operand = plan.arithmetic.operand
    w_state = operand(w.state).mT
    fill = _input_filler(w, plan.arithmetic)
    blocks = plan.blocks(t, b)
    constant = None
    if plan.steps is not None:
        constant = states.new_empty(b, 4 * hidden)
        fill(x, constant)
        constant_rzq, constant_n = constant[:, : 3 * hidden], constant[:, 3 * hidden :]
    room = t if keep else 1 if constant is not None else len(blocks[0])
    gates = states.new_empty(room, b, 4 * hidden)
    # With few rows, call overhead dominates: all views are created at once.
    every_state, every_step = states.unbind(0), [part.unbind(0) for part in _parts(gates)]
    for block in blocks:
        here = _extent(block)
        begin = 0 if keep else here.start
        if constant is None:
            fill(x[here].flatten(0, 1), gates[here.start - begin : here.stop - begin].flatten(0, 1))
        for k in block:
            slot = k - begin if keep or constant is None else 0
            rzq, rz, r, z, q, n = (part[slot] for part in every_step)
            of_input, of_n = (rzq, n) if constant is None else (constant_rzq, constant_n)
            h = every_state[k + 1 - after]
            if plan.shared and k == blocks[0][0]:
                torch.add(of_input, operand(h0) @ w_state, out=rzq)
            else:
                add_product(of_input, operand(h), w_state, rzq)
            rz.sigmoid_()
            torch.addcmul(of_n, r, q, out=n).tanh_()
            torch.lerp(n, h, z, out=every_state[k + after])
    return states, gates if keep else None


class _Recurrence(torch.autograd.Function):
    """One direction of one layer: input and initial state -> states of all steps (t, b, h), and the last one (b, h)."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, h0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        w = Weights(*weights)
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
            grads = _backward(ctx.plan, x, states, gates, w_input, w_state, grad, grad_last, need_x, any(need_weights))
        dx, dh0, *dw = grads
        return (None, dx, dh0 if need_h0 else None, *(g if need else None for g, need in zip(dw, need_weights)))


def _backward(
    plan: Plan, x: Tensor, states: Tensor, gates: Tensor, w_input: Tensor, w_state: Tensor,
    grad: Tensor | None, grad_last: Tensor | None, need_x: bool, need_weights: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of input, initial state and the four parameters, from those of all states and of the last state."""
    t, b, width = gates.shape
    hidden = width // 4
    after = 0 if plan.reverse else 1
    rounded, operand = plan.arithmetic.rounded, plan.arithmetic.operand
    low = rounded is not None and not plan.arithmetic.emulated
    wi, wh, xs = operand(w_input), operand(w_state), operand(x)
    dh = states.new_zeros(b, hidden) if grad_last is None else grad_last.clone()
    dw_input, dw_state = torch.empty_like(w_input), torch.empty_like(w_state)
    d_bias = states.new_zeros(width)
    total = states.new_zeros(b, width)  # summed over steps that share the input
    dx = states.new_empty(x.shape) if need_x else None

    def of_inputs(rows: Tensor, d: Tensor, out: Tensor | None, fresh: bool) -> None:
        """From the gates' gradients (n, 4 h): those of the input weights (added unless ``fresh``) and inputs (n, f)."""
        parts = (d[:, : 2 * hidden], slice(None, 2 * hidden)), (d[:, 3 * hidden :], slice(2 * hidden, None))
        for gate, where in parts:
            if need_weights:
                accumulate(dw_input[where], gate.mT, rows, fresh)
            if out is not None:
                accumulate(out, gate, wi[where], fresh=where.start is None)

    of_all = None  # gates' gradients of the step after a shared state, summed over rows
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


def run(plan: Plan, x: Tensor, h0: Tensor, w: Weights) -> tuple[Tensor, Tensor]:
    """States of all steps (t, b, h) and the last (b, h); saves tensors for backward only if gradients are needed."""
    if torch.is_grad_enabled() and any(v.requires_grad for v in (x, h0, *w)):
        out: tuple[Tensor, Tensor] = _Recurrence.apply(plan, x, h0, *w)
        return out
    with torch.autocast(x.device.type, enabled=False):
        states, _ = _forward(x, h0, w, plan, keep=False)
    return (states[:-1], states[0]) if plan.reverse else (states[1:], states[-1])
