"""In which arithmetic matrices are multiplied: the tensors' own, or autocast's.

Under autocast, operands are rounded to bfloat16 and products are added up in float32. A CPU without bfloat16
instructions does that 7 to 70 times as slowly as float32 (torch 2.13, AVX2): there, operands are rounded as autocast
would round them, and multiplied as float32. The numbers mean the same, so that a run of ``bf16-mixed`` can be tried on
any machine.
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
    """What operands of a product are rounded to.

    Attributes:
        rounded: the type that autocast would cast them to, or None: they stay as they are.
        emulated: they are rounded, and then multiplied as float32.
    """

    rounded: torch.dtype | None = None
    emulated: bool = False

    @classmethod
    def of(cls, x: Tensor) -> Arithmetic:
        """That of ``x`` here and now: autocast's inside its region, for what autocast would cast."""
        kind = x.device.type
        if not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
            return cls()
        rounded = torch.get_autocast_dtype(kind)
        return cls(rounded, kind == "cpu" and rounded == torch.bfloat16 and not cpu_has_bf16())

    def operand(self, x: Tensor) -> Tensor:
        """``x`` as it enters a product."""
        if self.rounded is None:
            return x
        low = x.to(self.rounded)
        return low.float() if self.emulated else low


def accumulate(out: Tensor, a: Tensor, b: Tensor, fresh: bool = False) -> None:
    """out += a @ b, in place; operands (n, k), (k, m) of one type, the sum (n, m) perhaps of a wider one.

    If ``fresh``, out = a @ b: what it held does not count.
    """
    if fresh and out.dtype == a.dtype:
        torch.mm(a, b, out=out)
    elif fresh:
        out.copy_(a @ b)
    elif out.dtype == a.dtype:
        out.addmm_(a, b)
    else:
        out.add_(a @ b)


class _RoundedLinear(torch.autograd.Function):
    """F.linear of (n, f), as autocast computes it and its gradients, on a CPU that cannot multiply bfloat16."""

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
    """nn.Linear with the same parameters; every input is one matrix, and a CPU's bfloat16 is fast.

    nn.Linear makes a product per row of the first axis of an input that is not contiguous.
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
