"""What is checked on a new machine: gradients of the GRU, losses, a resume, a dance, and how fast stages train."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from d2m.dance.generator import DanceGenerator
from d2m.dance.together import dance_to
from d2m.data.corpus import Corpus
from d2m.nets.gru import GRU, Backend, backend
from experiments.gpu_check.report import Checked
from experiments.throughput.songs import made_song, make_bundle
from experiments.throughput.stages import ROWS, batches_of, both_losses, data_of, module_of, plain_of, trainer_of

LIGHTNING = {"float32": "32-true", "bf16": "bf16-mixed"}
#: GFLOP that the equations of one sample of full size ask for, forward and backward.
FLOOR_GFLOP = {"stage 1": 6.95, "stage 2, the paper's losses": 5.26, "stage 2, our losses": 1.91}


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference over the norm of ``b``."""
    b = b.double().cpu()
    return float((a.double().cpu() - b).norm() / b.norm().clamp_min(1e-12))


def sync(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


# --- the GRU -------------------------------------------------------------------------------------------------


def gru_gradients(device: str, hidden: int, batch: int) -> list[Checked]:
    """Gradients of every way to compute a GRU against nn.GRU in float64 on the CPU.

    Wrong norms of gradients of cuDNN's GRU were reported on an H100 (pytorch issue 150700).
    """
    torch.manual_seed(0)
    cell, x = GRU(28, hidden, bidirectional=True), torch.randn(batch, 32, 28)
    h0, ahead = torch.zeros(2, batch, hidden), torch.randn(batch, 32, 2 * hidden)

    def gradients(on: str, dtype: torch.dtype, how: Backend, bf16: bool = False) -> Tensor:
        here = GRU(28, hidden, bidirectional=True).to(on, dtype)
        here.load_state_dict({k: v.to(on, dtype) for k, v in cell.state_dict().items()})
        with backend(how):
            with torch.autocast(torch.device(on).type, torch.bfloat16, enabled=bf16):
                out, _ = here(x.to(on, dtype), h0.to(on, dtype))
            (out.to(dtype) * ahead.to(on, dtype)).sum().backward()
        return torch.cat([p.grad.flatten().double().cpu() for p in here.parameters() if p.grad is not None])

    truth = gradients("cpu", torch.float64, "torch")
    ways: list[tuple[str, Callable[[], Tensor], float]] = [
        ("own cell, float32", lambda: gradients(device, torch.float32, "own"), 1e-3),
        ("own cell, bf16", lambda: gradients(device, torch.float32, "own", True), 5e-2),
    ]
    if device.startswith("cuda"):
        ways += [
            ("cuDNN, float32", lambda: gradients(device, torch.float32, "torch"), 1e-3),
            ("cuDNN, bf16", lambda: gradients(device, torch.float32, "torch", True), 5e-2),
            ("cuDNN off, float32", lambda: _without_cudnn(lambda: gradients(device, torch.float32, "torch")), 1e-3),
        ]
    else:
        ways.append(("nn.GRU, float32", lambda: gradients(device, torch.float32, "torch"), 1e-3))
    return [Checked(f"GRU gradients, {name}", relative(way(), truth), below) for name, way, below in ways]


def _without_cudnn(act: Callable[[], Tensor]) -> Tensor:
    with torch.backends.cudnn.flags(enabled=False):
        return act()


# --- stages --------------------------------------------------------------------------------------------------


def losses_agree(name: str, corpus: Corpus, size: str, device: str, batch: int) -> list[Checked]:
    """A stage's losses on the device, in both precisions, against float32 on the CPU, noise and weights alike."""
    row = ROWS[name]
    module = module_of(row, size, corpus)
    given = batches_of(data_of(row, corpus, batch), 1, "cpu")[0]
    plain: Any = plain_of(row, module, False)
    noise = plain.draw(given)
    with torch.no_grad():
        truth, _ = both_losses(row, module, plain, given, noise)
        module, plain = module.to(device), plain.to(device)
        moved = {k: v.to(device) for k, v in given.items()}
        on_device = noise.to(device) if isinstance(noise, Tensor) else type(noise)(*(x.to(device) for x in noise))
        results = []
        for precision, below in (("float32", 1e-3), ("bf16", 2e-2)):
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
                here, _ = both_losses(row, module, plain, moved, on_device)
            off = {k: abs(float(here[k]) - float(v)) / max(abs(float(v)), 1e-2) for k, v in truth.items()}
            worst = max(off, key=lambda k: off[k])
            results.append(Checked(f"{name}: losses, {precision}", off[worst], below, f"worst: {worst}"))
    return results


class Clock(pl.Callback):
    """Seconds and losses of the batches after the first few, which compile and allocate."""

    def __init__(self, device: str, skip: int) -> None:
        self.device, self.skip = device, skip
        self.began = self.ended = 0.0
        self.n = 0

    def on_train_batch_start(self, *_: Any, batch_idx: int = -1, **__: Any) -> None:
        if self.n == self.skip:
            sync(self.device)
            self.began = time.perf_counter()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.n += 1
        sync(self.device) if self.n == self.skip else None

    def on_train_end(self, *_: Any) -> None:
        sync(self.device)
        self.ended = time.perf_counter()

    @property
    def batches_per_s(self) -> float:
        return (self.n - self.skip) / max(self.ended - self.began, 1e-9)


def trains(name: str, corpus: Corpus, size: str, device: str, precision: str, batch: int, steps: int) -> dict[str, Any]:
    """A stage trained for a few batches under Lightning: samples/s, GFLOP/s of the floor, memory, whether finite."""
    row = ROWS[name]
    module, data = module_of(row, size, corpus), data_of(row, corpus, batch)
    skip = max(1, steps // 4)
    clock = Clock(device, skip)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    trainer_of(device, LIGHTNING[precision], steps, [clock]).fit(module, datamodule=data)
    rate = batch * clock.batches_per_s
    finite = all(bool(p.isfinite().all()) for p in module.parameters())
    floor = FLOOR_GFLOP.get(name) if size == "full" else None
    return {
        "samples/s": rate, "batch": batch, "finite": finite,
        "GFLOP/s of the floor": None if floor is None else rate * floor,
        "peak GiB": torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else None,
    }  # fmt: skip


def matmul_rate(device: str, precision: str) -> float:
    """GFLOP/s of a large product of matrices: what the floors can be set against."""
    n = 8192 if device.startswith("cuda") else 256  # a CPU without bfloat16 takes seconds for more
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    a @ a
    sync(device)
    began = time.perf_counter()
    repeats = 5
    for _ in range(repeats):
        a @ a
    sync(device)
    return 2 * n**3 * repeats / (time.perf_counter() - began) / 1e9


def resumes(corpus: Corpus, size: str, device: str, batch: int) -> Checked:
    """Stage 1 for two epochs at once, and from the checkpoint after the first: the difference of the weights."""
    row = ROWS["stage 1"]

    def fit(start: Path | None, callbacks: list[pl.Callback]) -> Tensor:
        module, data = module_of(row, size, corpus), data_of(row, corpus, batch)
        trainer = trainer_of(device, LIGHTNING["float32"], 2, callbacks, max_epochs=2)
        trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        return nn.utils.parameters_to_vector(p.detach().cpu() for p in module.parameters())

    with tempfile.TemporaryDirectory() as folder:
        keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        whole = fit(None, [keep])
        again = fit(Path(folder) / "epoch=0.ckpt", [])
    note = "bit for bit" if torch.equal(whole, again) else "not bit for bit"
    return Checked("stage 1: a resume against one go", relative(again, whole), 1e-5, note)


def dances(out: Path, size: str, device: str, seconds: float) -> Checked:
    """A song's dance on the device against the CPU's: the largest distance of a joint, in pixels of a 500 px view."""
    bundle = make_bundle(out / "bundle", size)
    features, beats, frames = made_song(seconds, 28)
    danced = [
        dance_to(DanceGenerator.load(bundle, on), features, beats, frames, seed=0).poses["original"]
        for on in ("cpu", device)
    ]
    return Checked(f"a dance of {seconds:g} s against the CPU's, px", float(np.abs(danced[0] - danced[1]).max()), 1.0)
