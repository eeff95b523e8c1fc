"""``d2m collect``."""

from __future__ import annotations

import sys
from typing import Any

from d2m.cli.command_line import check_types
from d2m.core.errors import D2MError
from d2m.prepare import collect as collecting
from d2m.prepare.collect import OPTIONS, collect


def main(arguments: list[str] | None = None) -> None:
    """The command line: ``key=value``; exits with 2 where nothing was kept, or ``strict=true`` met a failed row."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(words):
        print(collecting.__doc__, "\nOptions: " + " ".join(f"{k}={v}" for k, v in OPTIONS.items()), sep="")
        return
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in OPTIONS:
            raise D2MError(f"'{word}': write key=value; there are {', '.join(OPTIONS)}")
        given[key] = text if isinstance(OPTIONS[key], str) else _value(text, OPTIONS[key])
    check_types(given, OPTIONS)
    if not given.get("manifest") or not given.get("out"):
        raise D2MError("give manifest=FILE.csv and out=DIR")
    kept, failed = collect(given.pop("manifest"), given.pop("out"), **given)
    print(f"{len(kept)} stretches of music kept, {len(failed)} rows failed")
    if without := sum(not line["pose"] for line in kept):
        print(f"{without} of them have no poses: fill the manifest's column pose before you prepare it")
    if not kept:
        raise D2MError("nothing was kept; see the lines above")
    if failed and given.get("strict"):
        raise D2MError(f"strict=true: {len(failed)} of the rows failed; see the lines above")


def _value(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return float(text) if isinstance(default, float) else int(text)
    except ValueError:
        return text
