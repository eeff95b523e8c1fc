"""``key=value`` arguments for the experiments, as the command lines at the top level take them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2m.cli.overrides import read_settings
from d2m.core.errors import D2MError
from d2m.core.seeds import check_seed

REPO = Path(__file__).parents[1]


def arguments(defaults: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """``defaults`` with the given ``key=value`` over them, numbers as numbers; a ``None`` default is a must.

    Raises:
        D2MError: an unknown key, a value of another type, or a missing one.
    """
    values = read_settings(defaults, given)
    if "seed" in values:
        check_seed(values["seed"])
    if values.get("permutations", 0) < 0:
        raise D2MError(f"permutations={values['permutations']}: give a whole number of at least 0")
    missing = [k for k, v in values.items() if v is None]
    if missing:
        raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}")
    return values


def call(script: str, *words: str) -> str:
    """Run a script of the top level with this Python; returns the command as one would type it.

    Raises:
        D2MError: it failed; its own message is above.
    """
    shown = " ".join(("python", script, *words))
    print(f"\n$ {shown}", flush=True)
    done = subprocess.run([sys.executable, str(REPO / script), *words], check=False)
    if done.returncode:
        raise D2MError(f"stopped: {shown} ended with exit code {done.returncode}")
    return shown
