"""Does everything train and dance right on this machine, and how fast? See README.md.

python -m experiments.gpu_check.run [device=auto|cuda|cpu] [out=outputs/gpu_check] [minutes=8] [size=full]
    [batch=256] [steps=24] [seconds=30] [rows='stage 1;generator']
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.machine import check_device
from experiments.command import arguments
from experiments.gpu_check import checks
from experiments.gpu_check.report import Report, budgeted, rounded
from experiments.made_corpus import make_corpus
from experiments.throughput.stages import rows_of
from experiments.timing import machine

#: 0 of batch, steps and seconds: what suits the device.
DEFAULTS = {
    "device": "auto", "out": "outputs/gpu_check", "minutes": 8.0, "size": "full", "batch": 0, "steps": 0, "seconds": 0,
    "rows": "all",
}  # fmt: skip
#: batch, steps and seconds of a song on a GPU, and on a CPU, whose table is of no use but shows that the script runs.
_SUITS = {"cuda": (256, 24, 30.0), "cpu": (4, 2, 7.0)}
_UNITS = 1200


def check(a: dict[str, Any]) -> dict[str, Any]:
    """Everything, within the minutes given; see :data:`DEFAULTS`."""
    device = a["device"] if a["device"] != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    kind, rows = torch.device(device).type, rows_of(a["rows"])
    batch, steps, seconds = (given or suits for given, suits in zip(
        (a["batch"], a["steps"], a["seconds"]), _SUITS[kind], strict=True
    ))  # fmt: skip
    out, began = Path(a["out"]).resolve(), time.monotonic()
    facts = machine()
    print(f"{facts['gpu'] or facts['processor']}, torch {facts['versions']['torch']}, device={device}")
    if kind == "cpu":
        print("no GPU is used: cuDNN is not checked, speed and memory say nothing of one")
    report = Report(began + 60 * a["minutes"])
    corpus = make_corpus(out / "corpus", _UNITS if kind == "cuda" else 80)
    hidden = {"full": 1024, "small": 256}.get(a["size"], 32)

    report.add("GRU gradients", lambda: checks.gru_gradients(device, hidden, min(batch, 32)))
    for name in rows:
        report.add(f"{name}: losses", lambda n=name: checks.losses_agree(n, corpus, a["size"], device, min(batch, 16)))  # type: ignore[misc]
    report.add("a resume", lambda: checks.resumes(corpus, "tiny", device, 4))
    report.add("a dance", lambda: checks.dances(out, a["size"], device, seconds))

    speeds: dict[str, Any] = {}
    print(f"\n{'trained, batch ' + str(batch):44}{'samples/s':>12}{'GFLOP/s':>10}{'of matmul':>10}{'GiB':>7}")
    for precision in ("float32", "bf16"):
        if kind == "cpu" and precision == "bf16" and not facts["bf16"] and a["size"] == "full":
            report.left_out.append("training in bf16: emulated here, hours at this size")
            continue
        matmul = checks.matmul_rate(device, precision)
        speeds[f"matmul, {precision}"] = {"GFLOP/s": matmul}
        for name in rows:
            label = f"{name}, {precision}"
            result = budgeted(
                report.until,
                lambda n=name, p=precision: checks.trains(n, corpus, a["size"], device, p, batch, steps),  # type: ignore[misc]
            )
            if not isinstance(result, dict) or not result["finite"]:
                (report.left_out if result is None else report.failed).append(label)
                print(f"{label:44}{result or 'left out: the minutes are over'}")
                continue
            flops = result["GFLOP/s of the floor"]
            result["share of matmul"] = None if flops is None else flops / matmul
            speeds[label] = result
            numbers = (result["samples/s"], flops, result["share of matmul"], result["peak GiB"])
            print(f"{label:44}" + "".join(f"{rounded(x):>{w}}" for x, w in zip(numbers, (12, 10, 10, 7), strict=True)))
    for name in report.left_out:
        print(f"left out: {name}")
    return {
        "machine": facts, "device": device, "size": a["size"], "checks": report.checks, "speeds": speeds,
        "left out": report.left_out, "failed": report.failed, "seconds": time.monotonic() - began,
    }  # fmt: skip


def main() -> None:
    """Check, and write OUT/gpu_check.json."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    settings = arguments(DEFAULTS, sys.argv[1:])
    out = Path(settings["out"]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    result = check(settings)
    write_json(out / "gpu_check.json", result)
    print(out / "gpu_check.json")
    if result["failed"]:
        raise D2MError(f"wrong on this machine: {'; '.join(result['failed'])}")


if __name__ == "__main__":
    run(main)
