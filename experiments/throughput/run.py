"""How fast the program is: training steps, songs, batches, reading and preparing. See README.md.

python -m experiments.throughput.run part=steps|songs|memory|batches|open|audio|workers|studio|all [out=DIR] [size=full]
    [batch=64] [repeats=7] [precision=auto|float32|bf16|both] [rows='stage 1;generator'] [threads=1]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from experiments.parts import Save, measure_parts
from experiments.timing import machine, spread

DEFAULTS = {
    "part": "steps", "out": "outputs/throughput", "size": "full", "batch": 64, "repeats": 7, "precision": "auto",
    "rows": "all", "threads": 1, "songs": 32, "seconds": "60,180", "raw": "../shared/data/ballroom", "minutes": 5.0,
}  # fmt: skip
PARTS = ("steps", "songs", "memory", "batches", "open", "audio", "workers", "studio")
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


def measure(part: str, a: Mapping[str, Any], out: Path, save: Save) -> dict[str, Any]:
    """One part's numbers; each is printed as it comes, and those of steps and songs are saved."""
    from experiments.throughput import reading

    raw = Path(a["raw"]).resolve()
    if part == "steps":
        from experiments.throughput.steps import measure_steps

        return measure_steps(out, a["size"], a["batch"], a["repeats"], precisions(a["precision"]), a["rows"], save)
    if part == "songs":
        from experiments.throughput.songs import measure_songs

        lengths = tuple(float(s) for s in str(a["seconds"]).split(","))
        return measure_songs(out, a["size"], a["repeats"], lengths, a["songs"], save)
    if part == "studio":
        from experiments.throughput.studio import measure_studio

        longest = max(float(s) for s in str(a["seconds"]).split(","))
        return measure_studio(out, a["size"], a["repeats"], a["minutes"], longest)
    numbers: dict[str, Any]
    if part == "memory":
        from experiments.throughput.memory import measure_memory

        numbers = measure_memory(out, a["size"])
    elif part == "batches":
        numbers = reading.measure_batches(out, LOADED, a["repeats"])
    elif part == "open":
        numbers = reading.measure_opening(out)
    elif part == "audio":
        numbers = reading.measure_audio(raw, _AUDIO_SECONDS)
    else:
        numbers = reading.measure_workers(raw, out, a["minutes"])
    for name, value in numbers.items():
        print(f"  {name}: {shown(value)}", flush=True)
    return numbers


def shown(value: Any) -> str:
    """One of a part's numbers."""
    if isinstance(value, Mapping):
        return f"{spread(value['per item'], 0)}x"
    return value if isinstance(value, str) else f"{value:.3g}"


if __name__ == "__main__":
    run(lambda: measure_parts(__doc__, DEFAULTS, PARTS, measure, "throughput"))
