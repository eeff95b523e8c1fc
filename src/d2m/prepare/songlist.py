"""The CSV of songs that ``d2m collect`` reads; its columns are described in :mod:`d2m.prepare.collect`."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.core.spreadsheets import read_spreadsheet

Span = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One line of the CSV: a file or URL, and the part of it to use (seconds of the file)."""

    name: str
    source: str
    local: bool
    genre: str
    title: str = ""
    start: float = 0.0
    end: float | None = None
    licence: str = ""
    not_music: tuple[Span, ...] = ()
    group: str = ""
    pose: str = ""


def parse_spans(text: str, where: str) -> tuple[Span, ...]:
    """``12.0-15.5;80-90`` -> ((12.0, 15.5), (80.0, 90.0)).

    Raises:
        D2MError: anything else.
    """
    spans: list[Span] = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*-\s*(\d+(?:\.\d*)?)", part)
        if not match or float(match[2]) <= float(match[1]):
            raise D2MError(f"{where}: not_music holds '{part}'; write seconds as 12.0-15.5;80-90")
        spans.append((float(match[1]), float(match[2])))
    return tuple(spans)


def _slug(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", ascii_text).strip("_")[:60]


def read_rows(path: str | Path) -> list[Row]:
    """Read the CSV.

    Raises:
        D2MError: no such file, not CSV, a missing column or value, invalid seconds, a duplicate name, no rows.
    """
    path = Path(path)
    try:
        header, numbered, comma = read_spreadsheet(path)
    except FileNotFoundError as e:
        raise D2MError(f"{path}: no such file; give a CSV with the columns url or path, and genre") from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise D2MError(f"{path}: not readable as CSV ({e}); save it as CSV in UTF-8") from e
    if "genre" not in header or not {"url", "path"} & set(header):
        raise D2MError(f"{path}: the first line must name genre, and url or path")
    rows: list[Row] = []
    for number, row in numbered:
        line = {k: v for k, v in row.items() if k is not None}
        for column in ("start", "end") if comma else ():
            line[column] = line.get(column, "").replace(",", ".")
        if any(line.values()):
            rows.append(_row(line, f"{path} line {number}", path.parent))
    if not rows:
        raise D2MError(f"{path}: lists no songs; add one line per song")
    for name in {r.name for r in rows}:
        if sum(r.name == name for r in rows) > 1:
            raise D2MError(f"{path}: the name '{name}' is used twice; fill in the column name, or change the titles")
    return rows


def _row(line: dict[str, str], where: str, folder: Path) -> Row:
    url, local = line.get("url", ""), line.get("path", "")
    if bool(url) == bool(local):
        raise D2MError(f"{where}: give either url or path")
    if not line["genre"]:
        raise D2MError(f"{where}: genre is empty; every song needs one")
    seconds: list[float | None] = []
    for column in ("start", "end"):
        text = line.get(column, "")
        try:
            value = float(text) if text else None
        except ValueError:
            value = -1.0
        if value is not None and not 0 <= value < float("inf"):
            raise D2MError(f"{where}: {column} is '{text}'; write seconds (0 or more) or leave it empty")
        seconds.append(value)
    start, end = seconds[0] or 0.0, seconds[1]
    if end is not None and end <= start:
        raise D2MError(f"{where}: end {end:g} is not after start {start:g}; correct the times")
    key = hashlib.sha256((url or local).encode()).hexdigest()[:8]
    name = line.get("name") or _slug(line.get("title", "")) or f"song_{key}"
    if not re.fullmatch(r"[^/\\\0]+", name) or name.startswith("."):
        raise D2MError(f"{where}: the name '{name}' is not a valid file name; use letters, digits, _ and -")
    return Row(
        name, url or str(folder / local), not url, line["genre"], line.get("title", ""), start, end,
        line.get("licence", ""), parse_spans(line.get("not_music", ""), where), line.get("group") or name,
        str(folder / line["pose"]) if line.get("pose") else "",
    )  # fmt: skip
