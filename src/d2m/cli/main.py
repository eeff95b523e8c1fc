"""``d2m COMMAND ...``."""

from __future__ import annotations

import importlib
import sys

from d2m.cli.command_line import run
from d2m.core.errors import D2MError

#: Command -> the module whose ``main()`` reads sys.argv.
COMMANDS = {
    "train": "d2m.cli.train",
    "infer": "d2m.cli.infer",
    "prepare": "d2m.cli.prepare",
    "collect": "d2m.cli.collect",
    "study": "d2m.cli.study",
    "import-original": "d2m.cli.import_original",
}


def _dispatch() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        raise D2MError(f"d2m takes a command: {', '.join(COMMANDS)}")
    command = sys.argv.pop(1)
    importlib.import_module(COMMANDS[command]).main()


def main() -> None:
    """The console script."""
    run(_dispatch)
