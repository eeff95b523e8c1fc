"""Data for the page's comparison of runs and its map of latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.edits.axes import PrincipalAxes
from d2m.reports.runs.read import Run, read_runs
from d2m.stats.structure import pca, silhouette, tsne
from d2m.studio.evaluations import Places, evaluations, weights_digest
from d2m.studio.kept import Kept
from d2m.studio.library import Library

#: Maximum numbers of listed runs and of a curve's points.
MAX_RUNS, MAX_POINTS = 200, 400
#: Fewest songs for a map; with fewer, t-SNE is meaningless.
MIN_SONGS = 5


class Studies:
    """Answers requests that need no networks."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._maps: Kept[dict[str, Any]] = Kept(4)

    def _below(self) -> Path:
        if self.library.runs is None:
            raise D2MError("no runs: start d2m studio with runs=FOLDER")
        return Path(self.library.runs)

    def runs(self, _: Mapping[str, str]) -> dict[str, Any]:
        """The runs: configs, last metrics, names of their curves, and the digest of their bundle's weights."""
        return {
            "runs": [
                {
                    "name": r.name, "state": r.state, "seconds": r.seconds, "metrics": r.metrics, "config": r.config,
                    "stages": _curves_of(r), "space": weights_digest(r.folder.bundle),
                }
                for r in read_runs(self._below())[:MAX_RUNS]
            ],
        }  # fmt: skip

    def curves(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """A curve of a run: [[batch, value], ...]."""
        # Looked up by name: a path could lead anywhere.
        run = next((r for r in read_runs(self._below()) if r.name == asked.get("run")), None)
        if run is None:
            raise D2MError(f"{asked.get('run')}: no such run below {self.library.runs}")
        stage, key = asked.get("stage", ""), asked.get("key", "")
        if key not in _curves_of(run).get(stage, []):
            raise D2MError(f"{run.name}: logged no {stage}/{key}")
        points = sorted(run.curve(stage, key).items())
        return {"points": [list(p) for p in points[:: max(1, len(points) // MAX_POINTS)]]}

    def evaluations(self, _: Mapping[str, str]) -> dict[str, Any]:
        """Results of ``d2m evaluate`` for the bundles and runs, see :func:`d2m.studio.evaluations.evaluations`."""
        return {"measured": evaluations(Places(self.library.bundles, self.library.runs))}

    def map(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Songs in two dimensions, and how well genres separate, compared with shuffled genres.

        Args:
            asked: how: pca or tsne. side: latents of music or dance.
        """
        if self.library.latents is None:
            raise D2MError("no latents of songs: start d2m studio with latents=FILE (d2m study extract)")
        how, side = asked.get("how", "pca"), asked.get("side", "music")
        if how not in ("pca", "tsne") or side not in ("music", "dance"):
            raise D2MError(f"how={how}, side={side}: choose pca or tsne, music or dance")
        path = Path(self.library.latents)
        if side == "dance":
            path = path.with_name("latents_dance.npz")
            if not path.is_file():
                raise D2MError(f"{path}: no latents of dances there; d2m study extract writes them for a corpus")
        return self._maps.get(f"{side} {how}", lambda: self._map(LatentTable.load(path).by_song(), how))

    def _map(self, table: LatentTable, how: str) -> dict[str, Any]:
        if len(table) < MIN_SONGS:
            raise D2MError(f"latents of {len(table)} songs: a map needs {MIN_SONGS} or more")
        places: NDArray[np.float64]
        more: dict[str, Any] = {"shares": [], "deviations": None}
        if how == "pca":
            # The same axes, with the same signs, as those of the sliders.
            axes = PrincipalAxes(axis=0, n_axes=2).fit(table.mu, table.genre)
            places = (table.mu - axes.mean_) @ axes.components_.T
            if places.shape[1] < 2:
                raise D2MError("the songs' latents lie on one line; extract more songs")
            shares = pca(table.mu)[1][:2]
            more = {"shares": shares.tolist(), "deviations": axes.deviations_[:2].tolist()}
        else:
            places = tsne(table.mu, perplexity=min(30.0, (len(table) - 1) / 3))
        parts = silhouette(table.mu, table.genre, permutations=199)
        null = np.asarray(parts.null, np.float64)
        return {
            "side": table.meta.get("side", "music"),
            **more,
            "points": [
                {"song": str(s), "genre": str(g), "split": str(p), "x": float(xy[0]), "y": float(xy[1])}
                for s, g, p, xy in zip(table.song, table.genre, table.split, places, strict=True)
            ],
            "genres": table.genres,
            "silhouette": {
                "value": float(parts.value), "p": float(parts.p), "null": np.percentile(null, [2.5, 97.5]).tolist(),
            },
        }  # fmt: skip


def _curves_of(run: Run) -> dict[str, list[str]]:
    """Stage -> names of its curves."""
    import csv

    keys_of: dict[str, list[str]] = {}
    for stage in run.stages:
        keys: set[str] = set()
        for path in run.folder.curves(stage):
            with path.open(newline="", encoding="utf-8") as lines:
                keys |= set(next(csv.reader(lines), []))
        if keys:
            keys_of[stage] = sorted(keys - {"batch", "step", "epoch"})
    return keys_of
