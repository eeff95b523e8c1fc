"""Preferences and guesses in a blind study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from d2m.core.errors import D2MError
from d2m.draw.plots import COLOURS, _figure, _require_series, _tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def strength_intervals(values: Mapping[str, tuple[float, float, float]], *, title: str) -> Figure:
    """A point and a line per system, the strongest on top.

    Args:
        values: label -> (strength, low, high), log odds; NaN ends are left out.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(values, "strength_intervals")
    ordered = sorted(values.items(), key=lambda item: item[1][0])
    figure = _figure(7.5, 1.7 + 0.42 * len(ordered))
    axes = figure.add_subplot()
    strength, low, high = (np.array(column, float) for column in zip(*(v for _, v in ordered), strict=True))
    y = np.arange(len(ordered))
    axes.hlines(y, low, high, color=COLOURS[0], linewidth=2, label="95 % over participants")
    axes.plot(strength, y, "o", color=COLOURS[1], label="strength")
    axes.axvline(0, color="black", linewidth=0.8, linestyle=":", label="mean of all systems")
    axes.set_yticks(y, [label for label, _ in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set(title=title, xlabel="Bradley-Terry strength (log odds)", ylabel="system")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(axes, "x")
    return figure


def confusion_maps(counts: Mapping[str, ArrayLike], genres: Sequence[str], *, title: str = "Genre guesses") -> Figure:
    """A map per system: rows are the intended genres of dances, columns the guesses, as shares of the row.

    Args:
        counts: label -> (g, g).

    Raises:
        D2MError: nothing to plot, or a wrong shape.
    """
    _require_series(counts, "confusion_maps")
    maps = {k: np.asarray(v, float) for k, v in counts.items()}
    for label, m in maps.items():
        if m.shape != (len(genres), len(genres)):
            raise D2MError(f"'{label}': shape {m.shape}; give counts ({len(genres)}, {len(genres)})")
    columns = min(3, len(maps))
    rows = -(-len(maps) // columns)
    figure = _figure(1.5 + 3.1 * columns, 0.9 + 3.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    image = None
    for axes, (label, m) in zip(panels, maps.items(), strict=False):
        total = m.sum(1, keepdims=True)
        shares = np.divide(m, total, out=np.full_like(m, np.nan), where=total > 0)
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
        for (i, j), n in np.ndenumerate(m):
            if total[i, 0]:
                colour = "black" if shares[i, j] > 0.6 else "white"
                axes.text(j, i, f"{n:g}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(genres)), genres, rotation=30, fontsize=8)
        axes.set_yticks(range(len(genres)), genres, fontsize=8)
        axes.set(title=f"{label} (n={m.sum():g})", xlabel="guessed", ylabel="meant to be")
    figure.colorbar(image, ax=list(panels), label="share of the row")  # type: ignore[arg-type]
    figure.suptitle(title)
    return figure
