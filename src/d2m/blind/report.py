"""``d2m blind score``: turns answers and a key into report.json, a table and figures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from d2m.blind.answers import Rules, find_answers, read_answers
from d2m.blind.key import Key
from d2m.blind.score import score
from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.draw.plots import save
from d2m.draw.plots.preferences import confusion_maps, strength_intervals


def score_study(answers: str, key: Path, out: Path, rules: Rules, samples: int, seed: int) -> dict[str, Any]:
    """Score a study; write ``OUT/report.json`` and figures, and return the report.

    Raises:
        D2MError: no key, no valid answers, a value out of range, or a folder that cannot be written.
    """
    if not 1 <= samples <= 100_000:
        raise D2MError(f"samples={samples}: give a whole number from 1 to 100000")
    read = Key.read(key)
    files = find_answers(answers)
    people, excluded = read_answers(files, read, rules)
    if not people:
        why = "; ".join(f"{Path(f).name}: {reason}" for f, reason in list(excluded.items())[:3])
        raise D2MError(f"answers={answers}: none of {len(files)} files counts ({why})")
    report = {
        "study": read.study, "question": read.question, "seconds": read.seconds,
        "participants": {
            "files": len(files),
            "kept": [{"file": p.file, "n": len(p.answers), "median_s": p.median_s} for p in people],
            "excluded": [{"file": f, "reason": r} for f, r in excluded.items()],
        },
        "rules": dict(rules.__dict__), "bootstrap": {"samples": samples, "seed": seed, "over": "participants"},
        **score(read, people, samples, seed),
    }  # fmt: skip
    check_out(out)
    if "choice" in report:
        rows = {k: (v["strength"], v["low"], v["high"]) for k, v in report["choice"]["strengths"].items()}
        save(strength_intervals(rows, title=read.question), out / "strengths.png")
    if "genre" in report:
        maps = {k: v["confusion"] for k, v in report["genre"]["systems"].items()}
        save(confusion_maps(maps, report["genre"]["genres"]), out / "confusion.png")
    write_json(out / "report.json", report)
    return report


def show(report: dict[str, Any]) -> None:
    """Print a report as tables."""
    parts: list[Table | Text] = []
    if "choice" in report:
        parts += _choice_tables(report)
    if "genre" in report:
        parts += _genre_table(report["genre"])
    people = report["participants"]
    parts.append(Text(f"{len(people['kept'])} of {people['files']} participants count"))
    parts += [Text(f"  left out: {row['file']}: {row['reason']}") for row in people["excluded"]]
    Console().print(Group(*parts))


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for k, name in enumerate(columns):
        table.add_column(name, justify="left" if k == 0 else "right")
    return table


def _number(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None or value != value else format(value, form)


def _ends(row: dict[str, Any]) -> str:
    return f"{_number(row['low'])} to {_number(row['high'])}"


def _choice_tables(report: dict[str, Any]) -> list[Table | Text]:
    choice = report["choice"]
    strengths = _table(report["question"], ("system", "strength (log odds)", "95 % over people", "chosen", "of"))
    for name, row in sorted(choice["strengths"].items(), key=lambda item: -item[1]["strength"]):
        strengths.add_row(
            Text(name), _number(row["strength"], "+.2f"), _ends(row), str(row["chosen"]), str(row["n"])
        )  # fmt: skip
    pairs = _table("Pairs", ("pair", "first chosen", "95 % over people", "n", "p", "q"))
    for row in choice["pairs"]:
        pairs.add_row(
            Text(f"{row['system']} over {row['over']}"), _number(row["share"]), _ends(row), str(row["n"]),
            _number(row["p"], ".2g"), _number(row.get("q"), ".2g"),
        )  # fmt: skip
    again, left = choice["repeated_alike"], choice["left"]
    note = (
        f"Krippendorff's alpha {_number(choice['alpha'])}, agreement {_number(choice['agreement'])}; "
        f"left chosen {_number(left['share'])} (p {_number(left['p'], '.2g')}); "
        f"repeated comparisons answered alike {_number(again['share'])} of {again['n']}"
    )
    return [strengths, pairs, Text(note)]


def _genre_table(genre: dict[str, Any]) -> list[Table | Text]:
    table = _table("Genre guesses", ("system", "right", "95 % over people", "n", "chance", "p"))
    for name, row in [*genre["systems"].items(), ("all", genre)]:
        table.add_row(
            Text(name), _number(row["share"]), _ends(row), str(row["n"]), _number(row["chance"]),
            _number(row["p"], ".2g"),
        )  # fmt: skip
    note = f"Krippendorff's alpha {_number(genre['alpha'])}, agreement {_number(genre['agreement'])}"
    return [table, Text(note)]
