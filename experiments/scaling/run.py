"""How time and memory grow with what is given. See README.md.

python -m experiments.scaling.run part=batch|hidden|corpus|processes|memory|all [out=DIR] [base=small] [repeats=5]
    [batches=8,16,32,64] [widths=64,128,256,512] [units=3600,36000,360000] [stages=du_vae,mm_gan] [songs=8,16,32]
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from d2m.cli.command_line import run
from d2m.data.corpus import Corpus
from d2m.train.build import build_module
from d2m.train.stage import in_order
from experiments.made_corpus import make_corpus
from experiments.parts import Save, measure_parts
from experiments.scaling.peak import PARTS as USES
from experiments.scaling.peak import peak_mib
from experiments.scaling.processes import measure_processes
from experiments.throughput.stages import config, trainer_of
from experiments.timing import exponent_of, spread, summary

DEFAULTS = {
    "part": "all", "out": "outputs/scaling", "base": "small", "repeats": 5, "batches": "8,16,32,64",
    "widths": "64,128,256,512", "units": "3600,36000,360000", "stages": "du_vae,mm_gan", "songs": "8,16,32",
}  # fmt: skip
PARTS = ("batch", "hidden", "corpus", "processes", "memory")
_UNITS, _BATCH = 240, 16


class Steps(pl.Callback):
    """Processor time of every batch, from where the one before it ended: reading it counts."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = time.process_time()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        now = time.process_time()
        self.seconds.append(now - self._began)
        self._began = now


def step_seconds(stage: str, corpus: Corpus, batch: int, base: str, repeats: int, *overrides: str) -> list[float]:
    """Processor time of steps of a stage, by the program's own recipe; the first two warm up."""
    from d2m.data.datamodule import DanceDataModule

    (record,) = in_order([stage])
    torch.manual_seed(0)
    module = build_module(config(base, False, *overrides), record, len(corpus.genres), corpus.n_features)
    data = DanceDataModule(str(corpus.folder), record.items, batch_size=batch, steps_per_epoch=repeats + 2)
    steps = Steps()
    trainer_of("cpu", "32-true", repeats + 2, [steps]).fit(module, datamodule=data)
    return steps.seconds[2:]


def _numbers(text: Any) -> list[int]:
    return [int(word) for word in str(text).split(",")]


def measure(part: str, a: Mapping[str, Any], out: Path, save: Save) -> dict[str, Any]:
    """Stage (or use, in "memory") -> "x", "seconds" (or "MiB") at each, and the exponent."""
    if part == "processes":
        return measure_processes(out, str(a["base"]), a["repeats"])
    if part == "memory":
        return measure_memory(out, _numbers(a["songs"]))
    numbers: dict[str, Any] = {}
    for stage in str(a["stages"]).split(","):
        seconds: list[list[float]] = []
        x = _numbers({"batch": a["batches"], "hidden": a["widths"], "corpus": a["units"]}[part])
        for value in x:
            corpus = make_corpus(out / "corpus", value if part == "corpus" else _UNITS)
            batch = value if part == "batch" else _BATCH
            wide = [f"size.movement_hidden={value}"] if part == "hidden" else []
            if part == "corpus" and stage == "mm_gan":  # the table of movements is another matter: it is made once
                wide = ["size.movement_hidden=8"]
            seconds.append(step_seconds(stage, corpus, batch, str(a["base"]), a["repeats"], *wide))
        numbers[stage] = {"x": x, "seconds": [summary(s) for s in seconds], "exponent": exponent_of(x, seconds)}
        shown = ", ".join(f"{v}: {np.median(s):.3g} s" for v, s in zip(x, seconds, strict=True))
        print(f"  {stage}: {shown}; exponent {spread(numbers[stage]['exponent'])}", flush=True)
        save(numbers)
    return numbers


def measure_memory(out: Path, songs: list[int]) -> dict[str, Any]:
    """Peak memory of a process that prepares, extracts or evaluates, at several sizes of corpus."""
    numbers: dict[str, Any] = {}
    for use in USES:
        mib = [peak_mib(use, out / "memory", n) for n in songs]
        slope = float(np.polyfit(songs, mib, 1)[0])
        numbers[use] = {"x": songs, "MiB": mib, "MiB a song": slope}
        print(f"  {use}: {', '.join(f'{n}: {m:.0f} MiB' for n, m in zip(songs, mib, strict=True))}; {slope:.2f} a song")
    return numbers


if __name__ == "__main__":
    run(lambda: measure_parts(__doc__, DEFAULTS, PARTS, measure, "scaling"))
