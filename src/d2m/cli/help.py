"""``--help``, generated from the comments in the configs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from d2m.cli.commands import COMMANDS, Command

_KEY = re.compile(r"^(\w+):\s*(.*?)\s*(?:\s#\s*(.*))?$")
_GROUP = re.compile(r"^  - ([\w/]+): (\w+)")
_COLUMN, _WIDTH = 32, 120


def header(path: Path) -> list[str]:
    """The comment at the top of a config, without ``#``."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line[1:].removeprefix(" "))
    return lines


def summary(path: Path) -> str:
    """The first sentence of a config's comment."""
    return re.split(r"(?<=\.)(?:\s|$)", " ".join(header(path)), maxsplit=1)[0].rstrip(".")


def _row(left: str, right: str, column: int = _COLUMN) -> list[str]:
    """Two columns; the right one is wrapped, and starts on the next line if the left one is too wide."""
    wrapped = textwrap.wrap(right, _WIDTH - column)
    if not wrapped or len(left) < column:
        return [f"{left:<{column}}{wrapped[0]}" if wrapped else left, *(" " * column + w for w in wrapped[1:])]
    return [left, *(" " * column + w for w in wrapped)]


def _keys(path: Path, prefix: str = "") -> list[str]:
    """A help entry for every top-level key of a config: name, default, and the comment beside or above it."""
    lines: list[str] = []
    above: list[str] = []
    body = path.read_text(encoding="utf-8").splitlines()
    top = next((i for i, line in enumerate(body) if not line.startswith("#")), len(body))
    for line in body[top:]:
        match = _KEY.match(line)
        if line.startswith("#"):
            above.append(line.lstrip("# "))
        elif match and match[1] not in ("defaults", "hydra"):
            default = {"???": "(required)", "": "..."}.get(match[2], match[2])
            if above and match[3]:  # the key has its own comment, so that the one above is of this and the next keys
                lines += ["", *textwrap.wrap(" ".join(above), _WIDTH - 2, initial_indent="  ", subsequent_indent="  ")]
                above = []
            lines += _row(f"  {prefix}{match[1]}={default}", " ".join([*above, match[3] or ""]))
            above = []
        elif not line.startswith(" "):
            above = []
    return lines


def _group(folder: Path, name: str, default: str) -> list[str]:
    """The choices of a config group, and the keys of its default choice if they are plain."""
    choices = sorted((folder / name).glob("*.yaml"))
    lines = [f"  {name}={default}"]
    for choice in choices:
        lines += _row(f"      {choice.stem}", summary(choice))
    chosen = folder / name / f"{default}.yaml"
    if chosen.is_file() and "_target_" not in chosen.read_text(encoding="utf-8"):
        lines += _keys(chosen, f"{name}.")
    return lines


def overview(prefix: str = "") -> str:
    """The output of ``d2m --help``: the commands, one per line; with a prefix, those below it."""
    lines = [f"usage: d2m {prefix}COMMAND key=value ...", "", "Retrain Dancing2Music, study and edit its latents.", ""]
    for name, command in COMMANDS.items():
        if name.startswith(prefix):
            lines += _row(f"  d2m {name}", summary(command.path()), 24)
    return "\n".join([*lines, "", "d2m COMMAND --help shows a command's keys, d2m --version the version."])


def command_help(name: str, command: Command) -> str:
    """What ``d2m NAME --help`` prints: the config's header, its keys and groups, and the flags."""
    folder, path = command.conf(), command.path()
    groups = [m for m in map(_GROUP.match, path.read_text(encoding="utf-8").splitlines()) if m]
    parts = [f"usage: d2m {name} key=value ...", "", *header(path), "", "Keys and their defaults:", *_keys(path)]
    if groups:
        parts += ["", "Groups, their defaults and choices (GROUP=CHOICE):"]
        for match in groups:
            parts += _group(folder, match[1], match[2])
    flags = {
        "--cfg job": "print the config as it would be used, and stop",
        "--config-dir DIR": "look for configs in DIR first",
    } | ({"-m": "run once for every value of key=a,b (Hydra's multirun)"} if command.multirun else {})
    parts += ["", "Flags:", *(line for flag, text in flags.items() for line in _row(f"  {flag}", text))]
    parts += ["", "Values are Hydra's ([a,b], null). Paths and genres may hold any character; ~ is your home folder."]
    return "\n".join(parts)
