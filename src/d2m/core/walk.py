"""The files below a folder, through links, each once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk_files(root: Path, skip: Path | None = None) -> Iterator[Path]:
    """Files below a folder, in no order; names that begin with a dot are passed over, folders that links lead back to
    are entered once."""
    entered: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root, followlinks=True):
        try:
            state = os.stat(folder)
        except OSError:
            continue
        if (state.st_dev, state.st_ino) in entered:
            names.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        kept = (n for n in names if not n.startswith(".") and Path(folder, n) != skip)
        names[:] = sorted(kept, key=lambda n: (os.path.islink(os.path.join(folder, n)), n))  # by its own name first
        yield from (Path(folder) / f for f in files if not f.startswith("."))
