"""Experiments that measure parts, each of which can be run again by itself: one JSON keeps them all."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from d2m.core.errors import D2MError
from d2m.core.files import write_json
from experiments.command import arguments
from experiments.timing import machine

#: What a part's numbers are saved with as they come.
Save = Callable[[Mapping[str, Any]], None]


def measure_parts(
    usage: str | None,
    defaults: Mapping[str, Any],
    parts: Sequence[str],
    measure: Callable[[str, Mapping[str, Any], Path, Save], Mapping[str, Any]],
    name: str,
) -> None:
    """Read the command line, measure ``part`` or, if it is "all", every part, and write OUT/``name``.json.

    Args:
        usage: printed for --help.
        defaults: with "part", "out" and "repeats"; "threads" is 1 if absent.
        measure: (part, settings, OUT, save) -> the part's numbers.

    Raises:
        D2MError: an unknown key or part, or a number of repeats below 1.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage)
        return
    settings = arguments(defaults, sys.argv[1:])
    if settings["part"] not in (*parts, "all"):
        raise D2MError(f"part={settings['part']}: give {', '.join(parts)} or all")
    if settings["repeats"] < 1:
        raise D2MError(f"repeats={settings['repeats']}: give a whole number of at least 1")
    torch.set_num_threads(settings.get("threads", 1))
    out = Path(settings["out"]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for part in parts if settings["part"] == "all" else (settings["part"],):
        load = os.getloadavg()[0]
        print(f"{part} (load {load:.1f})", flush=True)

        def save(numbers: Mapping[str, Any], part: str = part, load: float = load) -> None:
            facts = {"load before": load, "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
            results[part] = {**results.get(part, {}), **numbers, "machine": {**machine(), **facts}}
            write_json(path, results)

        save(measure(part, settings, out, save))
    print(path)
