"""The re-scoring matrix: along every direction, how much of every attribute changes.

After the re-scoring analysis of Shen et al., InterFaceGAN, CVPR 2020, section 4.3, which edits with one attribute's
boundary and reads all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.edit_benchmark.attributes import ATTRIBUTES, HELD
from experiments.edit_benchmark.dances import ATTRIBUTE
from experiments.edit_benchmark.edits import MEAN_SHIFT, NO_EDIT, RANDOM, VARIANTS
from experiments.edit_benchmark.scores import numbers

GENRE = "genre"


def rescoring(files: Sequence[Mapping[str, Any]], length_one: int) -> dict[str, dict[str, float]]:
    """Direction -> attribute -> mean change over songs, every direction as long as the mean shift.

    An attribute's change is in standard deviations of the unedited dances over songs, and signed. The genre's is half
    the L1 distance of the judges' votes before and after (0 to 1), their mean: an attribute's direction has no target.

    Args:
        length_one: the place of strength 1 among arithmetic's strengths.
    """
    changes: dict[str, list[list[float]]] = {}
    files = numbers(list(files))
    before, spread = _unedited(files)
    for f, start in zip(files, before, strict=True):
        for r in f["rows"]:
            name = str(r["method"]).removeprefix(ATTRIBUTE)
            edits = r["method"] in (MEAN_SHIFT, RANDOM) and r["place"] == length_one
            if not (edits or r["method"].startswith(ATTRIBUTE)):
                continue
            moved = 0.5 * np.abs(np.array(r["judged"]) - np.array(start["judged"])).sum(-1).mean()
            row = [float(moved), *((r["motion"][a] - start["motion"][a]) / spread[a] for a in ATTRIBUTES)]
            changes.setdefault(GENRE if name == MEAN_SHIFT else name, []).append(row)
    order = [n for n in (GENRE, *ATTRIBUTES, RANDOM) if n in changes]
    columns = (GENRE, *ATTRIBUTES)
    return {n: dict(zip(columns, np.nanmean(changes[n], axis=0).tolist(), strict=True)) for n in order}


def _unedited(files: Sequence[Mapping[str, Any]]) -> tuple[list[Any], dict[str, float]]:
    """Every song's unedited row, and the standard deviation of every attribute over them."""
    before = [next(r for r in f["rows"] if r["method"] == NO_EDIT) for f in files]
    return before, {a: float(np.nanstd([r["motion"][a] for r in before])) or 1.0 for a in ATTRIBUTES}


def held(files: Sequence[Mapping[str, Any]], length_one: int) -> dict[str, dict[str, float]]:
    """Mean shift and its variants -> attribute -> mean absolute change at length 1, in standard deviations.

    What was projected out of the direction need not stand still in the dance: the regression is linear and the decoder
    is not.
    """
    files = numbers(list(files))
    before, spread = _unedited(files)
    changes: dict[str, list[list[float]]] = {}
    for f, start in zip(files, before, strict=True):
        for r in f["rows"]:
            if r["method"] in (MEAN_SHIFT, *VARIANTS) and r["place"] == length_one:
                row = [abs(r["motion"][a] - start["motion"][a]) / spread[a] for a in HELD]
                changes.setdefault(r["method"], []).append(row)
    return {n: dict(zip(HELD, np.nanmean(c, axis=0).tolist(), strict=True)) for n, c in changes.items()}
