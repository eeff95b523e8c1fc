"""Peak memory of stage 1, the program's and the plain step's, each in a process of its own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from d2m.data.corpus import Corpus
from experiments.command import REPO
from experiments.made_corpus import make_corpus
from experiments.throughput.stages import ROWS, batches_of, data_of, module_of, plain_of, trainer_of

#: The paper's.
BATCH = 256
_STEPS = 2


def measure_memory(out: Path, size: str, batch: int = BATCH) -> dict[str, Any]:
    """ "ours, GiB" and "plain, GiB": the largest resident memory of a process that trains stage 1 for two steps."""
    corpus = make_corpus(out / "corpus", 240)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), *sys.path])}
    numbers: dict[str, Any] = {"size": size, "batch": batch}
    for who in ("ours", "plain"):
        words = [sys.executable, "-m", __name__, who, str(corpus.folder), size, str(batch)]
        done = subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True)
        numbers[f"{who}, GiB"] = int(done.stdout.split()[-1]) / 2**20
    return numbers


def train(who: str, folder: str, size: str, batch: int) -> None:
    torch.set_num_threads(1)
    row, corpus = ROWS["stage 1"], Corpus.open(folder)
    module, data = module_of(row, size, corpus), data_of(row, corpus, batch)
    if who == "ours":
        trainer_of("cpu", "32-true", _STEPS, []).fit(module, datamodule=data)
    else:
        plain: Any = plain_of(row, module, False)
        del module
        for _ in range(_STEPS):
            plain.step(batches_of(data, 1, "cpu")[0])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
