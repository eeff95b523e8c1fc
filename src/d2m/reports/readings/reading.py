"""The result of an analysis: numbers, figures, a table, a section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m.draw import plots
from d2m.reports.page import Section
from d2m.stats.structure import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Reading:
    """One analysis.

    numbers: for report.json, plain values. figures: file stem -> (figure, caption). table: rows for the page.
    """

    heading: str
    text: str
    numbers: dict[str, Any]
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()
    table_caption: str = ""

    def section(self) -> Section:
        """For :func:`d2m.reports.page.write_page`."""
        return Section(
            self.heading, self.text, table=self.table, table_caption=self.table_caption,
            figures=list(self.figures.values()),
        )  # fmt: skip

    def save_figures(self, folder: Path) -> list[Path]:
        """NAME.png of every figure in ``folder``.

        Raises:
            D2MError: it cannot be written.
        """
        paths = [folder / f"{name}.png" for name in self.figures]
        for path, (figure, _) in zip(paths, self.figures.values(), strict=True):
            plots.save(figure, path)
        return paths


def test_row(name: str, test: Tested) -> dict[str, Any]:
    s = test.summary()
    return {
        "test": name, "observed": s["value"], "chance": s["chance"],
        "null 2.5 %": s["null_low"], "null 97.5 %": s["null_high"], "p": s["p"],
    }  # fmt: skip
