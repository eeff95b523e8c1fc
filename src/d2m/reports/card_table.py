"""A card's table for people and for programs: every figure of every row, with its sample size, chance and interval."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from rich import box
from rich.table import Table as RichTable

from d2m.metrics.cards import Table
from d2m.metrics.figure import Figure

BEST = {"higher": "high", "lower": "low", "real": "as real"}


def plain_table(table: Table) -> dict[str, Any]:
    """As JSON holds it: "card", its pins; "rows": what was danced -> figure -> its fields."""
    card = None if table.card is None else asdict(table.card)
    return {"card": card, "rows": {n: {k: asdict(f) for k, f in row.items()} for n, row in table.rows.items()}}


def rich_table(table: Table) -> RichTable:
    """A line per figure and row; why something could not be measured is told below."""
    name = table.card.name if table.card else ""
    out = RichTable(title=f"card {name}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("figure", "best", "row"):
        out.add_column(column)
    for column in ("value", "95 %", "chance", "z", "n"):
        out.add_column(column, justify="right")
    names = list(dict.fromkeys(k for row in table.rows.values() for k in row))
    for figure in names:
        for i, (row, figures) in enumerate(table.rows.items()):
            f = figures[figure]
            out.add_row(*(("", "") if i else (figure, BEST[f.better])), row, *_cells(f))
    notes = {f"{k}: {f.note}": None for row in table.rows.values() for k, f in row.items() if not np.isfinite(f.value)}
    out.caption, out.caption_justify = "\n".join(notes), "left"
    return out


def _cells(figure: Figure) -> tuple[str, ...]:
    interval = "" if figure.low is None or figure.high is None else f"{_number(figure.low)} to {_number(figure.high)}"
    return _number(figure.value), interval, _number(figure.chance), _number(figure.z), str(figure.n)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if np.isfinite(value) else "-"
