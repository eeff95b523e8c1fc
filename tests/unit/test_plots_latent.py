"""Figures of the latent: every axis, title and legend is there; wrong shapes are named."""

import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.draw.plots import latent as figures

RNG = np.random.default_rng(0)
GENRES = ["waltz"] * 6 + ["chacha"] * 5
TABLE = {"R@1": {"value": 0.5, "chance": 0.1}, "genre R@1": {"value": 0.6, "chance": 0.5}}

FIGURES = {
    "embeddings": lambda: figures.embedding_panels(
        {"PCA": RNG.normal(size=(11, 2)), "t-SNE": RNG.normal(size=(11, 2))}, GENRES, GENRES[::-1]
    ),
    "variance curve": lambda: figures.explained_variance_curve(
        *(np.linspace(a, 1, 40) for a in (0.3, 0.1, 0.15, 0.2)), n=41, d=512
    ),
    "nulls": lambda: figures.null_histograms({"probe": (0.9, RNG.normal(size=99), 0.01)}),
    "shares": lambda: figures.variance_shares({"music": {"genre": 0.2, "song": 0.3, "noise": 0.5}}),
    "retrieval": lambda: figures.retrieval_bars({"music to dance": TABLE, "dance to music": TABLE}),
    "edits": lambda: figures.music_edit_bars(
        {"tempo": [{"along": 0.1, "aside": 0.3}]}, source="waltz", target="chacha"
    ),
    "cosines": lambda: figures.cosine_matrix({"a": np.ones(4), "b": np.arange(4.0)}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_labelled(name: str) -> None:
    figure = FIGURES[name]()
    panels = [a for a in figure.axes if a.get_visible() and a.get_label() != "<colorbar>"]
    assert panels
    for axes in panels:
        assert axes.get_title()
        if name not in ("shares", "edits", "cosines"):  # rows of those are named by their ticks
            assert axes.get_xlabel() and axes.get_ylabel()
    if name != "cosines":
        assert figure.legends or any(a.get_legend() for a in panels)
    figure.canvas.draw()


def test_wrong_shapes_are_named() -> None:
    bad = (
        lambda: figures.embedding_panels({}, [], []),
        lambda: figures.embedding_panels({"PCA": np.ones((3, 2))}, GENRES, GENRES),
        lambda: figures.explained_variance_curve([1], [1], [1], [1, 1], n=2, d=2),
        lambda: figures.null_histograms({"a": (1.0, [], 1.0)}),
        lambda: figures.cosine_matrix({"a": np.ones(3), "b": np.ones(4)}),
        lambda: figures.retrieval_bars({}),
    )
    for call in bad:
        with pytest.raises(D2MError):
            call()
