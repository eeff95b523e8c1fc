"""What runs on real dances learned, on the songs that they did not train on.

    d2m train data=ballroom size=small trainer=cpu hydra.run.dir=outputs/ballroom0 seed=0
    python -m experiments.ballroom.run run=outputs/ballroom0 out=DIR
    python -m experiments.ballroom.run runs=[outputs/ballroom0,outputs/ballroom1,outputs/ballroom2] out=DIR
        [seeds=2] [folds=5] [source=chacha target=waltz] [pairs=14] [edit_seconds=20] [permutations=999]
        [corpora=[DIR,...]] [before=REPORT.json] [seed=0]

Several runs are those of several splits. ``corpora``: their prepared corpora, if they moved. ``folds=0`` leaves the
cross-validation of the style network out. ``before``: an earlier report.json, whose numbers become a column. Writes
OUT/index.html, OUT/report.md, OUT/report.json and OUT/figures.
"""

from __future__ import annotations

import sys

from d2m.cli.command_line import run
from experiments.command import arguments

OUT = "outputs/ballroom/report"


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from experiments.music_heard.runs import DEFAULTS, report

    a = arguments({**DEFAULTS, "out": OUT}, sys.argv[1:])
    print(report("ballroom", "What the runs learned of real dances", a))


if __name__ == "__main__":
    run(main)
