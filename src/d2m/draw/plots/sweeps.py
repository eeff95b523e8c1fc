"""Figures of a sweep: values by parameter, and the importance of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from d2m.draw.plots import COLOURS, _figure, _require_series, _tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _scaled(values: Sequence[str]) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Positions in [0, 1] and the ticks of an axis: numbers by size (by logarithm if the largest is twenty times the
    smallest), else choices."""
    try:
        numbers = np.array([float(v) for v in values])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        choices = sorted(set(values))
        at = np.linspace(0, 1, len(choices)) if len(choices) > 1 else np.array([0.5])
        return np.array([at[choices.index(v)] for v in values]), list(zip(at.tolist(), choices))
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return np.full(len(numbers), 0.5), [(0.5, f"{low:.3g}")]
    log = low > 0 and high / low >= 20

    def placed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(x / low) / np.log(high / low) if log else (x - low) / (high - low)

    ticks = np.unique(numbers)
    if len(ticks) > 5:
        ticks = np.geomspace(low, high, 5) if log else np.linspace(low, high, 5)
    return placed(numbers), list(zip(placed(ticks).tolist(), _texts(ticks)))


def _texts(ticks: NDArray[np.float64]) -> list[str]:
    """With enough digits to distinguish the ticks."""
    digits = next((d for d in (3, 4, 5) if len({f"{t:.{d}g}" for t in ticks}) == len(ticks)), 6)
    return [f"{t:.{digits}g}" for t in ticks]


def _broken(key: str) -> str:
    """A long key on two lines, broken at the dot that is nearest to its middle."""
    dots = [i for i, c in enumerate(key) if c == "."]
    if len(key) <= 22 or not dots:
        return key
    at = min(dots, key=lambda i: abs(i - len(key) / 2)) + 1
    return f"{key[:at]}\n{key[at:]}"


def parallel_coordinates(rows: Sequence[tuple[Mapping[str, str], float]], objective: str, mode: str) -> Figure:
    """A line per finished trial through its parameters to its value; better is darker, the best coloured.

    Args:
        rows: parameters, the same keys in each, and the objective's value.
        objective: what the value is. mode: "min" or "max".

    Raises:
        D2MError: nothing to plot.
    """
    _require_series({str(i): row for i, row in enumerate(rows)}, "parallel_coordinates")
    keys = list(rows[0][0])
    columns = [*([params[k] for params, _ in rows] for k in keys), [repr(value) for _, value in rows]]
    scaled = [_scaled(column) for column in columns]
    values = np.array([value for _, value in rows])
    rank = np.argsort(np.argsort(values if mode == "min" else -values))
    figure = _figure(3 + 2.2 * len(keys), 5)
    axes = figure.add_subplot()
    for i in np.argsort(-rank):  # the best last, on top
        best = rank[i] == 0
        shade = str(0.25 + 0.6 * rank[i] / max(1, len(rows) - 1))
        points = [at[i] for at, _ in scaled]
        axes.plot(
            points, color=COLOURS[1] if best else shade, linewidth=2.6 if best else 1.3, label="best" if best else None
        )
    for x, (_, ticks) in enumerate(scaled):
        axes.axvline(x, color="black", linewidth=0.8)
        for y, text in ticks:
            axes.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                          bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8})  # fmt: skip
    labels = [_broken(k) for k in keys]
    better = "lower" if mode == "min" else "higher"
    axes.set_xticks(range(len(columns)), [*labels, f"{objective}\n({better} is better)"])
    axes.set_xlabel("parameters; on the right, the objective")
    axes.set(title=f"{len(rows)} finished trials", xlim=(-0.15, len(keys) + 0.35), ylim=(-0.05, 1.05))
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 1.1))
    return figure


def importance_bars(importances: Mapping[str, float], objective: str, n_trials: int) -> Figure:
    """A bar per parameter: its share of the objective's variance over the trials, largest first.

    Args:
        importances: parameter -> share; they add up to 1.
        objective: what was optimised. n_trials: number of trials behind the shares.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(importances, "importance_bars")
    ranked = sorted(importances.items(), key=lambda pair: -pair[1])
    figure = _figure(8, 1.4 + 0.4 * len(ranked))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(ranked)), [v for _, v in ranked], 0.62, color=COLOURS[0])
    axes.bar_label(bars, [f"{v:.2f}" for _, v in ranked], fontsize=8, padding=2)
    axes.set_yticks(range(len(ranked)), [k for k, _ in ranked])
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set(title=f"What {objective} depends on ({n_trials} finished trials)", xlabel="share of its variance")
    _tidy(axes, "x")
    return figure
