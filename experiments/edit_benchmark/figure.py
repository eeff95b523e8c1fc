"""The benchmark's figure: success against content, and the aggregates with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from d2m.draw.plots import COLOURS, MARKERS, _figure, _tidy
from experiments.edit_benchmark.edits import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def benchmark_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Left: content against success over the strengths of every method, from the unedited dance. Right: aggregates."""
    figure = _figure(11, 4.6)
    curves, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1]})
    for k, r in enumerate([r for r in rows if r["method"] in METHODS]):
        look: dict[str, Any] = {
            "color": COLOURS[k % len(COLOURS)],
            "marker": MARKERS[k % len(MARKERS)],
            "markersize": 4,
        }
        points = np.array([[0.0, 1.0], *([p["success"], p["content"]] for p in r["curve"])], np.float64)
        curves.plot(*points.T, label=r["method"], **look)
    curves.axvline(0, color="black", linewidth=0.8)
    curves.axhline(0, color="black", linewidth=0.8)
    curves.set_xlabel("success (0: a random edit of this length, 1: real dances)")
    curves.set_ylabel("content (0: another song's dance, 1: unedited)")
    curves.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.02, 0.08))
    _tidy(curves, "both")
    shown = [r for r in rows if r["aggregate"] is not None and not np.isnan(r["aggregate"])]
    values = np.array([r["aggregate"] for r in shown])
    reach = np.array([r["aggregate_95"] for r in shown], np.float64)
    low, high = np.maximum(values - reach[:, 0], 0), np.maximum(reach[:, 1] - values, 0)
    y = np.arange(len(shown))
    colours = [COLOURS[0] if r["method"] in METHODS else COLOURS[5] for r in shown]
    bars.barh(y, values, 0.62, color=colours, xerr=np.nan_to_num(np.stack([low, high])), ecolor="black", capsize=2)
    bars.set_yticks(y, [r["method"] for r in shown])
    bars.tick_params("y", labelsize=8)
    bars.set_ylim(len(shown) - 0.5, -0.5)
    bars.set(xlabel="harmonic mean of success, content and naturalness", xlim=(0, 1))
    _tidy(bars, "x")
    figure.suptitle(title)
    return figure
