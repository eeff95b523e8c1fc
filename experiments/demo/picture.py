"""A strip of the demo's dances, one row per genre: the picture in the README.

python -m experiments.demo.picture [out=outputs/demo] [picture=docs/images/dances.png] [start=8.0] [seconds=3.0]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from d2m.cli.command_line import run
from d2m.draw.render import still
from experiments.command import arguments

DEFAULTS = {"out": "outputs/demo", "picture": "docs/images/dances.png", "start": 8.0, "seconds": 3.0}


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    args = arguments(DEFAULTS, sys.argv[1:])
    out = Path(args["out"])
    genres = list(json.loads((out / "report.json").read_text())["energy"])
    songs = {g: next(p for p in sorted((out / "dances").glob("*.npz")) if p.name.startswith(g)) for g in genres}
    dances = [np.load(p)["poses"] for p in songs.values()]
    captions = [f"{genre}: generated to {path.stem}, a song it never heard" for genre, path in songs.items()]
    still(
        args["picture"], dances, 10, captions=captions, size=(110, 200),
        seconds=(args["start"], args["start"] + args["seconds"]),
    )  # fmt: skip
    print(args["picture"])


if __name__ == "__main__":
    run(main)
