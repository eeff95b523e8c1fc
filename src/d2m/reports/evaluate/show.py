"""A card's table on the terminal and as a figure."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from d2m.draw.plots import save
from d2m.draw.plots.evaluation import FigureRow, evaluation_panels
from d2m.metrics.cards import Figure, Table

_BETTER = {"higher": "higher is better", "lower": "lower is better", "real": "the real dances' is best"}


def number(x: float | None) -> str:
    """Three digits that matter, or a dash."""
    return "–" if x is None or x != x else f"{x:.3g}"


def cell(figure: Figure) -> str:
    """A figure as text: value, 95 % interval over songs, then chance and z where it has them."""
    text = number(figure.value)
    if figure.low is not None and figure.low == figure.low:
        text += f" [{number(figure.low)}, {number(figure.high)}]"
    if figure.chance is not None:
        text += f"\n chance {number(figure.chance)}"
    if figure.z is not None and figure.z == figure.z:
        text += f", z {figure.z:.1f}"
    return text


def _card_name(table: Table) -> str:
    return table.card.name if table.card is not None else ""


def figure_names(table: Table) -> list[str]:
    """Every figure that a row has, in the order of first appearance."""
    return list(dict.fromkeys(name for row in table.rows.values() for name in row))


def print_table(table: Table, console: Console | None = None) -> None:
    """Figures down, systems across. Nothing of another card is ever in it."""
    shown = RichTable(title=f"card {_card_name(table)}", title_justify="left", show_lines=True)
    shown.add_column("figure")
    for system in table.rows:
        shown.add_column(system, overflow="fold")
    for name in figure_names(table):
        some = next(row[name] for row in table.rows.values() if name in row)
        cells = [cell(row[name]) if name in row else "" for row in table.rows.values()]
        shown.add_row(f"{name}\n[dim]{some.unit}; {_BETTER[some.better]}[/dim]", *cells)
    (console or Console()).print(shown)


def write_figure(table: Table, path: Path) -> None:
    """One panel per figure: every system's value with its interval, chance, and the real dances' value as a line."""
    panels = {}
    for name in figure_names(table):
        with_it = {s: row[name] for s, row in table.rows.items() if name in row}
        unit = next(iter(with_it.values()))
        rows = {s: FigureRow(f.value, f.low, f.high, f.chance) for s, f in with_it.items()}
        panels[f"{name} ({_BETTER[unit.better]})\n{unit.unit}"] = rows
    save(evaluation_panels(panels, title=f"Card {_card_name(table)}, held-out songs"), path)
