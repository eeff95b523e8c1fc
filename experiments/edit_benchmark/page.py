"""OUT/report.json, report.md and index.html of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m.core.files import atomic_path, write_json
from d2m.core.machine import git_revision, versions
from d2m.dance.encoding import space_of
from d2m.draw import plots
from d2m.reports.page import Section, write_page
from experiments.edit_benchmark.edits import VARIANTS
from experiments.edit_benchmark.figure import benchmark_figure
from experiments.edit_benchmark.words import cell, markdown, table_rows, without_rows

if TYPE_CHECKING:
    from experiments.edit_benchmark.dances import Bench

TITLE = "Which edit of z_dan is best"
LEGEND = (
    "Strengths were chosen on half of the songs and are reported on the other, both ways, three divisions. Success 0: "
    "a random direction of the same length; 1: real dances of the target genre. Content 0: another song's dance; 1: "
    "the unedited one. Naturalness 0: shuffled frames; 1: real dances. Aggregate: their harmonic mean, 0 if one is 0. "
    "Intervals: bootstrap over songs. Length: in mean shifts. Pareto area: under content against success."
)

WITHOUT = (
    "The mean shift at length 1 with the directions of attributes projected out, and refitted on pairs of training "
    "songs of one tempo; all as long as the mean shift. Left: success over the mean shift's on the same pairs of "
    "genres. An attribute moves: mean absolute change in standard deviations of unedited dances."
)


def publish(out: Path, report: dict[str, Any], a: Mapping[str, Any], bench: Bench, seconds: float) -> None:
    """Write all files, and say the paragraph and where they are."""
    words = " ".join(f"{k}={v}" for k, v in a.items() if v != "" and k not in ("bundle", "out", "corpus"))
    command = f"python -m experiments.edit_benchmark.run bundle=DIR out=DIR {words}"
    report["facts"] = {
        "command": command, "space": space_of(bench.generator), "corpus": bench.corpus.digest, "git": git_revision(),
        "versions": versions(), "seconds": seconds,
    }  # fmt: skip
    shown = [r for n, r in report["rows"].items() if n not in VARIANTS]  # some lack pairs of genres
    rows = table_rows(shown)
    matrix = [{"along": n, **{k: cell(v) for k, v in r.items()}} for n, r in report["rescoring"].items()]
    within, pooled = (
        ", ".join(f"{k} {cell(v)}" for k, v in heard.items()) for heard in report["attributes_r2"].values()
    )
    without = f"{WITHOUT} R2 of the attributes, over all songs, on songs not fitted on: {pooled}."
    left = without_rows(report)
    judges = ", ".join(
        f"{j['name']} {cell(j['balanced_accuracy'])} ({j['n_songs']:.0f} dances, chance {cell(j['chance'])})"
        for j in report["judges"]
    )
    matrix_text = (
        f"Every direction is as long as the mean shift. Attributes: change in standard deviations of unedited dances; "
        f"genre: half the L1 distance of the judges' votes. R2 of the attributes, within genres, on songs not fitted "
        f"on: {within}."
    )
    figure = benchmark_figure(shown, TITLE)
    plots.save(figure, out / "figures" / "benchmark.png")
    write_json(out / "report.json", report)
    parts = [
        f"# {TITLE}", report["paragraph"], markdown(rows), LEGEND, f"Judges on real held-out dances: {judges}.",
        markdown(left), without, markdown(matrix), matrix_text, f"    {command}\n",
    ]  # fmt: skip
    with atomic_path(out / "report.md") as temp:
        temp.write_text("\n\n".join(parts), encoding="utf-8")
    sections = [
        Section("What was run", f"{len(report['songs'])} held-out songs. Judges on real held-out dances: {judges}.",
                code=f"$ {command}"),
        Section("Which edit", report["paragraph"], table=rows, table_caption=LEGEND,
                figures=[(figure, "Curves begin at the unedited dance.")]),
        Section("How much of genre is tempo and energy?", without, table=left),
        Section("Re-scoring", matrix_text, table=matrix),
    ]  # fmt: skip
    page = write_page(out / "index.html", TITLE, sections)
    print(f"{report['paragraph']}\npage:   {page}\nreport: {out / 'report.json'}")
