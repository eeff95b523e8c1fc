"""Which rows of a batch this process has, and access to the rows of other processes.

A training batch is shared by all processes (docs/adr/0075-one-batch-for-all-processes.md): each has the same number of
rows, in the order of ranks. Losses that are means over rows do not need this module, since the mean of the processes'
means is the mean of the batch. Losses that relate rows to each other, or divide by a count, do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Gather(torch.autograd.Function):
    """Gathers the rows of all processes; backward returns this process's rows.

    They are multiplied by the number of processes: all of them compute the same loss of the whole batch, and the
    average over their gradients must be its full gradient.
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
    """The rows of process ``rank`` out of ``world``."""

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


#: A batch that is not shared with other processes.
ALONE = Rows()
