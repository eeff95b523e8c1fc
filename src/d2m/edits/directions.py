"""All directions by name, and reading one back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.edits.axes import PrincipalAxes, RandomDirection
from d2m.edits.boundary import LinearBoundary
from d2m.edits.direction import Direction, read_direction
from d2m.edits.erasure import Erasure
from d2m.edits.mean_shift import MeanShift
from d2m.edits.transport import GaussianTransport

DIRECTIONS: dict[str, type[Direction]] = {
    kind.name: kind for kind in (MeanShift, LinearBoundary, Erasure, GaussianTransport, PrincipalAxes, RandomDirection)
}


def make_direction(name: str, source: str | None, target: str | None, **options: Any) -> Direction:
    """An unfitted direction by its name; erasure and axes can do without genres.

    Raises:
        D2MError: an unknown name, a genre that is needed and not given, one genre twice, or an option that the
            direction does not take.
    """
    if name not in DIRECTIONS:
        raise D2MError(f"unknown direction '{name}'; choose one of {', '.join(DIRECTIONS)}")
    given = {k: v for k, v in (("source", source), ("target", target)) if v is not None}
    if name == "erasure":
        given.pop("source", None)
    elif name != "axes" and len(given) < 2:
        raise D2MError(f"{name} goes from one genre to another; give {'source' if source is None else 'target'}")
    if source is not None and source == target and name != "erasure":
        raise D2MError(f"source and target are both '{source}'; give two genres")
    try:
        return DIRECTIONS[name](**given, **options)
    except TypeError as e:
        raise D2MError(f"{name} does not take {', '.join(options)}") from e


def fit_on_songs(direction: Direction, songs: LatentTable) -> Direction:
    """Fit a direction on a table of one row per song; returns it.

    On mu, but transport on the complete draws: it maps spreads too, and what is danced to are draws. The spread of mu
    is the songs' alone, a fraction of a draw's; its map throws draws far off (docs/adr/0049-transport-on-draws.md).

    Raises:
        D2MError: see the direction's ``fit``.
    """
    k = songs.draws.shape[1]
    if isinstance(direction, GaussianTransport) and k > 1:
        return direction.fit(songs.draws.reshape(-1, songs.mu.shape[1]), np.repeat(songs.genre, k))
    return direction.fit(songs.mu.astype(np.float64), songs.genre)


def load_direction(path: str | Path) -> tuple[Direction, dict[str, Any]]:
    """The direction that a folder (or one of its files) holds, and the contents of its json.

    Raises:
        D2MError: see :func:`d2m.edits.direction.read_direction`.
    """
    return read_direction(path, DIRECTIONS)
