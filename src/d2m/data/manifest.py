"""The list of recordings of a raw corpus: ``manifest.csv`` next to the folders of songs and poses.

Columns: name, genre, audio (may be empty: a dance without music), pose; optional group (recordings that must
share a split: one song, one dancer), start and end (seconds of the recording to use), licence, and, if recordings
differ in what their files do not state, source and :data:`STATED`. Other columns are ignored. Paths are relative to the
manifest.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.core.spreadsheets import plain_text, read_spreadsheet

MANIFEST = "manifest.csv"
COLUMNS = ("name", "genre", "audio", "pose")
OPTIONAL = ("group", "start", "end", "licence")
#: Columns about one recording; read by :meth:`d2m.prepare.process.Options.of`.
STATED = ("source", "unit", "up", "fps", "order", "picture", "mirror", "swap_sides", "audio_offset")


@dataclass(frozen=True)
class Recording:
    """One dance, with or without music.

    name: unique. genre: as the manifest spells it. audio, pose: files. group: recordings with the same group share a
        split.
    start_s, end_s: the part to use, in seconds of the poses; end_s None: to the end. offset_s: the second of the poses
        at which the audio file begins.
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
    offset_s: float = 0.0

    def beginning(self, offset_s: float) -> Recording:
        """The same with its audio file beginning at this second of the poses; what lies before both began is left out.

        Raises:
            D2MError: the part to use is over before the audio begins.
        """
        if self.audio is None or not offset_s:
            return self
        if self.end_s is not None and self.end_s <= offset_s:
            raise D2MError(f"{self.audio}: at audio_offset={offset_s:g} it begins after end {self.end_s:g}; mend one")
        return replace(self, offset_s=offset_s, start_s=max(self.start_s, offset_s))

    @property
    def audio_start_s(self) -> float:
        """Second of the audio file at which the part to use starts."""
        return self.start_s - self.offset_s

    @property
    def audio_end_s(self) -> float | None:
        """Second of the audio file at which it ends; None: the end of the file."""
        return None if self.end_s is None else self.end_s - self.offset_s


def _file(root: Path, cell: str) -> Path:
    """A path as the manifest has it: relative to its folder, of the home folder, with Windows' separators, or with
    letters composed otherwise than in the file's name (é as one letter, or as e and an accent)."""
    path = root / (os.path.expanduser(cell) if cell.startswith("~/") else cell)
    if not path.exists():
        spelled = [cell, cell.replace("\\", "/")]
        spelled += [unicodedata.normalize(form, name) for form in ("NFC", "NFD") for name in spelled]
        return next((other for name in spelled if (other := root / name).exists()), path)
    return path


def _seconds(row: dict[str | None, str], column: str, where: str, least: float = 0.0) -> float | None:
    text = row.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        some = " (0 or more)" if least == 0 else ""
        raise D2MError(f"{where}: {column} is '{text}'; write seconds{some} or leave it empty")
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
        header, rows, comma = read_spreadsheet(path)
    except FileNotFoundError as e:
        raise D2MError(
            f"{path}: no such file; a raw corpus has a {MANIFEST} with the columns {', '.join(COLUMNS)}"
        ) from e
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise D2MError(f"{path}: not readable as CSV ({e}); save it as CSV in UTF-8") from e
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
            row[column] = " ".join(plain_text(row.get(column, "")).split())
        for column in ("start", "end", "unit", "fps", "audio_offset") if comma else ():
            row[column] = row.get(column, "").replace(",", ".")
        for column in ("name", "genre", "pose"):
            if not row[column]:
                raise D2MError(f"{where}: {column} is empty; every recording needs one")
        if row["name"] in names:
            raise D2MError(f"{where}: the name '{row['name']}' is used twice; names must be unique")
        names.add(row["name"])
        start, end = _seconds(row, "start", where), _seconds(row, "end", where)
        if end is not None and end <= (start or 0.0):
            raise D2MError(f"{where}: end {end} is not after start {start or 0.0}; correct the times")
        offset = _seconds(row, "audio_offset", where, least=-1e5) or 0.0
        recordings.append(
            Recording(
                name=row["name"],
                genre=row["genre"],
                audio=_file(root, row["audio"]) if row["audio"] else None,
                pose=_file(root, row["pose"]),
                # ./a.mp3 and a.mp3 are the same song.
                group=row["group"] or (os.path.normpath(row["audio"]) if row["audio"] else row["name"]),
                start_s=start or 0.0,
                end_s=end,
                licence=row["licence"],
                stated=tuple((column, row[column]) for column in STATED if row.get(column)),
            ).beginning(offset)
        )
    if not recordings:
        raise D2MError(f"{path}: lists no recordings; add one line per dance")
    return recordings
