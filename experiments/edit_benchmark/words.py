"""The benchmark's table and its paragraph: which method to use, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.edit_benchmark.edits import MEAN_SHIFT, METHODS, VARIANTS


def cell(value: Any, digits: int = 2) -> str:
    """A number, or "-" if there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def between(value: Any, interval: Sequence[Any]) -> str:
    """A number and its interval."""
    return f"{cell(value)} ({cell(interval[0])} to {cell(interval[1])})"


def table_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "edit": r["method"], "aggregate (95 %)": between(r["aggregate"], r["aggregate_95"]),
            "success (95 %)": between(r["success"], r["success_95"]),
            "content": cell(r["content"]), "naturalness": cell(r["naturalness"]),
            "length": cell(r["length_chosen"], 1), "Pareto area": cell(r["pareto_area"]),
            "at length 1": cell(r["aggregate_at_length_1"]),
        }
        for r in rows
    ]  # fmt: skip


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a table."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(map(str, rows[0])) + " |", "|---" * len(rows[0]) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, r.values())) + " |" for r in rows)]) + "\n"


def best_of(rows: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The method of the highest aggregate; None if none is above zero."""
    known = [r for n, r in rows.items() if n in METHODS and r["aggregate"] == r["aggregate"]]
    top = max(known, key=lambda r: r["aggregate"], default=None)
    return None if top is None or top["aggregate"] <= 0 else str(top["method"])


def paragraph(report: Mapping[str, Any]) -> str:
    """Which method to use, whether it is reliably better than arithmetic, and what the optimiser buys."""
    if report["broken"]:
        return f"The benchmark is broken, do not believe its table: {'; '.join(report['broken'])}."
    rows = report["rows"]
    best = best_of(rows)
    if best is None:
        return "No method has an aggregate above zero: on every axis or on one of them each does no better than chance."
    r = rows[best]
    tied = [n for n, c in report["against_best"].items() if n in METHODS and c["difference_95"][0] <= 0]
    text = (
        f"Use {best} at about {cell(r['length_chosen'], 1)} lengths of the mean shift: aggregate "
        f"{between(r['aggregate'], r['aggregate_95'])}, success {cell(r['success'])}, content {cell(r['content'])}, "
        f"naturalness {cell(r['naturalness'])} over {r['n_songs']} held-out songs. "
    )
    text += (
        f"Not reliably worse (95 % over songs): {', '.join(tied)}. "
        if tied
        else "It is reliably better than every other method (95 % over songs). "
    )
    return text + optimiser_words(report["optimiser"])


def optimiser_words(answer: Mapping[str, Any]) -> str:
    if answer["comparison"] is None:
        return "Whether the optimiser keeps more content is not known: it or the mean shift did not succeed or run."
    top = answer["comparison"]["levels"][0]
    words = (
        f"at the success of {cell(top['success'])} that both reach it keeps {cell(top['content'][0])} of the content, "
        f"the mean shift {cell(top['content'][1])}: difference {between(top['difference'], top['difference_95'])}, "
        f"p = {top['p']:.2g}, {top['n_songs']} songs"
    )
    alone = [
        f"{name} {between(one['levels'][0]['difference'], one['levels'][0]['difference_95'])}"
        for name, one in answer["by_judge"].items()
        if one is not None
    ]
    words += f"; success by one judge alone: {', '.join(alone)}" if alone else ""
    if answer["answer"] == "yes":
        return f"The optimiser beats arithmetic at equal success: {words}."
    worse = " and is reliably worse" if answer["worse"] else ""
    return f"The optimiser does not beat arithmetic at equal success{worse}: {words}."


def without_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How much success is left at length 1 without tempo and energy, on the pairs of genres that the edit has."""
    out = []
    for name in (MEAN_SHIFT, *VARIANTS):
        if name in report["left"]:
            own = report["left"][name]
            moved = {f"{k} moves": cell(v) for k, v in report["held"][name].items()}
            out.append({
                "edit": name, "success (95 %)": between(own["success"], own["success_95"]),
                "mean shift on these pairs": cell(own["full"]), "left": cell(own["left"]), "pairs": own["pairs"],
                **moved,
            })  # fmt: skip
    return out
