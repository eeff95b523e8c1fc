"""Files that a manifest names but that do not exist: reported, and refused if they are too many to be an accident."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.data.manifest import MANIFEST, Recording
from d2m.prepare.sources.coco17 import split_camera


def check_files(recordings: Sequence[Recording], raw: Path) -> None:
    """Report on stderr recordings whose files do not exist; they will be left out.

    Raises:
        D2MError: more than half of the recordings, or all (two or more) with music or of one genre.
    """
    lost = {r.name: file for r in recordings if (file := _missing(r)) is not None}
    if not lost:
        return
    kinds = {"": list(recordings), " with music": [r for r in recordings if r.audio is not None]}
    kinds |= {f" of the genre '{g}'": [r for r in recordings if r.genre == g] for g in {r.genre for r in recordings}}
    for kind, members in kinds.items():
        of_kind = [r.name for r in members if r.name in lost]
        if len(of_kind) > len(members) / 2 if not kind else 1 < len(of_kind) == len(members):
            raise D2MError(
                f"{raw / MANIFEST}: {len(of_kind)} of {len(members)} recordings{kind} name files that do not exist, "
                f"such as {os.path.relpath(lost[of_kind[0]], raw)}; correct their paths, which are relative to the "
                "manifest, or remove their lines"
            )
    name, file = next(iter(lost.items()))
    print(
        f"left out because {MANIFEST} names files that do not exist: {len(lost)} of {len(recordings)} recordings, "
        f"such as {name} ({os.path.relpath(file, raw)})",
        file=sys.stderr,
    )


def _missing(recording: Recording) -> Path | None:
    files = (split_camera(recording.pose)[0], *([] if recording.audio is None else [recording.audio]))
    return next((file for file in files if not os.path.lexists(file)), None)
