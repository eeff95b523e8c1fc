"""The table of ``d2m``'s commands, and the folder of their configs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def conf_dir() -> Path:
    """``conf/`` of the installed package (in a checkout, a link to the checkout's), else the checkout's own."""
    packaged = Path(__file__).resolve().parents[1] / "conf"
    return (packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "conf").resolve()


@dataclass(frozen=True)
class Command:
    """A command: ``conf/FOLDER/CONFIG.yaml`` defines its arguments, ``MODULE:FUNCTION`` is called with the composed
    config."""

    function: str
    config: str
    folder: str = ""
    # Whether -m is allowed: its runs write to separate folders, or to separate parts of one.
    multirun: bool = False
    # Whether it writes only to ``out``, without Hydra's folder and log.
    quiet: bool = True

    def conf(self) -> Path:
        """The folder of its config and config groups."""
        return conf_dir() / self.folder

    def path(self) -> Path:
        """Path of its config."""
        return self.conf() / f"{self.config}.yaml"

    def load(self) -> Any:
        """Import its module and return its function."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)


COMMANDS = {
    "train": Command("d2m.cli.train:train", "train", multirun=True, quiet=False),
    "infer": Command("d2m.cli.infer:main", "infer"),
    "prepare": Command("d2m.cli.prepare:main", "prepare", multirun=True),
    "collect": Command("d2m.cli.collect:main", "collect"),
    "export": Command("d2m.cli.export:main", "export"),
    "evaluate": Command("d2m.cli.evaluate:main", "evaluate", "measure"),
    "score": Command("d2m.cli.score:main", "score", "measure"),
    "study extract": Command("d2m.cli.study:extract", "extract", "study"),
    "study fit": Command("d2m.cli.study:fit", "fit", "study"),
    "study means": Command("d2m.cli.study:means", "means", "study"),
    "study report": Command("d2m.cli.study:report", "report", "study"),
    "blind build": Command("d2m.cli.blind:build", "build", "blind"),
    "blind score": Command("d2m.cli.blind:score", "score", "blind"),
    "studio": Command("d2m.cli.studio:main", "studio", "studio"),
    "runs ls": Command("d2m.cli.runs:ls", "ls", "runs"),
    "runs best": Command("d2m.cli.runs:best", "best", "runs"),
    "runs show": Command("d2m.cli.runs:show", "show", "runs"),
    "runs diff": Command("d2m.cli.runs:diff", "diff", "runs"),
    "import-original": Command("d2m.cli.import_original:main", "import_original"),
}
