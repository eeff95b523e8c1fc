"""A raw corpus without one genre: a manifest.csv with fewer rows, whose paths lead back to the whole one (README.md).

python -m experiments.fourth_genre.split raw=DIR out=DIR leave=GENRE
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, check_out
from d2m.data.manifest import COLUMNS, MANIFEST, OPTIONAL, read_manifest
from experiments.command import arguments


def without(raw: Path, out: Path, leave: str) -> int:
    """Write ``out/manifest.csv``; returns how many recordings are left.

    Groups are written out, so that a split with the same seed holds out the songs that it does in the whole corpus.

    Raises:
        D2MError: no manifest, no recording of this genre, none of another, or ``out`` is the whole corpus itself.
    """
    everything = read_manifest(raw)
    kept = [r for r in everything if r.genre != leave]
    if not 0 < len(kept) < len(everything):
        genres = ", ".join(sorted({r.genre for r in everything}))
        raise D2MError(f"leave={leave}: give one of several genres; {raw} has {genres}")
    check_out(out)
    if (out / MANIFEST).exists() and (out / MANIFEST).samefile(raw / MANIFEST):
        raise D2MError(f"out={out}: is the whole corpus; choose another folder")
    with atomic_path(out / MANIFEST) as temp, open(temp, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow((*COLUMNS, *OPTIONAL))
        for r in kept:
            audio = r.audio.resolve() if r.audio else ""
            end = "" if r.end_s is None else r.end_s
            writer.writerow((r.name, r.genre, audio, r.pose.resolve(), r.group, r.start_s, end, r.licence))
    return len(kept)


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    a = arguments({"raw": None, "out": None, "leave": None}, sys.argv[1:])
    left = without(Path(a["raw"]), Path(a["out"]), a["leave"])
    print(f"{left} recordings without {a['leave']}: {Path(a['out']) / MANIFEST}")


if __name__ == "__main__":
    run(main)
