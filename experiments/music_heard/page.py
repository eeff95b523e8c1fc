"""The report of measured runs: report.json, report.md and index.html."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, write_json
from d2m.draw import plots
from d2m.draw.plots.latent import variance_shares
from d2m.draw.plots.measured import measured_bars
from d2m.reports.page import Section, write_page
from experiments.music_heard.lines import Line, Part

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def earlier(path: str) -> dict[tuple[str, str], float]:
    """(part, line) -> pooled value, from an earlier report.json.

    Raises:
        D2MError: not such a report.
    """
    try:
        parts = json.loads(Path(path).read_text(encoding="utf-8"))["parts"]
        return {(k, r["name"]): r["pooled"] for k, p in parts.items() for r in p["lines"] if r["pooled"] is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise D2MError(f"before={path}: not a report.json of this experiment; give one that it wrote") from e


def cell(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def p_cell(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2g}"


def table(part: Part, before: Mapping[tuple[str, str], float]) -> list[dict[str, Any]]:
    """Rows of a part; columns that are empty throughout are left out."""
    rows = [
        {
            "measure": r.name, "test": cell(r.test), "validation": cell(r.validation), "pooled": cell(r.pooled),
            "chance": cell(r.chance), "p": p_cell(r.p), "before": cell(before.get((part.key, r.name))),
            "note": r.note or "-",
        }
        for r in part.lines
    ]  # fmt: skip
    keep = [k for k in (rows[0] if rows else ()) if k == "measure" or any(r[k] != "-" for r in rows)]
    return [{k: r[k] for k in keep} for r in rows]


def markdown(parts: Sequence[Part], before: Mapping[tuple[str, str], float]) -> str:
    """A table per part, to paste into a README."""
    out: list[str] = []
    for part in parts:
        out += [f"### {part.heading}", "", part.text, ""]
        if rows := table(part, before):
            out += ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
            out += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
            out.append("")
    return "\n".join(out)


def figure_of(part: Part) -> tuple[Figure, str] | None:
    """The part's figure and its caption, if there is something to draw."""
    if part.key == "variance":
        shares = {
            f"{side}, {group}": part.numbers[group][side]
            for group in ("held-out songs", "all songs")
            for side in ("music", "dance")
            if part.numbers.get(group)
        }
        return (variance_shares(shares), "Components of all runs together.") if shares else None
    shown = [r for r in part.lines if part.key != "judged" or r.name.endswith("/ real")]
    lines = [r for r in shown if not math.isnan(r.pooled)]
    if part.key not in _AXES or not lines:
        return None
    return measured_bars(
        {r.name: (r.pooled, r.test, r.validation, r.chance) for r in lines}, title=part.heading, xlabel=_AXES[part.key]
    ), "Bars: distinct held-out songs of all runs together."


_AXES = {
    "style": "balanced accuracy (0 to 1)",
    "probe": "balanced accuracy (0 to 1)",
    "judged": "probability of the own genre / the real dances' (1)",
    "edits": "probability by the judge, or share of songs (0 to 1)",
    "energy": "generated / real kinetic energy (1)",
    "retrieval": "share of songs (0 to 1)",
    "music_edits": "share of songs, share of the predicted shift, or genre steps (1)",
    "halves": "share (0 to 1)",
}


def publish(
    out: Path, title: str, intro: Section, parts: Sequence[Part], facts: Mapping[str, Any], before: str = ""
) -> str:
    """Write the three files; returns the markdown."""
    then = earlier(before) if before else {}
    write_json(out / "report.json", {"parts": {p.key: p.to_dict() for p in parts}, "facts": facts})
    text = markdown(parts, then)
    with atomic_path(out / "report.md") as temp:
        temp.write_text(f"# {title}\n\n{intro.text}\n\n{text}", encoding="utf-8")
    sections = [intro]
    for part in parts:
        drawn = figure_of(part)
        if drawn is not None:
            plots.save(drawn[0], out / "figures" / f"{part.key}.png")
        sections.append(Section(part.heading, part.text, table=table(part, then), figures=[drawn] if drawn else []))
    write_page(out / "index.html", title, sections)
    return text


__all__ = ["Line", "earlier", "markdown", "publish", "table"]
