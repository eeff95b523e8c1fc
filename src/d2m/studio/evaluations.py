"""Finds reports of ``d2m evaluate`` on the studio's bundles and runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m.bundle import PROVENANCE, WEIGHTS
from d2m.bundle.run_folder import RunFolder
from d2m.reports.evaluate.systems import REAL

REPORT = "report.json"
#: Maximum number of reports, size of one in bytes, and search depth below a folder.
MAX_REPORTS, MAX_BYTES, MAX_DEPTH = 100, 2**24, 5
#: Subfolders of a run that hold no reports.
_SKIPPED = frozenset({"bundle", "checkpoints", "csv", "dances", "latent", "lineage", "tensorboard", "videos", "wandb"})
#: The fields of a figure that the page shows.
_SHOWN = ("value", "low", "high", "chance", "better", "unit")


@dataclass(frozen=True)
class Places:
    """The folders that are searched for reports.

    bundles: for each RUN/bundle, RUN/evaluation and the folder evaluation beside RUN are searched. runs: all folders
    below it are searched; None: none.
    """

    bundles: Sequence[str]
    runs: str | None = None

    def reports(self) -> Iterator[Path]:
        """Every report once."""
        beside = [Path(b).parent for b in self.bundles]
        reports = [RunFolder(folder).evaluation / REPORT for run in beside for folder in (run, run.parent)]
        if self.runs is not None:
            reports += _below(Path(self.runs))
        yield from dict.fromkeys(p.resolve() for p in reports if p.is_file())


def _below(folder: Path) -> list[Path]:
    reports: list[Path] = []
    for where, folders, files in os.walk(folder, followlinks=True):  # as in d2m runs; the depth limit ends link loops
        deep = len(Path(where).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith(".") and deep < MAX_DEPTH)
        if REPORT in files:
            reports.append(Path(where) / REPORT)
        if len(reports) >= MAX_REPORTS:
            break
    return reports


def weights_digest(bundle: Path) -> str:
    """The id of a bundle in reports: the sha256 of its weights, from its provenance; "" if there is none."""
    try:
        digest = json.loads((bundle / PROVENANCE).read_text(encoding="utf-8"))["files"][WEIGHTS]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(digest)


def evaluations(places: Places) -> list[dict[str, Any]]:
    """Evaluated bundles, each from its newest report.

    Returns:
        Per bundle: "space", the sha256 of its weights; "name" in the report and "report", its path; "songs", "corpus",
        "splits", "draws" and "seed" of the evaluation; "cards", card -> figure -> value, interval over songs, chance
            level, which direction is better, unit, and "real", the same figure for the real dances.
    """
    newest: dict[str, tuple[float, dict[str, Any]]] = {}
    for path in places.reports():
        report = _read(path)
        for name, facts in report.get("bundles", {}).items():
            space, when = str(facts.get("sha256")), path.stat().st_mtime
            if space not in newest or newest[space][0] < when:
                about = {k: report.get(k) for k in ("corpus", "splits", "draws", "seed")}
                measured = {"name": name, "space": space, "report": str(path), "songs": len(report.get("songs", ()))}
                newest[space] = when, {**measured, **about, "cards": _cards(report, name)}
    return [row for _, row in newest.values()]


def _cards(report: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    tables = {}
    for card, table in report.get("cards", {}).items():
        rows = table.get("rows", {})
        real = rows.get(REAL, {})
        tables[card] = {
            figure: {**{k: of.get(k) for k in _SHOWN}, "real": real.get(figure, {}).get("value")}
            for figure, of in rows.get(name, {}).items()
        }
    return tables


def _read(path: Path) -> dict[str, Any]:
    """A report of ``d2m evaluate``; {} if it is another command's or unreadable."""
    try:
        report = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= MAX_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    known = isinstance(report, dict) and isinstance(report.get("bundles"), dict) and "cards" in report
    return report if known else {}
