"""What an evaluation prints: a card's table, bundles compared song by song; and a card as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from d2m.draw.plots import save
from d2m.draw.plots.evaluation import FigureRow, evaluation_panels
from d2m.metrics.cards import Table
from d2m.metrics.figure import Figure
from d2m.reports.evaluate.systems import REAL

_BETTER = {"higher": "higher is better", "lower": "lower is better", "real": "best: as real dances"}


def number(x: float | None) -> str:
    """Three digits that matter, or a dash."""
    return "–" if x is None or x != x else f"{x:.3g}"


def value(figure: Figure | None) -> str:
    """A figure's value alone."""
    return "" if figure is None else number(figure.value)


def with_interval(figure: Figure | None) -> str:
    """Value and 95 % interval over songs."""
    if figure is None or figure.low is None or figure.low != figure.low:
        return value(figure)
    return f"{value(figure)} [{number(figure.low)}, {number(figure.high)}]"


def against_chance(figure: Figure | None) -> str:
    """Chance, or the floor of a distance, and how many deviations away the value is."""
    if figure is None or figure.chance is None:
        return ""
    z = "" if figure.z is None or figure.z != figure.z else f", z {figure.z:.1f}"
    return number(figure.chance) + z


def _card_name(table: Table) -> str:
    return table.card.name if table.card is not None else ""


def figure_names(table: Table) -> list[str]:
    """Every figure that a row has, in the order of first appearance."""
    return list(dict.fromkeys(name for row in table.rows.values() for name in row))


def print_table(table: Table, measured: Sequence[str] = (), console: Console | None = None) -> None:
    """Two tables: the measured systems beside the real dances, then all other rows, values alone.

    Args:
        measured: rows with interval and chance.
    """
    out = console or Console()
    shown = RichTable(title=f"card {_card_name(table)}: value [95 % over songs]", title_justify="left")
    shown.add_column("figure", no_wrap=True)
    shown.add_column("best", no_wrap=True)
    others = [s for s in table.rows if s not in measured]
    first = [s for s in others if s == REAL]
    for system in (*first, *measured):
        shown.add_column(system, overflow="fold")
        if system in measured:
            shown.add_column("chance or floor", overflow="fold")
    for name in figure_names(table):
        rows = {s: row.get(name) for s, row in table.rows.items()}
        best = next(f.better for f in rows.values() if f is not None)
        cells = [value(rows[s]) for s in first]
        for s in measured:
            cells += [with_interval(rows[s]), against_chance(rows[s])]
        shown.add_row(name, best, *cells)
    out.print(shown)
    if len(others) > 1:
        more = RichTable(title=f"card {_card_name(table)}: real dances and baselines", title_justify="left")
        more.add_column("figure", no_wrap=True)
        for system in others:
            more.add_column(system, overflow="fold")
        for name in figure_names(table):
            more.add_row(name, *(value(table.rows[s].get(name)) for s in others))
        out.print(more)


def print_comparison(report: Mapping[str, Any], console: Console | None = None) -> None:
    """The objective of every bundle, and the differences between any two, song by song.

    Args:
        report: of :func:`d2m.reports.evaluate.run.evaluate`; of it "objective", "paired" and "cards".
    """
    out = console or Console()
    if report["objective"]:
        values = ", ".join(f"{name} {number(x)}" for name, x in report["objective"].items())
        out.print(f"objective, from 0 (chance) to 1 (as real dances): {values}", markup=False, highlight=False)
    pairs = {pair: found for pair, found in report["paired"].items() if found}
    if not pairs:
        return
    measures = list(dict.fromkeys(name for found in pairs.values() for name in found))
    best = {k: f["better"] for c in report["cards"].values() for row in c["rows"].values() for k, f in row.items()}
    songs = max(int(m["n_songs"]) for found in pairs.values() for m in found.values())
    title = f"differences on the same {songs} songs: mean [95 % over songs], p of no difference"
    shown = RichTable(title=title, title_justify="left")
    shown.add_column("bundles", overflow="fold")
    for name in measures:
        shown.add_column(f"{name}\nbest: {best[name]}" if name in best else name, overflow="fold")
    for pair, found in pairs.items():
        shown.add_row(pair, *(_difference(found.get(name)) for name in measures))
    out.print(shown)


def _difference(of: Mapping[str, float] | None) -> str:
    if of is None:
        return ""
    return f"{number(of['difference'])} [{number(of['low'])}, {number(of['high'])}], p {of['p']:.2g}"


def write_figure(table: Table, path: Path) -> None:
    """One panel per figure: every system's value with its interval, chance, and the real dances' value as a line."""
    panels = {}
    for name in figure_names(table):
        with_it = {s: row[name] for s, row in table.rows.items() if name in row}
        unit = next(iter(with_it.values()))
        rows = {s: FigureRow(f.value, f.low, f.high, f.chance) for s, f in with_it.items()}
        panels[f"{name} ({_BETTER[unit.better]})\n{unit.unit}"] = rows
    save(evaluation_panels(panels, title=f"Card {_card_name(table)}, held-out songs"), path)
