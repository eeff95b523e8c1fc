"""Time that other programs disturb little: processor time, two things in alternation, medians with their spread."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m.core.machine import best_precision, git_revision, versions

#: Instruction sets that decide how fast matrices are multiplied.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")


def machine() -> dict[str, Any]:
    """Processor, its instruction sets, cores, threads in use, GPU, whether it multiplies bf16 itself, versions."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    said = dict(line.split("\t: ", 1) for line in facts.split("\n\n")[0].splitlines() if "\t: " in line)
    said = {k.strip(): v for k, v in said.items()}
    flags = said.get("flags", "").split()
    cuda = torch.cuda.is_available()
    return {
        "processor": said.get("model name", platform.processor() or platform.machine()),
        "flags": [f for f in _FLAGS if f in flags],
        "cores": facts.count("processor\t:") or None,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "bf16": best_precision() == "bf16-mixed",
        "git": git_revision(),
        "versions": versions(),
    }


def processor_s(act: Callable[[], Any]) -> float:
    """Seconds of this process's processor time, all threads together."""
    started = time.process_time()
    act()
    return time.process_time() - started


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, 10 and 90 % quantiles, and of how many."""
    low, median, high = np.percentile(np.asarray(values, np.float64), [10, 50, 90])
    return {"median": float(median), "low": float(low), "high": float(high), "n": float(len(values))}


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """How many times faster ours is: :func:`summary` of the ratios of neighbours in time."""
    return summary(np.divide(theirs, ours).tolist())


def alternate(tasks: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Name -> processor time of every repeat; the tasks take turns, after one round to warm up."""
    took: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            seconds = processor_s(task)
            if repeat:
                took[name].append(seconds)
    return took


def exponent_of(x: Sequence[float], seconds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Slope of log seconds over log x: of the medians, and its spread over 200 draws of one repeat at each x."""
    rng = np.random.default_rng(0)
    logs = [np.log(np.asarray(s, np.float64)) for s in seconds]
    slopes = [float(np.polyfit(np.log(x), [rng.choice(row) for row in logs], 1)[0]) for _ in range(200)]
    slope = summary(slopes)
    return {**slope, "median": float(np.polyfit(np.log(x), [float(np.median(row)) for row in logs], 1)[0])}


def spread(values: Mapping[str, float], digits: int = 2) -> str:
    """``1.31 (1.29 to 1.34)``."""
    median, low, high = (f"{values[k]:.{digits}f}" for k in ("median", "low", "high"))
    return f"{median} ({low} to {high})"
