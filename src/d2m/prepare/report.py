"""Reports of a preparation, per genre and recording: as JSON, as a table and as a data card."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.data.corpus import Corpus, starts_in_runs
from d2m.data.layout import FORMAT
from d2m.data.splits import SPLITS
from d2m.data.table import RecordingInfo

CARD = "DATA.md"
_SHOWN_REASONS = 10
COUNTED = ("motion_beats", "rejected_units")


def corpus_report(
    corpus: Corpus,
    recordings: Sequence[RecordingInfo],
    counted: Sequence[dict[str, int]],
    refused: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """The contents of corpus.json.

    Args:
        counted: per recording, motion_beats (kinematic ones found) and rejected_units (unrepairable, all views).
        refused: name, genre, licence and reason of each recording that is left out.

    Returns:
        format, digest, front_end, n_features, beat_tracker, options; ``table``: genre -> recordings (also per split),
        hours, minutes, units and sequences (all views), music_beats, onsets, motion_beats, rejected_units, median_bpm,
        rejected; ``recordings``: one entry each, with a reason if it was left out; ``left_out``: only those.
    """
    rejected = Counter(r["genre"] for r in refused)
    genres = sorted({*corpus.genres, *rejected})
    counts = _per_genre(corpus, recordings)
    table: dict[str, dict[str, Any]] = {}
    for genre in genres:
        mine = [i for i, r in enumerate(recordings) if r.genre == genre]
        tempi = [recordings[i].tempo for i in mine if np.isfinite(recordings[i].tempo)]
        seconds = sum(recordings[i].seconds for i in mine)
        table[genre] = {
            "recordings": len(mine),
            **{split: sum(recordings[i].split == split for i in mine) for split in SPLITS},
            "hours": round(seconds / 3600, 4),
            "minutes": round(seconds / 60, 2),
            **counts.get(genre, dict.fromkeys(_COUNTS, 0)),
            **{k: sum(counted[i][k] for i in mine) for k in COUNTED},
            **({"median_bpm": round(float(np.median(tempi)), 1)} if tempi else {}),
            "rejected": rejected[genre],
        }
    kept = [
        {"name": r.name, "genre": r.genre, "kept": True, "split": r.split, "group": r.group,
         "seconds": round(r.seconds, 3), **counts, "licence": r.licence}
        for r, counts in zip(recordings, counted, strict=True)
    ]  # fmt: skip
    return {
        "format": FORMAT, "digest": corpus.digest, "front_end": corpus.front_end, "n_features": corpus.n_features,
        "beat_tracker": corpus.beat_tracker.plain(), "options": corpus.info["options"], "table": table,
        "left_out": [{"name": r["name"], "genre": r["genre"], "reason": r["reason"]} for r in refused],
        "recordings": [*kept, *({**r, "kept": False} for r in refused)],
    }  # fmt: skip


_COUNTS = ("units", "sequences", "music_beats", "onsets")


def _per_genre(corpus: Corpus, recordings: Sequence[RecordingInfo]) -> dict[str, dict[str, int]]:
    starts = starts_in_runs(np.asarray(corpus.runs), SEQUENCE_UNITS)
    n = len(corpus.genres)
    of_recording = corpus.recording_genre
    per = {
        "units": np.bincount(corpus.unit_genre, minlength=n),
        "sequences": np.bincount(corpus.unit_genre[starts], minlength=n),
        "music_beats": np.bincount(of_recording, corpus.beat_bounds[:, 1], minlength=n),
        "onsets": np.bincount(of_recording, corpus.onset_bounds[:, 1], minlength=n),
    }
    return {genre: {k: int(per[k][i]) for k in _COUNTS} for i, genre in enumerate(corpus.genres)}


_COLUMNS = (
    ("genre", "genre"), ("recordings", "recordings"), ("train", "train"), ("val", "val"), ("test", "test"),
    ("hours", "hours"), ("units", "units"), ("sequences", "sequences"), ("music_beats", "music beats"),
    ("motion_beats", "dance beats"), ("median_bpm", "BPM"), ("rejected", "rejected"),
)  # fmt: skip


def report_table(report: dict[str, Any]) -> str:
    """A report as text: a Markdown table, and the reasons why recordings were left out."""
    rows = [{"genre": genre, **row} for genre, row in report["table"].items()]
    total: dict[str, Any] = {"genre": "all"}
    for key, _ in _COLUMNS[1:]:
        if key != "median_bpm":
            total[key] = sum(row[key] for row in rows)
    cells = [[title for _, title in _COLUMNS]]
    cells += [[_cell(key, row.get(key)) for key, _ in _COLUMNS] for row in [*rows, total]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_COLUMNS))]
    lines = [
        "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) + " |"
        for row in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |")
    refused = report["left_out"]
    if refused:
        lines += ["", f"left out ({len(refused)}):"]
        lines += [f"  {r['name']}: {r['reason']}" for r in refused[:_SHOWN_REASONS]]
        if len(refused) > _SHOWN_REASONS:
            lines.append(f"  ... and {len(refused) - _SHOWN_REASONS} more, see corpus.json")
    if repeated := report.get("repeated"):
        lines += ["", f"the same poses under several names, kept in one split ({len(repeated)}):"]
        lines += [f"  {', '.join(names)}" for names in repeated[:_SHOWN_REASONS]]
    return "\n".join(lines)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "hours":
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "/")


def data_card(report: dict[str, Any]) -> str:
    """DATA.md: the contents of the corpus, its licences, how it was made, and caveats."""
    options = report["options"]
    licences: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in report["recordings"]:
        if entry["kept"]:
            licences[entry["licence"] or "not stated"].append(entry)
    lines = ["# Data card", "", report_table(report), "", "## Licences", ""]
    lines += ["| licence | recordings | hours | genres |", "| --- | ---: | ---: | --- |"]
    for licence, entries in sorted(licences.items()):
        hours = sum(e["seconds"] for e in entries) / 3600
        genres = ", ".join(sorted({e["genre"] for e in entries}))
        lines.append(f"| {licence.replace('|', '/')} | {len(entries)} | {hours:.2f} | {genres} |")
    if "not stated" in licences:
        lines += ["", "If no licence is stated, ask before you share this corpus or what was trained on it."]
    lines += [
        "", "## How it was made", "",
        f"- Poses: source `{options['source']}`, 15 frames per second, 14 joints in 2-D (1 px is about 1 cm), the "
        "hips' horizontal path and the floor's drift taken out; 3-D motions seen from yaws "
        f"{', '.join(f'{y:g}' for y in options['yaws'])} degrees.",
        "- Dance units: 32 frames, kinematic beats on frames 3, 11, 19, 27; counted in all views.",
        f"- Music: front end `{report['front_end']}`, {report['n_features']} features a frame over the whole song; "
        f"beats by `{report['beat_tracker']['name']}`, onsets by librosa.",
        f"- Splits: by group (song, dancer, performance), stratified by genre, seed {options['seed']}, "
        f"{options['val_fraction']:g} to validate and {options['test_fraction']:g} to test.",
        "- Mean and deviation in normalizer.npz are the training split's.", "",
    ]  # fmt: skip
    return "\n".join(lines)
