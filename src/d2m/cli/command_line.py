"""What both command lines share: override quoting, and errors of use as one line and exit code 2."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from d2m.core.errors import D2MError

#: Overrides whose value is a path, or free text: quoted before Hydra's grammar sees them, so that any file name works.
PATH_KEYS = re.compile(
    r"^(bundle|audio|out|raw|licence|z_dan|edit\.(file|latents)|resume|beats_checkpoint|data\.root|data\.cache"
    r"|(init|continue)_from\.\w+|callbacks\.latent\.(reference|motion_style)"
    r"|hydra\.(run|sweep)\.(dir|subdir))$"
)
#: A list of paths, ``data.root=[OUT1,OUT2]``: its elements are quoted, those in quotes already stay.
_ELEMENT = re.compile(r"""\s*('(?:\\.|[^'])*'|"(?:\\.|[^"])*"|[^,]+)\s*(?:,|$)""")
#: What a disk or a path can be that the user can mend.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR}
_QUOTED = re.compile(r"""^(['"]).*\1$""", re.DOTALL)


def quote_override(argument: str) -> str:
    """``key=value`` with the value quoted where the key is a path's; anything else unchanged.

    Values in quotes already, ``null`` and empty ones stay. In ``hydra.*`` keys ``${...}`` stays an interpolation; in
    all other path keys it is part of the name. ``data.root=[A,B]`` is a list of paths, unless there is such a folder.
    """
    key, equals, value = argument.partition("=")
    if not equals or not PATH_KEYS.match(key.lstrip("+")) or value in ("", "null") or _QUOTED.match(value):
        return argument
    if key == "data.root" and value.startswith("[") and value.endswith("]") and not os.path.exists(value):
        paths = [p.strip() for p in _ELEMENT.findall(value[1:-1]) if p.strip()]
        return f"{key}=[{','.join(p if _QUOTED.match(p) else _quote(p) for p in paths)}]"
    return f"{key}={_quote(value, interpolate=key.lstrip('+').startswith('hydra.'))}"


def _quote(value: str, interpolate: bool = False) -> str:
    escaped = re.sub(r"(\\+)(?='|$)", lambda m: m.group(1) * 2, value).replace("'", "\\'")
    return f"'{escaped}'" if interpolate else "'" + escaped.replace("${", "\\${") + "'"


def prepare_overrides(arguments: Iterable[str]) -> list[str]:
    """Quote paths, and of an override given twice keep the last; flags and their order stay."""
    kept: dict[str, str] = {}
    for i, argument in enumerate(arguments):
        key, equals, _ = argument.partition("=")
        name = key.lstrip("+") if equals and not argument.startswith("-") else f"\0{i}"
        kept.pop(name, None)
        kept[name] = quote_override(argument)
    return list(kept.values())


def check_types(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Compare overridden values with the defaults' types: a number must stay a number, a switch a switch.

    Args:
        given: dotted key -> value asked for.
        defaults: dotted key -> value without the override; a ``None`` default takes anything.

    Raises:
        D2MError: naming the key and what it takes.
    """
    for key, value in given.items():
        default = defaults.get(key)
        if default is None or value is None:
            continue
        if isinstance(default, bool):
            wrong, expected = not isinstance(value, bool), "true or false"
        elif isinstance(default, int):
            wrong, expected = not isinstance(value, int) or isinstance(value, bool), "a whole number"
        elif isinstance(default, float):
            wrong, expected = not isinstance(value, int | float) or isinstance(value, bool), "a number"
        elif isinstance(default, list | tuple):
            wrong, expected = not isinstance(value, list | tuple), "a list, [a,b]"
        else:
            continue
        if wrong:
            raise D2MError(f"{key}={value}: expected {expected} (default {default})")


def parse_arguments(
    arguments: Iterable[str], defaults: Mapping[str, Any], numbers: Iterable[str] = ()
) -> dict[str, Any]:
    """``key=value`` arguments of a command without Hydra, over their defaults; the last of two wins.

    Args:
        defaults: key -> default. Where it is a string or None the value is taken as it is, so that any path works
            (quotes around the whole of it are taken off, as Hydra does); otherwise it is JSON and must be of its type.
        numbers: keys that are numbers though their default is None.

    Raises:
        D2MError: not key=value, an unknown key, or a value of another type.
    """
    values = dict(defaults)
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise D2MError(f"{argument}: write key=value; keys are {', '.join(defaults)}")
        if key not in defaults:
            raise D2MError(f"{key}: unknown; keys are {', '.join(defaults)}")
        if text == "null":
            values[key] = None
        elif key in numbers or not (defaults[key] is None or isinstance(defaults[key], str)):
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            check_types({key: value}, {key: 1.0 if key in numbers else defaults[key]})
            values[key] = value
        else:
            values[key] = text[1:-1] if len(text) > 1 and _QUOTED.match(text) else text
    return values


def one_line(error: BaseException) -> str:
    """The innermost error of use of a chain, on one line."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        if isinstance(link, D2MError):
            return str(link)
    return " ".join(part.strip() for part in str(error).splitlines() if part.strip())


@contextmanager
def user_errors() -> Iterator[None]:
    """Errors of use, full and read-only disks too: one line on stderr, exit code 2. An interrupt: 130.

    Others stay tracebacks.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (D2MError, HydraException, OmegaConfBaseException) as e:
        if os.environ.get("D2M_TRACEBACK"):
            raise
        print(f"error: {one_line(e)}", file=sys.stderr)
        sys.exit(2)
    except OSError as e:
        if os.environ.get("D2M_TRACEBACK") or e.errno not in _DISK:
            raise
        where = e.filename2 or e.filename
        print(f"error: {where or 'output'}: {e.strerror}; free space or name another folder", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(main: Callable[[], Any]) -> None:
    """Call ``main`` under :func:`user_errors`."""
    # Hydra would print its own errors and exit with 1; asked for the full error, it raises them.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with user_errors():
        main()
