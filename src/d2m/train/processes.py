"""Training a stage in several processes: averaging their gradients, and handling the death of one of them.

The module is not wrapped. Gradients are averaged all at once just before clipping, for any number of updates per batch
and any subset of networks: DistributedDataParallel would have to search every update's graph for unused parameters
(docs/adr/0075-one-batch-for-all-processes.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import Tensor, nn

from d2m.train.early import LOOK_SECONDS, PARENT, ended_at_once, watch_parent

#: How long a process may take to end by itself after another one failed.
GRACE_SECONDS = 40.0
#: How long a process may outlive a failed first process; those that communicate with it end by themselves.
ALONE_SECONDS = 10.0
#: Set when the run no longer needs its processes. Below: the processes started by Lightning's launcher.
_TRAINED = threading.Event()
_STARTED: list[subprocess.Popen[Any]] = []


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over the processes, in place. The same parameters must have gradients in all processes."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    for dtype in dict.fromkeys(g.dtype for g in grads):
        some = [g for g in grads if g.dtype == dtype]
        flat = torch.cat([g.flatten() for g in some])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        parts = flat.split([g.numel() for g in some])
        torch._foreach_copy_(some, [part.view_as(g) for part, g in zip(parts, some, strict=True)])


class Together(DDPStrategy):
    """DDP without the module wrapper; manual optimisation calls :func:`average_gradients` itself."""

    def configure_ddp(self) -> None:
        """Broadcast the first process's weights to all."""
        assert isinstance(self.model, nn.Module)
        with torch.no_grad():
            for x in (*self.model.parameters(), *self.model.buffers()):
                torch.distributed.broadcast(x, src=0)

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any], model: Any = None, **kwargs: Any) -> Any:
        """Step with averaged gradients, which are clipped after averaging."""
        assert self.lightning_module is not None
        if not self.lightning_module.automatic_optimization:
            return super().optimizer_step(optimizer, closure, model, **kwargs)

        def averaged() -> Any:
            out = closure()
            average_gradients(p for group in optimizer.param_groups for p in group["params"])
            return out

        return super().optimizer_step(optimizer, averaged, model, **kwargs)

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """As the base class, but integers (such as row counts that weight the losses) get an exact mean: it truncates
        them."""
        if isinstance(tensor, Tensor) and not tensor.is_floating_point():
            tensor = tensor.float()
        return super().reduce(tensor, group, reduce_op)

    def setup_environment(self) -> None:
        watch_parent()
        with ended_at_once():
            super().setup_environment()

    def _configure_launcher(self) -> None:
        super()._configure_launcher()
        if self._start_method == "popen":
            assert self.cluster_environment is not None
            self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


def use_together() -> None:
    """Make :class:`Together` the strategy for ``trainer.strategy=ddp`` and for several devices without a strategy."""
    for name, method in (("ddp", "popen"), ("ddp_spawn", "spawn"), ("ddp_fork", "fork"), ("ddp_notebook", "fork")):
        StrategyRegistry.register(name, Together, Together.__doc__, override=True, start_method=method)


def trained() -> None:
    """Training is over: from now on the death of other processes does not end this one."""
    _TRAINED.set()


@contextmanager
def no_process_left() -> Iterator[None]:
    """If the block raises, end the processes that were started in it: a sweep continues in this process."""
    try:
        yield
    except BaseException:
        trained()
        for child in _STARTED:
            with suppress(subprocess.TimeoutExpired):
                child.wait(ALONE_SECONDS)
            child.kill()
        raise
    finally:
        _STARTED.clear()


def lost(error: BaseException) -> bool:
    """Whether an exception means that another process died or does not respond."""
    text = str(error)
    return isinstance(error, RuntimeError) and (
        isinstance(error, torch.distributed.DistError) or "gloo" in text or "Connection reset by peer" in text
    )


class _Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher, which would silently kill this process too when one of its children fails."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        if self.cluster_environment.creates_processes_externally:
            return super().launch(function, *args, trainer=trainer, **kwargs)
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        os.environ[PARENT] = str(os.getpid())
        try:
            self._call_children_scripts()
        finally:
            del os.environ[PARENT]
        _TRAINED.clear()
        _STARTED.extend(self.procs)
        _Children(self.procs).start()
        # Set when the processes are started: the number of threads of each.
        return super().launch(function, *args, trainer=trainer, **kwargs)


class _Children(threading.Thread):
    """Ends this process and its children, with one line, when one of them has failed.

    It waits first: processes that communicate with a dead one usually fail by themselves, with a better message.
    """

    def __init__(self, children: Sequence[subprocess.Popen[Any]]) -> None:
        super().__init__(name="children", daemon=True)
        self.children = children

    def run(self) -> None:
        while not _TRAINED.is_set():
            codes = [child.poll() for child in self.children]
            if all(code == 0 for code in codes):
                return
            if bad := [(rank, code) for rank, code in enumerate(codes, 1) if code]:
                self._end(*bad[0])
            time.sleep(LOOK_SECONDS)

    def _end(self, rank: int, code: int) -> None:
        if _TRAINED.wait(GRACE_SECONDS):
            return
        print(f"error: process {rank} of this run ended with code {code}; the others were ended", file=sys.stderr)
        for child in self.children:
            child.kill()
        sys.stderr.flush()
        os._exit(1)
