"""The arithmetic of matrix products: that of the tensors, or that of autocast.

Under autocast, operands are rounded to bfloat16 and products are accumulated in float32. A CPU without bfloat16
instructions does this 7 to 70 times as slowly as float32 (torch 2.13, AVX2). There, operands are rounded as autocast
would round them and multiplied in float32, with equivalent results, so that ``bf16-mixed`` can be tried on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from d2m.core.machine import cpu_has_bf16


@dataclass(frozen=True)
class Arithmetic:
    """How the operands of a product are rounded.

    Attributes:
        rounded: the dtype that autocast would cast them to, or None if they are not cast.
        emulated: operands are rounded and then multiplied in float32.
    """

    rounded: torch.dtype | None = None
    emulated: bool = False

    @classmethod
    def of(cls, x: Tensor) -> Arithmetic:
        """The arithmetic for ``x`` in the current context: that of autocast if it is enabled and would cast ``x``."""
        kind = x.device.type
        if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
            return cls()
        rounded = torch.get_autocast_dtype(kind)
        return cls(rounded, kind == "cpu" and rounded == torch.bfloat16 and not cpu_has_bf16())

    def operand(self, x: Tensor) -> Tensor:
        """``x`` converted to an operand of a product."""
        if self.rounded is None:
            return x
        low = x.to(self.rounded)
        return low.float() if self.emulated else low


def accumulate(out: Tensor, a: Tensor, b: Tensor, fresh: bool = False) -> None:
    """out += a @ b, in place; operands (n, k), (k, m) of one dtype, the sum (n, m) possibly of a wider one.

    If ``fresh``, out = a @ b, ignoring its old contents.
    """
    if fresh and out.dtype == a.dtype:
        torch.mm(a, b, out=out)
    elif fresh:
        out.copy_(a @ b)
    else:
        add_product(out, a, b, out)


def add_product(base: Tensor, a: Tensor, b: Tensor, out: Tensor) -> None:
    """out = base + a @ b, with the dtypes of :func:`accumulate`; ``out`` may be ``base``."""
    if out.dtype == a.dtype:
        torch.addmm(base, a, b, out=out)
    else:
        torch.add(base, a @ b, out=out)


class _RoundedLinear(torch.autograd.Function):
    """F.linear of (n, f) and its gradients as computed by autocast, on a CPU without bfloat16 instructions."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, rounded: torch.dtype) -> Tensor:
        x, low = x.to(rounded), weight.to(rounded)
        ctx.save_for_backward(x, low)
        ctx.wide = weight.dtype  # type: ignore[attr-defined]
        with torch.autocast("cpu", enabled=False):
            out = F.linear(x.to(weight.dtype), low.to(weight.dtype), bias)
        return out.to(rounded)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wide = ctx.wide
        g = grad.to(wide)
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        with torch.autocast("cpu", enabled=False):
            return (
                g @ weight.to(wide) if need_x else None,
                g.mT @ x.to(wide) if need_weight else None,
                g.sum(0) if need_bias else None,
                None,
            )


class Linear(nn.Linear):
    """nn.Linear that flattens its input to one matrix, and is fast under autocast on any CPU.

    For an input that is not contiguous, nn.Linear computes a product per row of the first axis.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 2:
            return super().forward(x)
        arithmetic = Arithmetic.of(x)
        rows = x.flatten(0, -2)
        if arithmetic.emulated and arithmetic.rounded is not None:
            out: Tensor = _RoundedLinear.apply(rows, self.weight, self.bias, arithmetic.rounded)
        else:
            out = F.linear(rows, self.weight, self.bias)
        shaped: Tensor = out.unflatten(0, x.shape[:-1])
        return shaped
