"""Stage 1 on one and on two processes (gloo), the same batch in all: seconds of a step by the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.train.build import build_module
from d2m.train.processes import use_together
from d2m.train.stage import DU_VAE
from experiments.command import REPO
from experiments.made_corpus import make_corpus
from experiments.throughput.stages import config, trainer_of
from experiments.timing import spread, summary

TOTAL_BATCH = 32
_WARM = 2


class Clock(pl.Callback):
    """When every batch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def measure_processes(out: Path, base: str, repeats: int) -> dict[str, Any]:
    """Processes -> seconds of a step, and how many times faster two are; each process has one thread."""
    corpus = make_corpus(out / "corpus", 240)
    numbers: dict[str, Any] = {"total batch": TOTAL_BATCH, "cores": os.cpu_count()}
    for n in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "seconds.json"
            words = [str(corpus.folder), base, str(repeats), str(n), str(answer)]
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n}"]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(REPO), *sys.path])}
            subprocess.run([*launch, "-m", __name__, *words], check=True, env=env, stdout=subprocess.DEVNULL)
            numbers[str(n)] = summary(json.loads(answer.read_text()))
        print(f"  {n}: {spread(numbers[str(n)], 3)} s a step", flush=True)
    numbers["faster"] = numbers["1"]["median"] / numbers["2"]["median"]
    return numbers


def train(folder: str, base: str, repeats: int, n: int, answer: Path) -> None:
    """What each process does; the first writes the seconds of its steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    use_together()
    corpus, clock = Corpus.open(folder), Clock()
    module = build_module(config(base, True), DU_VAE, len(corpus.genres), corpus.n_features)
    steps = repeats + _WARM
    data = DanceDataModule(folder, DU_VAE.items, batch_size=TOTAL_BATCH, steps_per_epoch=steps)
    trainer = trainer_of("cpu", "32-true", steps, [clock], devices=n, strategy="ddp" if n > 1 else "auto")
    trainer.fit(module, datamodule=data)
    if trainer.is_global_zero:
        ends = clock.ends[_WARM - 1 :]
        answer.write_text(json.dumps([b - a for a, b in pairwise(ends)]))


if __name__ == "__main__":
    given = sys.argv[1:]
    train(given[0], given[1], int(given[2]), int(given[3]), Path(given[4]))
