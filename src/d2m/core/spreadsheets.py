"""CSV as spreadsheets write it: UTF-8 or UTF-16, commas, semicolons or tabs, blank lines and ``sep=;`` before the
header."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

_SEPARATORS = ",;\t"
#: Characters of no width, which tell equal words apart: spaces, joiners, byte order marks.
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))

Row = dict[str | None, str]


def plain_text(value: str) -> str:
    """Composed (NFC), without invisible characters and space around it: one spelling of a word."""
    return unicodedata.normalize("NFC", value.translate(_INVISIBLE)).strip()


def read_spreadsheet(path: Path) -> tuple[list[str], list[tuple[int, Row]], bool]:
    """A table with a header.

    Returns:
        The columns' names, in lower case; (line number, cells by column), those beyond the header's under None; and
        whether a comma is decimal, as it is where semicolons or tabs separate values.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: not readable, or no CSV.
    """
    raw = path.read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    lines = io.StringIO(text, newline="").readlines()
    skipped = 0
    separator = ""
    while lines and (not lines[0].strip() or lines[0].lower().startswith("sep=")):
        separator = lines.pop(0).strip()[4:5]
        skipped += 1
    if not separator:
        head = lines[0] if lines else ""
        separator = max(_SEPARATORS, key=lambda s: (head.count(s), s == ","))
    reader = csv.DictReader(lines, delimiter=separator)
    header = [plain_text(name).lower() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    rows = [(skipped + reader.line_num, {k: _cell(v) for k, v in row.items()}) for row in reader]
    return header, rows, separator != ","


def _cell(value: str | list[str] | None) -> str:
    """A list: the cells beyond the header's."""
    return ("".join(value) if isinstance(value, list) else value or "").strip()
