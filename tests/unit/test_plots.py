"""Figures are labelled (titles, units, legends); wrong shapes are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from d2m.core.errors import D2MError
from d2m.draw.plots import (
    COLOURS,
    genre_energy_bars,
    kinetic_energy_bars,
    kinetic_energy_heatmap,
    latent_scatter,
    save,
    training_curves,
)
from d2m.draw.plots.sweeps import importance_bars, parallel_coordinates

JOINT_ENERGY = {"original": np.arange(14.0), "target": np.arange(14.0) * 2}
MAPS = {"original": np.ones((45, 14)), "target": np.full((30, 14), 3.0)}
STEPS = np.arange(20)
STAGES = {
    "du_vae": {"train/recon": (STEPS, np.ones(20)), "val/recon": (STEPS[::5], np.ones(4)), "lr": (STEPS, STEPS)},
    "mm_gan": {"train/g_mov": (STEPS, np.exp(-STEPS.astype(float)))},
}
GENRES = {"real": {"waltz": 2000.0, "chacha": 5000.0}, "generated": {"waltz": 1500.0}}
POINTS, NAMES = np.random.default_rng(0).normal(size=(6, 2)), ["a", "b", "a", "c", "a", "b"]
TRIALS = [({"lr": f"{10.0**-i}", "size": "tiny"}, 1.0 / (i + 1)) for i in range(5)]

FIGURES: dict[str, Callable[[], Figure]] = {
    "joints": lambda: kinetic_energy_bars(JOINT_ENERGY),
    "heatmap": lambda: kinetic_energy_heatmap(MAPS),
    "curves": lambda: training_curves(STAGES),
    "genres": lambda: genre_energy_bars(GENRES),
    "scatter": lambda: latent_scatter(POINTS, NAMES),
    "sweep": lambda: parallel_coordinates(TRIALS, "du_vae/val/recon", "min"),
    "importance": lambda: importance_bars({"lr": 0.7, "size": 0.3}, "du_vae/val/recon", 5),
}


def labels(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [] if legend is None else [t.get_text() for t in legend.get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_labels_and_a_file(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]()
    assert figure.get_suptitle() or figure.axes[0].get_title()
    for axes in figure.axes:
        if axes.get_visible() and axes.get_label() != "<colorbar>":
            assert axes.get_xlabel()
            assert axes.get_ylabel() or axes.get_title()
    save(figure, tmp_path / "new" / "a.png", dpi=30)
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_sweeps_axes_are_numbers_by_logarithm_or_choices() -> None:
    (axes,) = FIGURES["sweep"]().axes
    assert {t.get_text() for t in axes.texts} >= {"1", "0.1", "0.001", "0.0001", "tiny"}
    best = next(line for line in axes.lines if line.get_label() == "best")
    assert best.get_ydata()[0] == 0 and best.get_ydata()[2] == 0 and labels(axes.figure) == ["best"]
    starts = sorted(line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 3)
    assert np.allclose(starts, [0, 0.25, 0.5, 0.75, 1])


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(FIGURES["scatter"](), tmp_path / name, dpi=40)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_global_state_and_no_window() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    for make in FIGURES.values():
        make()
    assert plt.get_fignums() == before


def test_energies_of_joints_are_bars_in_a_colour_per_label() -> None:
    axes = kinetic_energy_bars(JOINT_ENERGY, title="T").axes[0]
    assert (
        axes.get_title() == "T"
        and "torso lengths²/s²" in axes.get_ylabel()
        and labels(axes.figure) == ["original", "target"]
    )
    heights = [[p.get_height() for p in group] for group in axes.containers]
    assert heights == [JOINT_ENERGY["original"].tolist(), JOINT_ENERGY["target"].tolist()]
    ticks = [t.get_text() for t in axes.get_xticklabels()]
    assert len(ticks) == 14 and ticks[:5] == ["nose", "neck", "R shoulder", "R elbow", "R wrist"]


def test_heatmaps_share_colours_and_count_seconds() -> None:
    figure = kinetic_energy_heatmap(MAPS)
    images = [a for axes in figure.axes for a in axes.get_children() if isinstance(a, AxesImage)]
    assert [i.get_array().shape for i in images] == [(14, 45), (14, 30)]
    assert len({i.get_clim() for i in images}) == 1 and images[0].get_clim()[0] == 0
    assert [i.get_extent()[1] for i in images] == [3.0, 2.0]
    assert [a.get_title() for a in figure.axes[:2]] == ["original", "target"]
    assert "torso lengths²/s²" in figure.axes[-1].get_ylabel()
    assert "time (s)" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("values", [np.zeros((5, 14)), np.full((5, 14), np.nan)])
def test_a_heatmap_of_no_motion_is_drawn(values: np.ndarray, tmp_path: Path) -> None:
    save(kinetic_energy_heatmap({"still": values}), tmp_path / "a.png", dpi=30)


def test_curves_of_a_term_meet_in_one_panel() -> None:
    figure = training_curves(STAGES, units={"recon": "px"})
    shown = [a for part in figure.subfigs for a in part.axes if a.get_visible()]
    assert [a.get_title() for a in shown] == ["recon (px)", "lr", "g_mov"]
    assert [part.get_suptitle() for part in figure.subfigs] == ["du_vae", "mm_gan"]
    recon = shown[0]
    assert [t.get_text() for t in recon.get_legend().get_texts()] == ["train", "val"]
    assert [line.get_color() for line in recon.get_lines()] == list(COLOURS[:2])
    assert recon.get_xlabel() == "batch"
    assert shown[2].get_yscale() == "log" and recon.get_yscale() == "linear"


def test_a_curve_may_have_gaps_or_one_point(tmp_path: Path) -> None:
    curves = {"train/a": (STEPS, np.where(STEPS % 2, np.nan, 1.0)), "val/a": (3, 4.0)}
    save(training_curves({"s": curves}), tmp_path / "a.png", dpi=30)
    training_curves({"s": {"train/a": ([], [])}, "no terms": {}})


def test_a_missing_genre_leaves_a_gap() -> None:
    axes = genre_energy_bars(GENRES).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["waltz", "chacha"]
    assert labels(axes.figure) == ["real", "generated"]
    assert np.isnan(axes.containers[1][1].get_height())
    texts = {t.get_text() for t in axes.texts}
    assert {"2,000", "5,000", "1,500"} <= texts and "nan" not in texts
    low, high = axes.get_xlim()
    assert low == -0.5 and high == 1.5


def test_points_are_told_apart_by_colour_and_marker() -> None:
    axes = latent_scatter(POINTS, NAMES, explained_variance=(0.61, 0.2)).axes[0]
    assert labels(axes.figure) == ["a (n=3)", "b (n=2)", "c (n=1)"]
    assert "61%" in axes.get_xlabel() and "20%" in axes.get_ylabel()
    colours = {tuple(c.get_facecolor()[0]) for c in axes.collections}
    shapes = {c.get_paths()[0].vertices.tobytes() for c in axes.collections}
    assert len(colours) == len(shapes) == 3
    assert np.allclose(axes.collections[0].get_offsets(), POINTS[[0, 2, 4]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: kinetic_energy_bars({}),
        lambda: kinetic_energy_bars({"a": np.zeros(13)}),
        lambda: kinetic_energy_bars({"a": np.zeros((2, 14))}),
        lambda: kinetic_energy_heatmap({}),
        lambda: kinetic_energy_heatmap({"a": np.zeros(14)}),
        lambda: kinetic_energy_heatmap({"a": np.zeros((0, 14))}),
        lambda: kinetic_energy_heatmap({"a": np.zeros((14, 45))}),
        lambda: training_curves({}),
        lambda: training_curves({"s": {}}),
        lambda: training_curves({"s": {"train/a": ([1, 2], [1])}}),
        lambda: training_curves({"s": {"train/a": (np.zeros((2, 2)), np.zeros((2, 2)))}}),
        lambda: genre_energy_bars({}),
        lambda: genre_energy_bars({"real": {}}),
        lambda: latent_scatter(np.zeros((3, 3)), ["a"] * 3),
        lambda: latent_scatter(np.zeros((3, 2)), ["a"] * 2),
        lambda: latent_scatter(np.zeros((0, 2)), []),
    ],
)
def test_wrong_shapes_are_refused_in_one_line(make: Callable[[], Figure]) -> None:
    with pytest.raises(D2MError) as e:
        make()
    assert "\n" not in str(e.value)


def test_a_figure_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(D2MError, match=r"a\.png"):
        save(FIGURES["scatter"](), tmp_path / "file" / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
