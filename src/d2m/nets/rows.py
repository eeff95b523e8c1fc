"""Which rows of a batch this process holds, and what the rows of the other processes say.

A batch of training belongs to all processes together (docs/adr/0075-one-batch-for-all-processes.md): each holds as many
rows of it, in the order of the ranks. Losses that are means over rows need nothing from here: the mean over the
processes' means is the batch's. What looks from one row at another, or divides by a count, does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Gather(torch.autograd.Function):
    """Rows of all processes; backward keeps this process's.

    Times the number of processes: what is computed of the whole batch is the same in each of them, and the mean over
    their gradients must be the gradient, not its part.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int, world: int) -> Tensor:
        ctx.place = rank, world
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world)]
        torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rank, world = ctx.place
        return world * grads[0].chunk(world)[rank], None, None


class Rows(NamedTuple):
    """The place of this process's rows: those of process ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1

    def own(self, n: int) -> slice:
        """This process's rows of a batch of ``n``, which is a multiple of ``world``."""
        each = n // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, x: Tensor) -> Tensor:
        """(b, ...) of this process -> (world b, ...) of the batch, with gradients to this process's."""
        if self.world == 1:
            return x
        whole: Tensor = _Gather.apply(x, self.rank, self.world)  # type: ignore[no-untyped-call]
        return whole

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the processes, without gradients."""
        if self.world == 1:
            return x
        total = x.detach().clone()
        torch.distributed.all_reduce(total)
        return total / self.world


#: A batch that no other process has a part of.
ALONE = Rows()
