"""Time of a training step: the program's under Lightning's Trainer, and in alternation with it, the plain ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from d2m.data.corpus import Corpus
from experiments.made_corpus import make_corpus
from experiments.parts import Save
from experiments.throughput.stages import (
    ROWS,
    Row,
    batches_of,
    check_equal,
    data_of,
    folder_of,
    module_of,
    plain_of,
    rows_of,
    trainer_of,
)
from experiments.timing import machine, processor_s, ratios, summary

#: Units of the made corpus: the table of movements is made before the first step, and counts for none.
N_UNITS = 240
LIGHTNING = {"float32": "32-true", "bf16": "bf16-mixed"}


class Alternate(pl.Callback):
    """Processor time of every batch of a fit, and after each the other tasks' turn; the first round warms up."""

    def __init__(self, others: Mapping[str, Callable[[], Any]]) -> None:
        self.others = others
        self.ours: list[float] = []
        self.theirs: dict[str, list[float]] = {name: [] for name in others}
        self._began = 0.0

    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        self._began = time.process_time()

    def on_train_batch_end(self, *_: Any, batch_idx: int = -1, **__: Any) -> None:
        self.ours.append(time.process_time() - self._began)
        for name, task in self.others.items():
            self.theirs[name].append(processor_s(task))


def stepper(plain: Any, batches: list[dict[str, torch.Tensor]], bf16: bool) -> Callable[[], None]:
    """A plain step on these batches in turn; under autocast as one would open it, its cache of weights on."""
    turn = 0

    def act() -> None:
        nonlocal turn
        batch = batches[turn % len(batches)]
        turn += 1
        with torch.autocast(batch_device(batch), torch.bfloat16, enabled=bf16):
            plain.step(batch)

    return act


def batch_device(batch: Mapping[str, torch.Tensor]) -> str:
    return next(iter(batch.values())).device.type


def measure_row(row: Row, size: str, corpus: Corpus, batch: int, precision: str, repeats: int) -> dict[str, Any]:
    """Both sides of one row in one precision.

    Returns:
        "ours, s", "needed, s", "as released, s" (if there is one) and, without " s", how many times faster ours is;
        each a :func:`experiments.timing.summary`. In bf16 the plain steps run in bf16 as well, and "as released" in
        float32, which is all that the 2019 release knows.
    """
    module, data = module_of(row, size, corpus), data_of(row, corpus, batch)
    given = batches_of(data, 2, "cpu")
    plain = {"needed": plain_of(row, module, False)}
    off = check_equal(row, module, plain["needed"], given[0])
    if row.released and row.stage == "mm_gan":
        plain["as released"] = plain_of(row, module, True)
        if row.paper:
            check_equal(row, module, plain["as released"], given[0])
    tasks = {name: stepper(p, given, precision == "bf16" and name == "needed") for name, p in plain.items()}
    if row.stage == "du_vae" and precision == "bf16":
        tasks["as released"] = stepper(plain_of(row, module, False), given, False)
    turns = Alternate(tasks)
    trainer_of("cpu", LIGHTNING[precision], repeats + 1, [turns]).fit(module, datamodule=data)
    ours = turns.ours[1:]
    numbers: dict[str, Any] = {"ours, s": summary(ours), "largest relative difference of a loss": max(off.values())}
    for name, took in turns.theirs.items():
        numbers[f"{name}, s"], numbers[name] = summary(took[1:]), ratios(took[1:], ours)
    return numbers


def measure_steps(
    out: Path,
    size: str,
    batch: int,
    repeats: int,
    precisions: list[str],
    rows: str,
    save: Save,
) -> dict[str, Any]:
    """The rows that ``rows`` names, or all; ``save`` is given what there is after each of them.

    Raises:
        D2MError: no such row.
    """
    chosen = rows_of(rows)
    corpus = make_corpus(folder_of(out), N_UNITS)
    numbers: dict[str, Any] = {"batch": batch, "size": size}
    for precision in precisions:
        for name in chosen:
            started = time.perf_counter()
            measured = measure_row(ROWS[name], size, corpus, batch, precision, repeats)
            numbers[f"{name}, {precision}"] = measured
            save(numbers)
            print(f"  {line(name, precision, measured)}  ({time.perf_counter() - started:.0f} s)", flush=True)
    if "bf16" in precisions and not machine()["bf16"]:
        print("  bf16: this processor emulates it; the numbers say nothing about one that has it", flush=True)
    return numbers


def line(name: str, precision: str, measured: Mapping[str, Any]) -> str:
    """A row as one line."""
    parts = [f"ours {measured['ours, s']['median']:.3g} s"]
    for other in ("needed", "as released"):
        if other in measured:
            r = measured[other]
            parts.append(f"{other} {r['median']:.2f}x ({r['low']:.2f} to {r['high']:.2f})")
    return f"{name}, {precision}: {', '.join(parts)}"
