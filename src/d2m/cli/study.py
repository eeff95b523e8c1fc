"""``d2m study extract|fit|means|report key=value ...``; nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from d2m.cli.command_line import parse_arguments
from d2m.core.errors import D2MError
from d2m.core.seeds import check_seed

HELP = """The latent laboratory.

  d2m study extract bundle=DIR music=DIR|corpus=DIR out=DIR [window=SECONDS] [draws=8] [noise=64] [seed=0]
      z_dan of every song to OUT/latents.npz (with corpus=, also of its dances to OUT/latents_dance.npz).
      Killed and run again, it goes on.
  d2m study fit bundle=DIR latents=FILE|music=DIR|corpus=DIR out=DIR edit=NAME source=GENRE target=GENRE
      A direction in OUT, for infer.py edit.file=OUT. NAME: mean_shift, boundary, erasure, transport, axes, random.
      Erasure takes no source. Fitted on the training rows, with rows=all on all.
      [method=lda|logistic] boundary, [shrinkage=0..1] erasure and transport, [axis=0] axes, [kind=sphere|songs] random
  d2m study means bundle=DIR music=DIR out=DIR [keep=true]
      The bundle with genre means of your own songs, in OUT (which may be the bundle itself). keep: also the old genres.
  d2m study report bundle=DIR music=DIR|corpus=DIR out=DIR [source=GENRE target=GENRE] [edits=1] [dances=4]
      Figures, OUT/report.json and OUT/index.html. edits, dances: songs of the source genre to edit, to dance to.

extract and fit take logger=wandb: what they wrote is also a W&B artifact, made of the bundle's (docs/dashboards.md).

music is a folder with one folder of songs per genre, a raw corpus, or a CSV file (audio,genre);
corpus is a prepared one.
"""

_COMMON: dict[str, Any] = {
    "bundle": None, "music": None, "corpus": None, "latents": None, "out": None, "seed": 0, "device": "cpu",
    "window": None, "draws": 8, "noise": 64,
}  # fmt: skip
_OWN: dict[str, dict[str, Any]] = {
    "extract": {"logger": "none"},
    "fit": {
        "logger": "none", "edit": "mean_shift", "source": None, "target": None, "method": None, "shrinkage": None,
        "axis": None, "kind": None, "rows": "train",
    },
    "means": {"keep": True},
    "report": {"source": None, "target": None, "permutations": 999, "edits": 1, "dances": 4},
}  # fmt: skip
_NEEDED = {
    "extract": ("bundle", "out"), "fit": ("bundle", "out", "edit"), "means": ("bundle", "music", "out"),
    "report": ("bundle", "out"),
}  # fmt: skip
#: What a command does not take of the common ones.
_FOREIGN = {
    "extract": ("latents",),
    "fit": (),
    "means": ("corpus", "latents", "window", "draws"),
    "report": ("latents",),
}
_NUMBERS = ("window", "shrinkage", "axis")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; what it wrote is printed.

    Raises:
        D2MError: an unknown command or argument, or whatever the command raises.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or {"-h", "--help"} & set(words):
        print(HELP)
        return
    if words[0] not in _OWN:
        raise D2MError(f"{words[0]}: unknown command; there are {', '.join(_OWN)}")
    known = {k: v for k, v in _COMMON.items() if k not in _FOREIGN[words[0]]} | _OWN[words[0]]
    given = _COMMON | parse_arguments(words[1:], known, _NUMBERS)
    _check_ranges(given)
    missing = [k for k in _NEEDED[words[0]] if given[k] is None]
    if missing:
        raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}; d2m study --help shows all")
    logger = given.get("logger", "none")
    if logger not in ("none", "wandb"):
        raise D2MError(f"logger={logger}: choose none or wandb")
    from d2m.reports.study import COMMANDS

    print(COMMANDS[words[0]](given))
    if logger == "wandb":
        from d2m.train.callbacks.artifacts import log_study_outputs

        print(log_study_outputs(words[0], given))


def _check_ranges(given: dict[str, Any]) -> None:
    """Raises D2MError where a number is out of its range."""
    check_seed(given["seed"])
    for key in ("permutations", "edits", "dances"):
        if given.get(key, 0) < 0:
            raise D2MError(f"{key}={given[key]}: give a whole number of at least 0")
    axis = given.get("axis")
    if axis is not None:
        if axis != int(axis) or axis < 0:
            raise D2MError(f"axis={axis:g}: give a whole number of at least 0; 0 is the axis of largest variance")
        given["axis"] = int(axis)
