"""``d2m import-original``: the reference's checkpoints become a bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from d2m.core.errors import D2MError


class _Parser(argparse.ArgumentParser):
    """Errors of use as the other command lines print them: one line, exit code 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise D2MError(f"{message}; {self.prog} --help shows what it takes")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    add = _Parser(
        prog="d2m import-original",
        description="Turn Stage1.ckpt, Stage2.ckpt and aud_3cls.ckpt into a bundle that infer.py takes, and into "
        "checkpoints under OUT/resume/ that train.py goes on from (docs/original-weights.md).",
    )
    add.add_argument("--stage1", required=True, metavar="FILE", help="Stage1.ckpt (decomposition)")
    add.add_argument("--stage2", required=True, metavar="FILE", help="Stage2.ckpt (composition)")
    add.add_argument("--style", required=True, metavar="FILE", help="aud_3cls.ckpt (music style)")
    add.add_argument("--stats", metavar="DIR", help="folder with all_onbeat_{mean,std}.npy and all_aud_{mean,std}.npy")
    add.add_argument(
        "--unit-decoder", choices=("stage1", "stage2"), default="stage2",
        help="whose unit decoder dances: stage 2's, fine-tuned (default), or stage 1's, as in the original demo",
    )  # fmt: skip
    add.add_argument("--genres", metavar="A,B,C", help="names of the style network's classes, in their order")
    add.add_argument("--out", required=True, metavar="DIR", help="the bundle's folder")
    return add


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of ``arguments`` (the process's own by default).

    Raises:
        D2MError: whatever the user can mend; nothing was written.
    """
    given = parser().parse_args(arguments)
    from d2m.original.convert import import_original

    imported = import_original(
        given.stage1, given.stage2, given.style, given.out,
        stats=given.stats, unit_decoder=given.unit_decoder,
        genres=None if given.genres is None else given.genres.split(","),
    )  # fmt: skip
    for warning in imported.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    # What the corpus says itself is no option.
    sizes = {k: v for k, v in imported.sizes.to_dict().items() if k not in ("n_genres", "n_features")}
    model = [f"size.{k}={v}" for k, v in sizes.items()]
    print(f"bundle: {imported.folder}\nto go on training: train.py ... {' '.join(model)} (docs/original-weights.md)")
