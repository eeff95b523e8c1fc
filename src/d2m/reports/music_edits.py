"""Editing the music instead of the latent, the study's closing idea: how far does each edit move z_dan towards a genre?

Measures the edits of :mod:`d2m.music.transforms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.edits.direction import Direction
from d2m.music.transforms import MUSIC_EDITS, Wave

Encode = Callable[[Wave], NDArray[np.floating]]


def along(delta: NDArray[np.floating], direction: Direction, origin: NDArray[np.floating]) -> dict[str, float]:
    """How far a displacement delta (d,) from a latent ``origin`` (d,) goes along a direction.

    Returns:
        "along": displacement along the direction, in units of its shift at strength 1 (1: all the way to the other
        genre); "aside": length of the orthogonal rest, in the same unit; "cosine" with the direction.
    """
    unit = np.asarray(direction.shift(np.asarray(origin, np.float64)), np.float64)
    length = float(np.linalg.norm(unit))
    if length <= 0:
        raise D2MError("the direction does not move this latent, so nothing can be measured along it")
    d = np.asarray(delta, np.float64)
    part = float(d @ unit) / length
    rest = float(np.linalg.norm(d - part * unit / length))
    norm = float(np.linalg.norm(d))
    return {"along": part / length, "aside": rest / length, "cosine": part / norm if norm > 0 else 0.0}


def measure_music_edits(
    wave: Wave,
    encode: Encode,
    direction: Direction,
    edits: Mapping[str, Callable[[Wave], Wave]] | None = None,
) -> list[dict[str, Any]]:
    """Encode a song and its edits, and measure each displacement along the direction.

    Args:
        encode: wave -> noise-averaged z_dan (d,), the same noise for all waves.
        direction: fitted, from the song's genre to another.
        edits: label -> function; :data:`d2m.music.transforms.MUSIC_EDITS` by default.

    Returns:
        A row per edit: "edit" and the values of :func:`along`.
    """
    base = np.asarray(encode(wave), np.float64)
    rows = []
    for label, edit in (MUSIC_EDITS if edits is None else edits).items():
        rows.append({"edit": label, **along(np.asarray(encode(edit(wave)), np.float64) - base, direction, base)})
    return rows
