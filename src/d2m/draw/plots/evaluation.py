"""The figures of an evaluation: a panel each, a row per system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from d2m.draw.plots import COLOURS, _figure, _require_series, _tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3


class FigureRow(NamedTuple):
    """A value, the ends of its interval over songs and its chance level; None if missing."""

    value: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None


def evaluation_panels(panels: Mapping[str, Mapping[str, FigureRow]], *, title: str) -> Figure:
    """A panel per figure, a row per system, the first system's value (the ground truth) as a line through all rows.

    Args:
        panels: title of the panel, with unit -> system -> its value.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(panels, "evaluation_panels")
    systems = list(dict.fromkeys(s for rows in panels.values() for s in rows))
    n_rows = -(-len(panels) // _COLUMNS)
    figure = _figure(14, 0.9 + n_rows * (0.75 + 0.24 * len(systems)))
    axes = figure.subplots(n_rows, _COLUMNS, squeeze=False)
    for k, (name, rows) in enumerate(panels.items()):
        ax = axes[k // _COLUMNS, k % _COLUMNS]
        for y, system in enumerate(systems):
            row = rows.get(system)
            if row is None or not np.isfinite(row.value):
                continue
            colour = COLOURS[y % len(COLOURS)]
            if row.low is not None and row.high is not None and np.isfinite([row.low, row.high]).all():
                ax.plot([row.low, row.high], [y, y], color=colour, linewidth=2)
            ax.plot(row.value, y, "o", color=colour, markersize=6)
            if row.chance is not None and np.isfinite(row.chance):
                ax.plot(row.chance, y, "|", color="black", markersize=11, markeredgewidth=1.6)
        truth = rows.get(systems[0])
        if truth is not None and np.isfinite(truth.value):
            ax.axvline(truth.value, color=COLOURS[0], linewidth=0.8, linestyle=":")
        ax.set_yticks(range(len(systems)), systems if k % _COLUMNS == 0 else [""] * len(systems))
        ax.set_ylim(len(systems) - 0.5, -0.5)
        ax.set_title(name, fontsize=8)
        ax.tick_params(labelsize=8)
        if max(map(abs, ax.get_xlim())) < 1e-9:  # all values are 0: an axis of 1e-17 says nothing
            ax.set_xlim(-0.05, 1.0)
        ax.locator_params("x", nbins=5)
        _tidy(ax, "x")
    for k in range(len(panels), n_rows * _COLUMNS):
        axes[k // _COLUMNS, k % _COLUMNS].set_axis_off()
    handles = [
        axes[0, 0].plot([], [], "o-", color="0.4", label="value, 95 % over songs")[0],
        axes[0, 0].plot([], [], "|", color="black", markersize=11, markeredgewidth=1.6, label="chance or floor")[0],
        axes[0, 0].plot([], [], ":", color=COLOURS[0], label=systems[0])[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
