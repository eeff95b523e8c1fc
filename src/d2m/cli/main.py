"""Entry point of ``d2m COMMAND key=value ...``; heavy libraries are imported only when needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches

from d2m.cli.command_line import run
from d2m.cli.commands import COMMANDS
from d2m.cli.help import command_help, overview
from d2m.core.errors import D2MError
from d2m.train.early import let_signals_wait

_HELP = ("-h", "--help")


def dispatch(words: Sequence[str], called: Sequence[str] = ()) -> None:
    """Run the command named by the words of a command line.

    Args:
        words: the command's name, flags and overrides.
        called: the words that this process was started with before its flags and overrides.

    Raises:
        D2MError: an unknown command, or an error that the command raises before it starts.
    """
    if not words or words[0] in _HELP:
        print(overview())
        return
    if words[0] == "--version":
        from d2m import __version__

        print(f"d2m {__version__}")
        return
    below = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    n = 2 if below else 1
    if below and (len(words) == 1 or words[1] in _HELP):
        print(overview(f"{words[0]} "))
        return
    name = " ".join(words[:n])
    if name not in COMMANDS:
        choices = below or [k.partition(" ")[0] for k in COMMANDS]
        near = get_close_matches(name, choices, n=1)
        hint = f"did you mean d2m {near[0]}? " if near else ""
        raise D2MError(f"d2m {name}: no such command; {hint}choose from {', '.join(dict.fromkeys(choices))}")
    if set(_HELP) & set(words):
        print(command_help(name, COMMANDS[name]))
        return
    from d2m.cli.job import launch

    launch(name, COMMANDS[name], words[n:], called)


def main(command: str | None = None) -> None:
    """The console script ``d2m``; with a command, the script of that command alone."""
    words = sys.argv[1:]
    if "train" in (command, *words[:1]):
        let_signals_wait()
    if command is not None:
        run(lambda: dispatch([command, *words]))
    else:
        run(lambda: dispatch(words, words[:1]))
