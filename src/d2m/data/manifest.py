"""The list of recordings of a raw corpus: ``manifest.csv`` next to the folders of songs and poses.

Columns: name, genre, audio (may be empty: a dance without music), pose; optional group (recordings that must
share a split: one song, one dancer), start and end (seconds of the recording to use), licence, and, if recordings
differ in what their files do not state, source and :data:`STATED`. Other columns are ignored. Paths are relative to the
manifest.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from d2m.core.errors import D2MError

MANIFEST = "manifest.csv"
COLUMNS = ("name", "genre", "audio", "pose")
OPTIONAL = ("group", "start", "end", "licence")
#: Columns about the poses of one recording; read by :meth:`d2m.prepare.process.Options.of`.
STATED = ("source", "unit", "up", "fps", "order", "picture", "mirror", "swap_sides")


@dataclass(frozen=True)
class Recording:
    """One dance, with or without music.

    name: unique. genre: as the manifest spells it. audio, pose: files. group: recordings with the same group share a
        split.
    start_s, end_s: the part to use, in seconds on the common clock of song and motion; end_s None: to the end.
    stated: the non-empty columns of :data:`STATED` and their text.
    """

    name: str
    genre: str
    audio: Path | None
    pose: Path
    group: str
    start_s: float = 0.0
    end_s: float | None = None
    licence: str = ""
    stated: tuple[tuple[str, str], ...] = ()


def _cell(value: str | list[str] | None) -> str:
    """A list: the cells beyond the header's."""
    return ("".join(value) if isinstance(value, list) else value or "").strip()


def _seconds(row: dict[str | None, str], column: str, where: str) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise D2MError(f"{where}: {column} is '{text}'; write seconds (0 or more) or leave it empty")
    return value


def read_manifest(root: str | Path) -> list[Recording]:
    """Read ``root/manifest.csv`` without opening the files that it names.

    Without a group column, recordings with the same audio file form a group, and each recording without music its own.

    Raises:
        D2MError: no manifest, not a CSV, a missing column or value, a duplicate name, or no recordings.
    """
    root = Path(root)
    path = root / MANIFEST
    try:
        with open(path, newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f)
            header = [h.strip() for h in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = [(reader.line_num, {k: _cell(v) for k, v in row.items()}) for row in reader]
    except FileNotFoundError as e:
        raise D2MError(
            f"{path}: no such file; a raw corpus has a {MANIFEST} with the columns {', '.join(COLUMNS)}"
        ) from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise D2MError(f"{path}: not readable as CSV ({e}); write it in UTF-8 with commas") from e
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise D2MError(f"{path}: no column {', '.join(missing)}; its first line must name {', '.join(COLUMNS)}")
    if twice := [c for c in (*COLUMNS, *OPTIONAL, *STATED) if header.count(c) > 1]:
        raise D2MError(f"{path}: column {twice[0]} appears twice; keep one")
    recordings: list[Recording] = []
    names: set[str] = set()
    for number, row in rows:
        where = f"{path} line {number}"
        if not any(row.values()):
            continue
        if row.pop(None, ""):
            raise D2MError(f"{where}: more values than columns; quote values that contain a comma")
        if any("\0" in value for value in row.values()):
            raise D2MError(f"{where}: contains a NUL character; save the manifest as plain UTF-8")
        for column in ("name", "genre", "group", "licence"):  # a line break would break tables and messages
            row[column] = " ".join(row.get(column, "").split())
        for column in ("name", "genre", "pose"):
            if not row[column]:
                raise D2MError(f"{where}: {column} is empty; every recording needs one")
        if row["name"] in names:
            raise D2MError(f"{where}: the name '{row['name']}' is used twice; names must be unique")
        names.add(row["name"])
        start, end = _seconds(row, "start", where), _seconds(row, "end", where)
        if end is not None and end <= (start or 0.0):
            raise D2MError(f"{where}: end {end} is not after start {start or 0.0}; correct the times")
        recordings.append(
            Recording(
                name=row["name"],
                genre=row["genre"],
                audio=root / row["audio"] if row["audio"] else None,
                pose=root / row["pose"],
                # ./a.mp3 and a.mp3 are the same song.
                group=row["group"] or (os.path.normpath(row["audio"]) if row["audio"] else row["name"]),
                start_s=start or 0.0,
                end_s=end,
                licence=row["licence"],
                stated=tuple((column, row[column]) for column in STATED if row.get(column)),
            )
        )
    if not recordings:
        raise D2MError(f"{path}: lists no recordings; add one line per dance")
    return recordings
