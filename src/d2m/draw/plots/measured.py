"""Measures over distinct songs, with their chance levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from d2m.draw.plots import COLOURS, _figure, _require_series, _tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def measured_bars(values: Mapping[str, tuple[float, float, float, float | None]], *, title: str, xlabel: str) -> Figure:
    """A horizontal bar per measure: pooled, with the test and the validation songs as marks and chance as a line.

    Args:
        values: label -> (pooled, test, validation, chance); a NaN or None is left out.
        xlabel: with the unit.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(values, "measured_bars")
    figure = _figure(9, 1.6 + 0.32 * len(values))
    axes = figure.add_subplot()
    pooled, test, validation, chance = (
        np.array([np.nan if v is None else v for v in column], float) for column in zip(*values.values(), strict=True)
    )
    y = np.arange(len(values))
    axes.barh(y, pooled, 0.62, color=COLOURS[5], label="pooled")
    axes.plot(test, y - 0.1, "o", color=COLOURS[0], markersize=4, label="test songs")
    axes.plot(validation, y + 0.1, "^", color=COLOURS[1], markersize=4, label="validation songs")
    if np.isfinite(chance).any():
        axes.plot(chance, y, "|", color="black", markersize=13, markeredgewidth=1.6, label="chance")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(y, list(values))
    axes.tick_params("y", labelsize=8)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set(title=title, xlabel=xlabel)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(axes, "x")
    return figure
