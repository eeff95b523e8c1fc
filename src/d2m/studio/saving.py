"""Files of what the studio shows, exactly as the commands write them."""

from __future__ import annotations

import re
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out
from d2m.dance.encoding import space_of
from d2m.edits.direction import Direction, save_direction
from d2m.edits.request import EditRequest, build_edit
from d2m.studio.dances import dance_of
from d2m.studio.session import Session
from d2m.studio.state import State, StateEdit
from d2m.studio.worker import Tick


def _free(folder: Path, name: str) -> Path:
    """``name``, or the first of name-2, name-3, ... that is not there."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._") or "dance"
    n = 1
    while (path := folder / (plain if n == 1 else f"{plain}-{n}")).exists():
        n += 1
    return path


def save(out: Path, session: Session, state: State, video: bool, tick: Tick) -> list[str]:
    """npz, json, with ``video`` mp4, and the state, in a folder of their own below OUT/saved.

    Returns:
        Their paths below OUT/saved.

    Raises:
        D2MError: it cannot be danced or written.
    """
    tick("dancing")
    dance = dance_of(session.dancer, state, session.hear(state.song, tick))
    name = Path(state.song).stem
    folder = _free(out / "saved", name)
    check_out(folder)
    with appear_together(folder) as part:
        for suffix in (".npz", ".json", ".mp4") if video else (".npz", ".json"):
            tick("drawing the film" if suffix == ".mp4" else "writing")
            dance.save(part / f"{name}{suffix}")
        state.write(part / "state.json")
    return [f"{folder.name}/{p.name}" for p in sorted(folder.iterdir()) if not p.name.startswith(".")]


def save_direction_of(out: Path, session: Session, edit: StateEdit) -> Path:
    """The direction of an edit as a folder below OUT/directions, for ``edit.file=``.

    Raises:
        D2MError: an edit that is no direction.
    """
    g = session.dancer.generator
    fitted = build_edit(EditRequest.of(edit.request), g)
    if not isinstance(fitted, Direction):
        raise D2MError(f"{edit.request.get('name')}: found for one dance, it is no direction that a file could hold")
    folder = _free(out / "directions", f"{fitted.name}-{edit.request.get('target', '')}")
    return save_direction(folder, fitted, space_of(g), {"from": "d2m studio", **fitted.origin})
