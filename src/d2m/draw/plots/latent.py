"""Figures of the dance latent: embeddings next to shuffled labels, variance curves with null bands, and tests.

Every figure of structure shows the null on the same axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.draw.plots import COLOURS, MARKERS, _figure, _require_series, _tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NULL = "0.6"


def _scatter(axes: Axes, p: NDArray[np.float64], genres: Sequence[str], names: Sequence[str], counts: bool) -> None:
    for k, genre in enumerate(names):
        own = p[[g == genre for g in genres]]
        style: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        label = f"{genre} (n={len(own)})" if counts else genre
        axes.scatter(own[:, 0], own[:, 1], s=30, edgecolors="white", linewidths=0.5, label=label, **style)
    _tidy(axes, "both")


def embedding_panels(
    embeddings: Mapping[str, ArrayLike],
    genres: Sequence[str],
    shuffled: Sequence[str],
    *,
    title: str = "z_dan of songs (mu)",
    axis_labels: Mapping[str, tuple[str, str]] | None = None,
    notes: Mapping[str, tuple[str, str]] | None = None,
) -> Figure:
    """A row per embedding: coloured by genre on the left, by the same labels shuffled between songs on the right.

    Args:
        embeddings: name -> (n, 2).
        genres, shuffled: n names each.
        axis_labels: name -> labels of its two axes; "dimension 1", "dimension 2" (arbitrary unit) otherwise.
        notes: name -> what to write under the titles of the left and the right panel (say, silhouettes).

    Raises:
        D2MError: nothing to plot, or a wrong shape.
    """
    _require_series(embeddings, "embedding_panels")
    names = sorted(set(genres))
    figure = _figure(9.5, 0.6 + 3.7 * len(embeddings))
    grid = figure.subplots(len(embeddings), 2, squeeze=False)
    for row, (name, points) in zip(grid, embeddings.items(), strict=True):
        p = np.asarray(points, float)
        if p.shape != (len(genres), 2) or len(shuffled) != len(genres):
            raise D2MError(f"embedding_panels: '{name}' has shape {p.shape} for {len(genres)} genres; give (n, 2)")
        x, y = (axis_labels or {}).get(name, ("dimension 1 (a.u.)", "dimension 2 (a.u.)"))
        left, right = (notes or {}).get(name, ("", ""))
        for axes, labels, what, note in ((row[0], genres, "genres", left), (row[1], shuffled, "shuffled", right)):
            _scatter(axes, p, labels, names, counts=what == "genres")
            axes.set(xlabel=x, ylabel=y)
            axes.set_title(f"{name}, {what}" + (f"\n{note}" if note else ""), fontsize=10)
        row[1].sharex(row[0])
        row[1].sharey(row[0])
    handles, labels_ = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels_, loc="outside lower center", ncols=min(4, len(names)), frameon=False)
    figure.suptitle(title)
    return figure


def explained_variance_curve(
    observed: ArrayLike,
    null_low: ArrayLike,
    null_median: ArrayLike,
    null_high: ArrayLike,
    *,
    n: int,
    d: int,
    title: str = "Cumulative explained variance of z_dan",
    level: float = 0.95,
) -> Figure:
    """The curve of the songs, over the band of isotropic noise with the same number of rows and dimensions.

    Args:
        observed, null_low, null_median, null_high: (k,) shares, 0 to 1.
        n, d: songs and dimensions, for the legend.

    Raises:
        D2MError: curves of different lengths.
    """
    curves = [np.asarray(c, float) for c in (observed, null_low, null_median, null_high)]
    if any(c.shape != curves[0].shape or c.ndim != 1 or not c.size for c in curves):
        raise D2MError(f"explained_variance_curve: shapes {[c.shape for c in curves]}; give four curves of one length")
    figure = _figure(7, 4.4)
    axes = figure.add_subplot()
    x = np.arange(1, len(curves[0]) + 1)
    axes.fill_between(x, 100 * curves[1], 100 * curves[3], color=_NULL, alpha=0.5, linewidth=0)
    axes.plot(x, 100 * curves[2], color=_NULL, label=f"isotropic noise, n={n}, d={d} ({100 * level:.0f}% band)")
    axes.plot(x, 100 * curves[0], color=COLOURS[0], marker="o", markersize=3, label="z_dan of songs (mu)")
    for share in (0.5, 0.9):
        k = int(np.argmax(curves[0] >= share - 1e-12)) + 1
        axes.annotate(
            f"{100 * share:.0f}%: {k}", (k, 100 * curves[0][k - 1]), (6, -12), textcoords="offset points", fontsize=8
        )
    axes.set(title=title, xlabel="number of principal components", ylabel="variance explained (%)", ylim=(0, 103))
    if len(x) > 30:
        axes.set_xscale("log")
        ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500) if t <= len(x)]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
    axes.legend(frameon=False, loc="lower right")
    _tidy(axes, "both")
    return figure


def null_histograms(
    tests: Mapping[str, tuple[float, ArrayLike, float]],
    *,
    title: str = "Observed values next to their permutation nulls",
    units: Mapping[str, str] | None = None,
) -> Figure:
    """A panel per test: the null's histogram and the observed value.

    Args:
        tests: label -> (observed, null values (m,), p).
        units: label -> what the axis shows.

    Raises:
        D2MError: nothing to plot, or an empty null.
    """
    _require_series(tests, "null_histograms")
    columns = min(3, len(tests))
    rows = -(-len(tests) // columns)
    figure = _figure(3.6 * columns + 0.4, 0.7 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(tests) :]:
        axes.set_visible(False)
    for axes, (label, (value, null, p)) in zip(grid, tests.items(), strict=False):
        values = np.asarray(null, float)
        if not values.size:
            raise D2MError(f"null_histograms: '{label}' has no null distribution; set permutations")
        axes.hist(values, bins=min(30, max(5, len(values) // 20)), color=_NULL, label=f"shuffled (m={len(values)})")
        axes.axvline(value, color=COLOURS[1], linewidth=2, label=f"observed {value:.3g}")
        axes.set_title(f"{label}, p = {p:.3g}", fontsize=10)
        axes.set(xlabel=(units or {}).get(label, label), ylabel="permutations")
        axes.margins(y=0.35)
        axes.legend(frameon=True, framealpha=1, edgecolor="none", fontsize=8, loc="upper left")
        _tidy(axes)
    figure.suptitle(title)
    return figure


def variance_shares(
    shares: Mapping[str, Mapping[str, float]], *, title: str = "Where the variance of z_dan comes from"
) -> Figure:
    """A stacked bar per label (say, music and dance) of shares that sum to 1.

    Args:
        shares: label -> component ("genre", "song", "noise") -> share.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(shares, "variance_shares")
    parts = list(dict.fromkeys(p for row in shares.values() for p in row))
    figure = _figure(7.5, 1.5 + 0.6 * len(shares))
    axes = figure.add_subplot()
    left = np.zeros(len(shares))
    for k, part in enumerate(parts):
        width = 100 * np.array([row.get(part, 0.0) for row in shares.values()])
        bars = axes.barh(list(shares), width, left=left, color=COLOURS[k % len(COLOURS)], label=part, height=0.6)
        axes.bar_label(bars, [f"{w:.0f}%" if w >= 4 else "" for w in width], label_type="center", color="white")
        left += width
    axes.invert_yaxis()
    axes.set(title=title, xlabel="share of variance, summed over dimensions (%)", xlim=(0, 100))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(axes, "x")
    return figure


def retrieval_bars(
    tables: Mapping[str, Mapping[str, Mapping[str, float]]], *, title: str = "Does a song find its own dance?"
) -> Figure:
    """Bars of R@k per direction of search, with chance as a line over each.

    Args:
        tables: "music to dance" -> "R@1" -> {"value", "chance"}, shares from 0 to 1.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(tables, "retrieval_bars")
    keys = list(dict.fromkeys(k for t in tables.values() for k in t))
    figure = _figure(max(6.0, 1.5 + 1.1 * len(keys)), 4.2)
    axes = figure.add_subplot()
    width = 0.8 / len(tables)
    for i, (label, table) in enumerate(tables.items()):
        at = np.arange(len(keys)) + (i - (len(tables) - 1) / 2) * width
        values = [100 * table[k]["value"] if k in table else np.nan for k in keys]
        bars = axes.bar(at, values, 0.92 * width, color=COLOURS[i % len(COLOURS)], label=label)
        axes.bar_label(bars, ["" if np.isnan(v) else f"{v:.0f}" for v in values], fontsize=8, padding=2)
        chance = [100 * table[k]["chance"] if k in table else np.nan for k in keys]
        axes.hlines(chance, at - width / 2, at + width / 2, color="black", linewidth=1.6, label="" if i else "chance")
    axes.set_xticks(np.arange(len(keys)), keys)
    axes.set(title=title, xlabel="found among the k nearest by cosine", ylabel="queries (%)", ylim=(0, 112))
    axes.legend(frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.16))
    _tidy(axes)
    return figure


def music_edit_bars(
    rows: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    source: str,
    target: str,
    title: str = "How far editing the music moves z_dan",
) -> Figure:
    """A bar per music edit: mean displacement from source to target, a dot per song, and the orthogonal part.

    Args:
        rows: edit -> a mapping per song with "along" and "aside", in units of the distance between the genres.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(rows, "music_edit_bars")
    figure = _figure(8.2, 1.4 + 0.42 * len(rows))
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    along = [np.array([r["along"] for r in songs], float) for songs in rows.values()]
    aside = [float(np.mean([r["aside"] for r in songs])) for songs in rows.values()]
    axes.barh(y - 0.19, [a.mean() for a in along], 0.36, color=COLOURS[0], label=f"along {source} to {target}, mean")
    axes.barh(y + 0.19, aside, 0.36, color=_NULL, label="aside, mean length")
    for k, values in enumerate(along):
        axes.plot(values, np.full(len(values), k - 0.19), ".", color="black", markersize=4, label="" if k else "a song")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(1, color=COLOURS[1], linestyle="--", linewidth=1.2, label=f"1: all the way to {target}")
    axes.set_yticks(y, list(rows))
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"distance between {source} and {target} in z_dan (1 = mean to mean)")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(axes, "x")
    return figure


def cosine_matrix(
    vectors: Mapping[str, ArrayLike], *, title: str = "Cosines between directions", unit: str = "cosine"
) -> Figure:
    """All pairs of directions (d,) as a matrix of cosines with the numbers in it.

    Raises:
        D2MError: nothing to plot, or directions of different widths.
    """
    _require_series(vectors, "cosine_matrix")
    rows = [np.asarray(v, float).ravel() for v in vectors.values()]
    if len({len(r) for r in rows}) > 1:
        raise D2MError("cosine_matrix: directions differ in width; give arrays of one shape (d,)")
    x = np.stack(rows)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    cosines = x @ x.T
    side = 1.9 + 0.62 * len(x)
    figure = _figure(side + 1.3, side)
    axes = figure.add_subplot()
    image = axes.imshow(cosines, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(x)), list(vectors), rotation=45, ha="right")
    axes.set_yticks(range(len(x)), list(vectors))
    for i, j in np.ndindex(*cosines.shape):
        colour = "white" if abs(cosines[i, j]) > 0.6 else "black"
        axes.text(j, i, f"{cosines[i, j]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label=unit, shrink=0.8)
    axes.set_title(title)
    return figure
