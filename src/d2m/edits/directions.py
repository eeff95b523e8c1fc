"""All edits by name, and reading directions. A new edit is a class in this folder and its name in :data:`EDITS`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.edits.axes import PrincipalAxes, RandomDirection
from d2m.edits.boundary import LinearBoundary
from d2m.edits.direction import Direction, read_direction
from d2m.edits.edit import LatentEdit
from d2m.edits.erasure import Erasure
from d2m.edits.mean_shift import MeanShift
from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.transport import GaussianTransport

#: The only list: configs, ``d2m study fit``, reports and files use these names.
EDITS: dict[str, type[LatentEdit]] = {
    kind.name: kind
    for kind in (
        MeanShift, LinearBoundary, Erasure, GaussianTransport, PrincipalAxes, RandomDirection, OptimisedEdit,
    )
}  # fmt: skip
#: Edits that can be saved to a file.
DIRECTIONS: dict[str, type[Direction]] = {n: kind for n, kind in EDITS.items() if issubclass(kind, Direction)}


def make_edit(name: str, source: str | None = None, target: str | None = None, **options: Any) -> LatentEdit:
    """An unfitted edit by its name.

    Args:
        options: its other parameters.

    Raises:
        D2MError: an unknown name, a missing or unsupported genre, the same genre twice, or an option that the edit does
            not have.
    """
    if name not in EDITS:
        raise D2MError(f"unknown edit '{name}'; choose from {', '.join(EDITS)}")
    kind = EDITS[name]
    given = {k: v for k, v in {"source": source, "target": target, **options}.items() if v is not None}
    for key in kind.needs:
        if key not in given:
            raise D2MError(f"{name} needs two genres; give {key}")
    foreign = [k for k in given if k not in kind.parameters()]
    if foreign:
        raise D2MError(f"{name} does not take {', '.join(foreign)}; it takes {', '.join(kind.parameters())}")
    if source is not None and source == target:
        raise D2MError(f"source and target are both '{source}'; give two genres")
    return kind(**given)


def make_direction(name: str, source: str | None = None, target: str | None = None, **options: Any) -> Direction:
    """As :func:`make_edit`, for edits that can be saved to a file.

    Raises:
        D2MError: see :func:`make_edit`.
    """
    if name not in DIRECTIONS:
        raise D2MError(f"unknown direction '{name}'; choose from {', '.join(DIRECTIONS)}")
    direction = make_edit(name, source, target, **options)
    assert isinstance(direction, Direction)
    return direction


def direction_between(name: str, source: str, target: str, **options: Any) -> Direction:
    """The direction of this name from source to target; genres that it does not take (erasure: source) are dropped."""
    taken = DIRECTIONS[name].parameters()
    genres = {k: v for k, v in (("source", source), ("target", target)) if k in taken}
    return make_direction(name, **genres, **options)


def load_direction(path: str | Path) -> tuple[Direction, dict[str, Any]]:
    """The direction saved in a folder (or given by one of its files), and the contents of its json.

    Raises:
        D2MError: see :func:`d2m.edits.direction.read_direction`.
    """
    return read_direction(path, DIRECTIONS)
