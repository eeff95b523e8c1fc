"""Figures of the effects of latent edits on dances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from d2m.draw.plots import COLOURS, _figure, _require_series, _tidy
from d2m.motion.kinematics import ENERGY_UNIT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NULL = "0.6"


def edit_effects(
    changes: Mapping[str, ArrayLike], controls: ArrayLike, gap: float, *, source: str, target: str
) -> Figure:
    """A bar per edit: the mean change of a dance's kinetic energy, a dot per dance, and the range of random directions.

    Args:
        changes: edit -> change of every dance (n,).
        controls: mean change under each random direction (m,); may be empty.
        gap: difference between unedited dances to songs of the target and of the source genre.

    Raises:
        D2MError: nothing to plot.
    """
    _require_series(changes, "edit_effects")
    values = {k: np.atleast_1d(np.asarray(v, float)) for k, v in changes.items()}
    null = np.asarray(controls, float)
    figure = _figure(8.2, 1.7 + 0.5 * len(values))
    axes = figure.add_subplot()
    if null.size:
        label = f"{null.size} random directions, all means"
        axes.axvspan(float(null.min()), float(null.max()), color=_NULL, alpha=0.35, linewidth=0, label=label)
    axes.barh(list(values), [v.mean() for v in values.values()], color=COLOURS[0], height=0.55, label="mean")
    for k, v in enumerate(values.values()):
        axes.plot(v, np.full(len(v), k), ".", color="black", markersize=5, label="" if k else "a dance")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(gap, color=COLOURS[1], linestyle="--", linewidth=1.4, label=f"unedited {target} minus {source}")
    axes.invert_yaxis()
    axes.set(
        title=f"{source} to {target}: what edits of equal length do to the dance",
        xlabel=f"change of mean kinetic energy ({ENERGY_UNIT})", ylabel="edit",
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _tidy(axes, "x")
    return figure
