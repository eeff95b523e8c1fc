"""Arrays to figures: titles, units and legends on each; no pyplot, hence no global state and no window.

Colours are those of Okabe and Ito, suitable for all kinds of colour vision. Figures are for :func:`save`, for
:func:`d2m.reports.page.write_page`, and for loggers that take a matplotlib Figure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS, JOINTS
from d2m.draw.text import canvas
from d2m.motion.kinematics import ENERGY_UNIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A900")
MARKERS = "os^DvP*X"
JOINT_LABELS = tuple(j.replace("right_", "R ").replace("left_", "L ") for j in JOINTS)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    canvas()(figure)
    return figure


def _tidy(axes: Axes, axis: str = "y") -> None:
    axes.grid(True, axis=axis, color="0.88", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _require_series(values: Mapping[str, Any], what: str) -> None:
    if not values:
        raise D2MError(f"{what}: nothing to plot; give at least one labelled series")


def _per_joint(label: str, values: ArrayLike, ndim: int) -> NDArray[np.float64]:
    a = np.asarray(values, np.float64)
    if a.ndim != ndim or a.shape[-1] != len(JOINTS) or not a.size:
        raise D2MError(f"'{label}': shape {a.shape}; give {'(t, 14)' if ndim == 2 else '(14,)'}, one value per joint")
    return a


def _grouped_bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[float]], with_values: bool) -> None:
    """One cluster of bars per group; NaN leaves a gap."""
    width = 0.8 / len(series)
    for k, (label, values) in enumerate(series.items()):
        at = np.arange(len(groups)) + (k - (len(series) - 1) / 2) * width
        bars = axes.bar(at, np.asarray(values, float), 0.92 * width, label=label, color=COLOURS[k % len(COLOURS)])
        if with_values:
            texts = ["" if np.isnan(v) else f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.3g}" for v in values]
            axes.bar_label(bars, texts, fontsize=8, padding=2)
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.margins(y=0.12)
    axes.legend(frameon=False)
    _tidy(axes)


def kinetic_energy_bars(
    energies: Mapping[str, ArrayLike],
    *,
    title: str = "Mean kinetic energy per joint",
) -> Figure:
    """Bars of each joint's mean kinetic energy, a colour per label.

    Args:
        energies: label -> (14,) in the order of :data:`d2m.core.skeleton.JOINTS` (COCO / OpenPose).

    Raises:
        D2MError: nothing to plot, or a wrong shape.
    """
    _require_series(energies, "kinetic_energy_bars")
    figure = _figure(9, 4.2)
    axes = figure.add_subplot()
    series = {k: _per_joint(k, v, 1).tolist() for k, v in energies.items()}
    _grouped_bars(axes, JOINT_LABELS, series, with_values=False)
    axes.tick_params("x", rotation=45)
    axes.set(title=title, xlabel="joint", ylabel=f"kinetic energy ({ENERGY_UNIT})")
    return figure


def kinetic_energy_heatmap(
    energies: Mapping[str, ArrayLike],
    *,
    fps: float = FPS,
    title: str = "Kinetic energy over time",
) -> Figure:
    """Joints by time, one panel per label under a common colour scale (cut at the 99.5th percentile).

    Args:
        energies: label -> (t, 14).
        fps: frames per second of t.

    Raises:
        D2MError: nothing to plot, or a wrong shape.
    """
    _require_series(energies, "kinetic_energy_heatmap")
    maps = {k: _per_joint(k, v, 2) for k, v in energies.items()}
    known = np.concatenate([m[np.isfinite(m)] for m in maps.values()])
    top = float(np.percentile(known, 99.5)) if known.size else 1.0
    figure = _figure(9, 0.8 + 2.9 * len(maps))
    panels = figure.subplots(len(maps), 1, squeeze=False)[:, 0]
    image = None
    for axes, (label, values) in zip(panels, maps.items(), strict=True):
        extent = (0.0, len(values) / fps, len(JOINTS) - 0.5, -0.5)
        image = axes.imshow(
            values.T,
            aspect="auto",
            extent=extent,
            cmap="viridis",
            vmin=0,
            vmax=top or 1.0,
            interpolation="nearest",
        )
        axes.set_yticks(range(len(JOINTS)), JOINT_LABELS, fontsize=8)
        axes.set(title=label, xlabel="time (s)", ylabel="joint")
    figure.colorbar(image, ax=list(panels), label=f"kinetic energy ({ENERGY_UNIT})", extend="max")  # type: ignore[arg-type]
    figure.suptitle(title)
    return figure


def training_curves(
    stages: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    title: str = "Training",
    x_label: str = "batch",
    units: Mapping[str, str] | None = None,
    columns: int = 4,
) -> Figure:
    """Curves of every stage: one small panel per term, "train/recon" and "val/recon" together in "recon".

    Args:
        stages: stage -> key -> (steps (n,), values (n,)); a key is "split/term" or "term".
        x_label: what the steps count.
        units: term -> unit of its values; a term without one is dimensionless.
        columns: maximum number of panels per row.

    Panels with positive values spanning more than a factor of 100 have a logarithmic axis.

    Raises:
        D2MError: nothing to plot, or steps and values of different lengths.
    """
    _require_series({key: None for keys in stages.values() for key in keys}, "training_curves")
    terms = {stage: list(dict.fromkeys(k.split("/", 1)[-1] for k in keys)) for stage, keys in stages.items()}
    columns = max(1, min(columns, max(map(len, terms.values()))))
    rows = {stage: max(1, -(-len(names) // columns)) for stage, names in terms.items()}
    figure = _figure(3.1 * columns, 0.5 + sum(0.4 + 2.3 * r for r in rows.values()))
    figure.suptitle(title)
    parts = figure.subfigures(len(stages), 1, height_ratios=[0.4 + 2.3 * r for r in rows.values()], squeeze=False)
    for part, (stage, keys) in zip(parts[:, 0], stages.items(), strict=True):
        part.suptitle(stage, fontsize=11, fontweight="bold")
        grid = part.subplots(rows[stage], columns, squeeze=False).ravel()
        for axes in grid[len(terms[stage]) :]:
            axes.set_visible(False)
        for axes, term in zip(grid, terms[stage], strict=False):
            curves = {k: v for k, v in keys.items() if k.split("/", 1)[-1] == term}
            _curves(axes, stage, curves)
            unit = (units or {}).get(term)
            axes.set_title(f"{term} ({unit})" if unit else term, fontsize=10)
            axes.set_xlabel(x_label, fontsize=8)
            axes.tick_params(labelsize=8)
    return figure


def _curves(axes: Axes, stage: str, curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> None:
    """The splits of one term: train blue, validation orange, with a legend."""
    finite = []
    for k, (key, (steps, values)) in enumerate(curves.items()):
        x, y = np.atleast_1d(np.asarray(steps, float)), np.atleast_1d(np.asarray(values, float))
        if x.shape != y.shape or x.ndim != 1:
            raise D2MError(f"{stage} {key}: steps {x.shape} and values {y.shape}; give two arrays of one length")
        split = key.split("/", 1)[0] if "/" in key else ""
        colour = COLOURS[{"train": 0, "val": 1, "test": 2}.get(split, k % len(COLOURS))]
        axes.plot(x, y, color=colour, linewidth=1.4, marker="." if len(x) < 25 else None, label=split or key)
        finite.append(y[np.isfinite(y)])
    known = np.concatenate(finite)
    if known.size and known.min() > 0 and known.max() > 100 * known.min():
        axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    _tidy(axes)


def genre_energy_bars(
    energies: Mapping[str, Mapping[str, float]],
    *,
    title: str = "Kinetic energy by genre",
) -> Figure:
    """Bars per genre, a colour per label (e.g. "real" and "generated"); a missing genre leaves a gap.

    Args:
        energies: label -> genre -> mean kinetic energy.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(energies, "genre_energy_bars")
    genres = list(dict.fromkeys(g for row in energies.values() for g in row))
    _require_series(dict.fromkeys(genres), "genre_energy_bars")
    figure = _figure(max(5.0, 1.2 + 0.55 * len(genres) * (len(energies) + 1)), 4)
    axes = figure.add_subplot()
    series = {label: [float(row.get(g, np.nan)) for g in genres] for label, row in energies.items()}
    _grouped_bars(axes, genres, series, with_values=True)
    axes.set(title=title, xlabel="genre", ylabel=f"mean kinetic energy ({ENERGY_UNIT})")
    return figure


def latent_scatter(
    points: ArrayLike,
    genres: Sequence[str],
    *,
    title: str = "z_dan of songs, first two principal components",
    explained_variance: Sequence[float] | None = None,
) -> Figure:
    """Two-dimensional points coloured, and marked, by genre.

    Args:
        points: (n, 2).
        genres: n names.
        explained_variance: shares (0 to 1) of the two axes, written on them.

    Raises:
        D2MError: a wrong shape, or not one genre per point.
    """
    p = np.asarray(points, float)
    if p.ndim != 2 or p.shape[1] != 2 or not len(p) or len(genres) != len(p):
        raise D2MError(f"latent_scatter: points {p.shape} and {len(genres)} genres; give (n, 2) and n names")
    figure = _figure(6, 5)
    axes = figure.add_subplot()
    for k, genre in enumerate(dict.fromkeys(genres)):
        own = p[[g == genre for g in genres]]
        style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        style |= {"s": 48, "edgecolors": "white", "linewidths": 0.6}
        axes.scatter(own[:, 0], own[:, 1], label=f"{genre} (n={len(own)})", **style)
    shares = [f" ({100 * v:.0f}% of variance)" for v in explained_variance or ()] or ["", ""]
    axes.set(title=title, xlabel=f"component 1{shares[0]}", ylabel=f"component 2{shares[1]}")
    axes.legend(frameon=False)
    _tidy(axes, "both")
    return figure


def save(figure: Figure, path: str | os.PathLike[str], dpi: int = 120) -> None:
    """Write a figure as PNG, atomically; the same figure gives the same bytes.

    Raises:
        D2MError: the file cannot be written.
    """
    with atomic_path(path) as temp:
        figure.savefig(temp, format="png", dpi=dpi, metadata={"Software": None})
