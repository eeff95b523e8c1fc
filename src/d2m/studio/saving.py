"""Saves what the studio shows to files, identical to those of the commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out
from d2m.dance.encoding import space_of
from d2m.edits.direction import Direction, save_direction
from d2m.edits.request import EditRequest, build_edit
from d2m.export.formats import FORMATS, Export
from d2m.studio.dances import dance_of
from d2m.studio.session import Session
from d2m.studio.state import State, StateEdit
from d2m.studio.worker import Tick

VIDEO = "mp4"
#: Maximum number of files that the page links to; OpenPose has one per frame.
MAX_LISTED = 20


def _free(folder: Path, name: str) -> Path:
    """The path for ``name``, or the first of name-2, name-3, ... that does not exist."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "dance"
    n = 1
    while (path := folder / (plain if n == 1 else f"{plain}-{n}")).exists():
        n += 1
    return path


def check_also(also: object) -> tuple[str, ...]:
    """Validate what to save besides npz, json and the state: "mp4" and formats of ``d2m export``.

    Raises:
        D2MError: an unknown format.
    """
    known = (VIDEO, *FORMATS)
    if not isinstance(also, list) or any(a not in known for a in also):
        raise D2MError(f"also={also}: choose from {', '.join(known)}")
    return tuple(dict.fromkeys(also))


def save(out: Path, session: Session, state: State, also: Sequence[str], tick: Tick) -> list[str]:
    """Save npz, json, the state and the formats in ``also`` (:func:`check_also`) to a new folder below OUT/saved.

    Returns:
        Their paths below OUT/saved.

    Raises:
        D2MError: the dance cannot be generated or written.
    """
    tick("dancing")
    dance = dance_of(session.dancer, state, session.hear(state.song, tick))
    name = Path(state.song).stem
    folder = _free(out / "saved", name)
    check_out(folder)
    with appear_together(folder) as part:
        for suffix in ("npz", "json", *also):
            tick("drawing the film" if suffix == VIDEO else f"writing {suffix}")
            if suffix in FORMATS:
                Export((suffix,)).write(part, name, dance.poses)
            else:
                dance.save(part / f"{name}.{suffix}")
        state.write(part / "state.json")
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return [f"{folder.name}/{p.relative_to(folder).as_posix()}" for p in files[:MAX_LISTED]]


def save_direction_of(out: Path, session: Session, edit: StateEdit) -> Path:
    """Save an edit's direction as a folder below OUT/directions, for ``edit.file=``.

    Raises:
        D2MError: the edit is not a direction.
    """
    g = session.dancer.generator
    fitted = build_edit(EditRequest.of(edit.request), g)
    if not isinstance(fitted, Direction):
        raise D2MError(f"{edit.request.get('name')}: optimised for one dance, so it has no direction to save")
    way = [edit.request[k] for k in ("source", "target") if k in edit.request]
    if "axis" in edit.request:
        way = [int(edit.request["axis"]) + 1]
    folder = _free(out / "directions", "-".join(map(str, [fitted.name, *way])))
    return save_direction(folder, fitted, space_of(g), {"from": "d2m studio", **fitted.origin})
