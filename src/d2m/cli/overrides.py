"""Overrides before Hydra parses them: quoting of paths and free text, and type checks of the other values."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from d2m.core.errors import D2MError

#: Keys whose value is a path: any character is part of the name, except that ``~`` and ``~/...`` are the home folder.
PATHS = (
    "a", "answers", "b", "beats_checkpoint", "bundle", "callbacks.latent.motion_style",
    "callbacks.latent.reference", "continue_from.*", "corpus", "dance", "data.cache", "data.corpus.beats_checkpoint",
    "data.corpus.out_root", "data.corpus.raw_root", "data.root", "directions", "edit.file", "edit.latents", "export",
    "folder",
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "init_from.*", "key", "latents", "manifest", "music",
    "out", "poses", "raw", "reference", "results", "resume", "run", "runs", "songs", "stage1", "stage2", "state",
    "stats", "style", "z_dan",
)  # fmt: skip
#: Keys whose value is a name that the command knows, or a path.
NAMES_OR_PATHS = ("card", "data")
#: Keys whose value is free text, such as the name of a genre.
TEXTS = (
    "callbacks.latent.source", "callbacks.latent.target", "data.corpus.licence", "data.name", "edit.source",
    "edit.target", "filter", "format", "genres", "intro", "licence", "logger.project", "metric", "project", "question",
    "source", "systems", "target", "title",
)  # fmt: skip
#: Keys of the above whose value may be a list, ``[A,B]``.
LISTS = ("bundle", "data.root", "export", "filter", "format", "genres", "systems")
#: Words that people try -> the key's name in all commands.
SYNONYMS = {"audio": "music", "song": "music", "songs": "music", "sound": "music"}
#: Command -> those that were its key's name once: accepted, with a line that tells the present one.
RENAMED = {"infer": ("audio",)}
#: Types of keys whose default is null.
NULL_TYPES: dict[str, Any] = {
    "workers": 1,
    "torch_threads": 1,
    "repeat_batches": 1,
    "reuse": True,
    "axis": 1,
    "window": 1.0,
    "shrinkage": 1.0,
    "start": 1.0,
    "songs_per_genre": 1,
    "batch": 1,
    "audio_offset": 1.0,
}
#: Here Lightning accepts more types than the default's, and checks them itself.
_ANY_TYPE = ("trainer.devices", "trainer.deterministic", "trainer.fast_dev_run")

_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_ELEMENT = re.compile(r"""\s*('(?:\\.|[^'])*'|"(?:\\.|[^"])*"|[^,]+)\s*(?:,|$)""")
_CHOICE = re.compile(r"choice\(.+\)", re.DOTALL)
_PLAIN = re.compile(r"[\w.+-]*", re.ASCII)


def is_text(key: str) -> bool:
    """Whether a key's value is free text."""
    return key in TEXTS


def is_path(key: str) -> bool:
    """Whether a key's value is a path."""
    return any(fnmatchcase(key, pattern) for pattern in PATHS)


def expand_home(value: str) -> str:
    """``~`` and ``~/...`` with the home folder in place of ``~``; anything else unchanged."""
    return os.path.expanduser(value) if value == "~" or value.startswith("~/") else value


def quote(value: str, interpolate: bool = False) -> str:
    """Quote a value for Hydra's grammar; ``${`` is taken literally unless ``interpolate``."""
    escaped = re.sub(r"(\\+)(?='|$)", lambda m: m.group(1) * 2, value).replace("'", "\\'")
    return f"'{escaped}'" if interpolate else "'" + escaped.replace("${", "\\${") + "'"


def parses(argument: str) -> bool:
    """Whether Hydra's grammar accepts an override unquoted."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def quote_override(argument: str) -> str:
    """``key=value`` with the value quoted if the key holds a path or free text, or Hydra cannot read it unquoted.

    Quoted values, ``null`` and empty values stay unchanged. ``${...}`` is an interpolation in ``hydra.*`` keys, but
    literal in paths and free text. ``data.root=[A,B]`` is a list of paths, and ``KEY=choice(A,B)`` sweeps over them,
    unless a folder has that name.
    """
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    if not equals or argument[:1] in "-~" or value in ("", "null"):
        return argument
    if is_text(name) or is_path(name):
        if name in LISTS and value.startswith("[") and value.endswith("]") and not os.path.exists(value):
            return f"{key}=[{_words(value[1:-1], name)}]"
        if _CHOICE.fullmatch(value) and not name.startswith("hydra.") and not os.path.exists(value):
            return f"{key}=choice({_words(value[len('choice(') : -1], name)})"
        return f"{key}={_word(value, name, name.startswith('hydra.'))}"
    if name in NAMES_OR_PATHS and not _PLAIN.fullmatch(value) and os.path.exists(expand_home(value)):
        return f"{key}={quote(expand_home(value))}"
    if expand_home(value) != value:
        return f"{key}={quote(expand_home(value), interpolate=True)}"
    if _PLAIN.fullmatch(value) or value[0] in "[{'\"" or parses(argument):
        return argument
    return f"{key}={quote(value, interpolate=True)}"


def _words(values: str, key: str) -> str:
    """Paths or texts separated by commas, each quoted."""
    items = [p.strip() for p in _ELEMENT.findall(values) if p.strip()]
    return ",".join(_word(p, key, False) for p in items)


def _word(value: str, key: str, interpolate: bool) -> str:
    """A single path or text, quoted; ``'~/x'`` is expanded as ``~/x`` is."""
    if _QUOTED.fullmatch(value):
        inner = value[1:-1]
        home = inner if is_text(key) else expand_home(inner)
        return value if home == inner else value[0] + home + value[0]
    return quote(value if is_text(key) else expand_home(value), interpolate)


def with_new_names(command: str, arguments: Iterable[str]) -> list[str]:
    """Overrides with the present names of keys: scripts that use earlier ones keep working, and are told."""
    out = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key.lstrip("+") in RENAMED.get(command, ()):
            name = SYNONYMS[key.lstrip("+")]
            print(f"{key}= is now {name}=", file=sys.stderr)
            argument = f"{name}={value}"
        out.append(argument)
    return out


def prepare_overrides(arguments: Iterable[str]) -> list[str]:
    """Quote paths and text, and keep the last one if an override is given twice; flags and the order are kept."""
    kept: dict[str, str] = {}
    for i, argument in enumerate(arguments):
        key, equals, _ = argument.partition("=")
        name = key.lstrip("+") if equals and not argument.startswith("-") else f"\0{i}"
        kept.pop(name, None)
        kept[name] = quote_override(argument)
    return list(kept.values())


def check_types(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Compare the types of overridden values with the defaults': a number must stay a number, a boolean a boolean.

    Args:
        given: dotted key -> overridden value.
        defaults: dotted key -> value without the override; a ``None`` default accepts the types in NULL_TYPES.

    Raises:
        D2MError: names the key and the expected type.
    """
    for key, value in given.items():
        default = defaults.get(key)
        example = NULL_TYPES.get(key) if default is None else default
        if example is None or key in _ANY_TYPE or (isinstance(value, str) and "${" in value):
            continue
        if value is None:
            # Numbers may be null; the code that reads them refuses null if it makes no sense.
            if isinstance(default, bool) or (isinstance(default, list | tuple | str) and default) or key == "seed":
                raise D2MError(f"{key}=null: give a value (default {default})")
            continue
        if isinstance(example, bool):
            wrong, expected = not isinstance(value, bool), "true or false"
        elif isinstance(example, int):
            wrong, expected = not isinstance(value, int) or isinstance(value, bool), "a whole number"
        elif isinstance(example, float):
            wrong, expected = not isinstance(value, int | float) or isinstance(value, bool), "a number"
        elif isinstance(example, list | tuple):
            wrong, expected = not isinstance(value, list | tuple), "a list, [a,b]"
        elif isinstance(example, Mapping):
            wrong, expected = not isinstance(value, Mapping) and value is not False, "its keys, {key: value}"
        else:
            continue
        if wrong:
            raise D2MError(f"{key}={value}: expected {expected} (default {default})")


def read_settings(defaults: Mapping[str, Any], arguments: Iterable[str]) -> dict[str, Any]:
    """``defaults`` overridden by ``key=value`` arguments, for programs without configs; strings are free text.

    Raises:
        D2MError: not key=value, an unknown key, or a value of another type.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    values = dict(defaults)
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or key not in defaults:
            raise D2MError(f"{argument}: give {' '.join(f'{k}=...' for k in defaults)}")
        default = defaults[key]
        if default is None or isinstance(default, str):
            word = text[1:-1] if _QUOTED.fullmatch(text) else text
            values[key] = word if is_text(key) else expand_home(word)
            continue
        try:
            values[key] = OverridesParser.create().parse_override(argument).value()
        except HydraException:
            values[key] = text
        check_types({key: values[key]}, defaults)
        if isinstance(default, float):
            values[key] = float(values[key])
    return values
