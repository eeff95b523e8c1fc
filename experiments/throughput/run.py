"""How fast the program is: training steps, songs, batches, reading and preparing. See README.md.

python -m experiments.throughput.run part=steps|songs|memory|batches|open|audio|workers|all [out=DIR] [size=full]
    [batch=64] [repeats=7] [precision=auto|float32|bf16|both] [rows='stage 1;generator'] [threads=1]
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from experiments.command import arguments
from experiments.timing import machine, spread

DEFAULTS = {
    "part": "steps", "out": "outputs/throughput", "size": "full", "batch": 64, "repeats": 7, "precision": "auto",
    "rows": "all", "threads": 1, "songs": 32, "seconds": "60,180", "raw": "../shared/data/ballroom", "minutes": 5.0,
}  # fmt: skip
PARTS = ("steps", "songs", "memory", "batches", "open", "audio", "workers")
#: Items of a batch for the part "batches", which is of loading alone.
LOADED = 256
_AUDIO_SECONDS = 5.0


def precisions(asked: str) -> list[str]:
    """What to measure: by default bf16 only where the processor multiplies it itself.

    Raises:
        D2MError: another word.
    """
    choices = {"float32": ["float32"], "bf16": ["bf16"], "both": ["float32", "bf16"]}
    choices["auto"] = choices["both" if machine()["bf16"] else "float32"]
    if asked not in choices:
        raise D2MError(f"precision={asked}: give {', '.join(choices)}")
    return choices[asked]


def measure(part: str, a: Mapping[str, Any], out: Path, save: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """One part's numbers; each is printed, and the steps' are saved, as they come."""
    from experiments.throughput import reading

    raw = Path(a["raw"]).resolve()
    if part == "steps":
        from experiments.throughput.steps import measure_steps

        return measure_steps(out, a["size"], a["batch"], a["repeats"], precisions(a["precision"]), a["rows"], save)
    if part == "songs":
        from experiments.throughput.songs import measure_songs

        lengths = tuple(float(s) for s in str(a["seconds"]).split(","))
        return measure_songs(out, a["size"], a["repeats"], lengths, a["songs"])
    found: dict[str, Any]
    if part == "memory":
        from experiments.throughput.memory import measure_memory

        found = measure_memory(out, a["size"])
    elif part == "batches":
        found = reading.measure_batches(out, LOADED, a["repeats"])
    elif part == "open":
        found = reading.measure_opening(out)
    elif part == "audio":
        found = reading.measure_audio(raw, _AUDIO_SECONDS)
    else:
        found = reading.measure_workers(raw, out, a["minutes"])
    for name, value in found.items():
        print(f"  {name}: {shown(value)}", flush=True)
    return found


def shown(value: Any) -> str:
    """One of a part's numbers."""
    if isinstance(value, Mapping):
        return f"{spread(value['per item'], 0)}x"
    return value if isinstance(value, str) else f"{value:.3g}"


def main() -> None:
    """Measure ``part`` and write it into OUT/throughput.json, beside what other parts wrote there."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    settings = arguments(DEFAULTS, sys.argv[1:])
    if settings["part"] not in (*PARTS, "all"):
        raise D2MError(f"part={settings['part']}: give {', '.join(PARTS)} or all")
    if settings["repeats"] < 1:
        raise D2MError(f"repeats={settings['repeats']}: give a whole number of at least 1")
    torch.set_num_threads(settings["threads"])
    out = Path(settings["out"]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "throughput.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for part in PARTS if settings["part"] == "all" else (settings["part"],):
        load = os.getloadavg()[0]
        print(f"{part} (load {load:.1f})", flush=True)

        def save(found: Mapping[str, Any], part: str = part, load: float = load) -> None:
            facts = {"load before": load, "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
            results[part] = {**results.get(part, {}), **found, "machine": {**machine(), **facts}}
            write_json(path, results)

        save(measure(part, settings, out, save))
    print(path)


if __name__ == "__main__":
    run(main)
