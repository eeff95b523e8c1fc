"""Assembles the corpus from its parts: arrays, index, splits, normaliser, report and data card, published by renames.

When a new corpus replaces an old one, ``corpus.json`` is removed first and written last: while it is absent the folder
holds no corpus, whatever else is in it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, POSE_DIM
from d2m.data.corpus import Corpus
from d2m.data.layout import FORMAT, INDEX, NORMALIZER, REPORT, SOURCES_LOG, TABLE, UNITS, layout
from d2m.data.normalizer import Normalizer
from d2m.data.splits import SPLITS, assign_splits
from d2m.data.table import RecordingInfo, write_table
from d2m.music.beats import BeatTracker
from d2m.music.front_ends import front_end
from d2m.prepare.parts import SCRATCH, Parts
from d2m.prepare.plan import PLAN, SHARDS, Line, Plan
from d2m.prepare.process import Prepared
from d2m.prepare.repeated import join_equal_songs, join_same_poses
from d2m.prepare.report import CARD, corpus_report, data_card
from d2m.prepare.writer import array_writers

_CHUNK = 4096
#: Keys of index.json that describe the front end.
HEARD = ("front_end", "columns", "front_end_params")
T = TypeVar("T")


class DamagedPart(Exception):
    """A part is incomplete or unreadable; the argument is its key."""


def is_whole(out: Path, digest: str | None = None) -> bool:
    """Whether the folder holds a complete corpus, with this plan's digest if one is given."""
    if not (out / REPORT).is_file():
        return False
    try:
        info = json.loads((out / INDEX).read_text(encoding="utf-8"))
        return digest is None or info["inputs"] == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False


def assemble(out: Path, plan: Plan) -> None:
    """Write the corpus of a plan whose parts all exist.

    Raises:
        D2MError: no usable recordings.
        DamagedPart: a part that must be made again.
        OSError: disk full or no permission; a previous corpus is then still intact.
    """
    work = out / SCRATCH / f"corpus.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    parts = Parts(out)
    states = [line.reason or parts.state(line.key) or "was not processed" for line in plan.lines]
    kept = [line for line, state in zip(plan.lines, states, strict=True) if state == "done"]
    refused = [(line, state) for line, state in zip(plan.lines, states, strict=True) if state != "done"]
    if not kept:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise D2MError(f"{out}: no usable recordings: {refused[0][1]}{more}")
    genre_of = [line.genre or _whole(parts, line.key, parts.genre) or plan.default_genre for line in kept]
    # Genres without usable recordings are kept: the style network's classes are those of the manifest.
    genres = sorted({*genre_of, *(line.genre for line, _ in refused if line.genre)})
    kept, repeated = join_same_poses(join_equal_songs(kept), [_whole(parts, n.key, parts.poses_sha256) for n in kept])
    splits = assign_splits(genre_of, [line.group for line in kept], **plan.splits)
    table: list[RecordingInfo] = []
    counts: list[dict[str, int]] = []
    hears = front_end(plan.options["front_end"])
    with array_writers(work, layout(hears.width)) as arrays:
        for number, (line, genre, split) in enumerate(zip(kept, genre_of, splits, strict=True)):
            part = _whole(parts, line.key, parts.load)
            _append(arrays, part, number, genres.index(genre), SPLITS.index(split))
            counts.append({"motion_beats": len(part.motion_beats), "rejected_units": part.rejected_units})
            table.append(
                RecordingInfo(line.name, genre, line.group, split, part.seconds, part.tempo, line.start_s, line.audio,
                              line.licence, line.audio_sha256)
            )  # fmt: skip
        rows = {name: writer.rows for name, writer in arrays.items()}
    tracker = BeatTracker(plan.options["beats"], plan.options.get("beats_weights", ""))
    heard = dict(zip(HEARD, (hears.name, list(hears.columns), dict(hears.params)), strict=True))
    finish(work, table, rows, genres, heard, tracker, plan.digest, {**plan.options, **plan.splits})
    corpus = Corpus.read(work)
    left_out = [_refusal(line, reason, plan) for line, reason in refused]
    report = corpus_report(corpus, table, counts, left_out) | ({"repeated": repeated} if repeated else {})
    (work / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (work / CARD).write_text(data_card(report), encoding="utf-8")
    (work / PLAN).write_text(plan.text(), encoding="utf-8")
    del corpus
    publish(work, out, [line.key for line in plan.lines])


def _refusal(line: Line, reason: str, plan: Plan) -> dict[str, str]:
    genre = line.genre or plan.default_genre
    return {"name": line.name, "genre": genre, "licence": line.licence, "reason": reason}


def _whole(parts: Parts, key: str, read: Callable[[str], T]) -> T:
    try:
        return read(key)
    except ValueError as e:
        parts.path(key).unlink(missing_ok=True)
        raise DamagedPart(key) from e


def finish(
    folder: Path,
    table: Sequence[RecordingInfo],
    rows: dict[str, int],
    genres: Sequence[str],
    heard: dict[str, Any],
    tracker: BeatTracker,
    inputs: str,
    options: dict[str, Any],
) -> None:
    """Write the index, the recordings' table and the training split's normaliser beside arrays that exist already.

    Args:
        heard: :data:`HEARD`.
        inputs: digest of what the corpus was made from.
    """
    write_table(folder / TABLE, table)
    info = {
        "format": FORMAT, "fps": FPS, "units": UNITS, "joints": list(JOINTS), **heard, "beat_tracker": tracker.plain(),
        "genres": list(genres), "rows": rows, "recordings": len(table), "inputs": inputs, "options": options,
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fit_normalizer(Corpus.read(folder)).save(folder / NORMALIZER)


def publish(work: Path, out: Path, keys: Sequence[str]) -> None:
    """Move a complete corpus into place, its report last, and delete parts that it does not use."""
    (out / REPORT).unlink(missing_ok=True)
    Parts(out).prune(keys)
    shutil.rmtree(out / SHARDS, ignore_errors=True)
    for file in sorted(work.iterdir()):
        if file.name != REPORT:
            os.replace(file, out / file.name)
    os.replace(work / REPORT, out / REPORT)
    shutil.rmtree(out / SCRATCH, ignore_errors=True)


def write_sources(folder: Path, sources: Sequence[tuple[int, Path | None]]) -> None:
    """Folders of the recordings on this machine, [number of recordings, folder]: a log, not part of the corpus."""
    text = json.dumps([[n, str(raw) if raw else ""] for n, raw in sources])
    path = folder / SOURCES_LOG
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        temp = folder / f".{SOURCES_LOG}.{os.getpid()}"
        temp.write_text(text, encoding="utf-8")
        os.replace(temp, path)
    except OSError:
        return  # without the log only the songs' files cannot be located


def _append(out: dict[str, Any], part: Prepared, recording: int, genre: int, split: int) -> None:
    views, n = part.units.shape[:2]
    first_unit = out["units"].rows
    out["recording_genre"].append(np.array([genre]))
    out["recording_split"].append(np.array([split]))
    out["units"].append(part.units.reshape(views * n, *part.units.shape[2:]))
    out["unit_recording"].append(np.full(views * n, recording))
    out["unit_view"].append(np.repeat(np.arange(views), n))
    out["unit_genre"].append(np.full(views * n, genre))
    out["unit_span"].append(np.tile(part.unit_spans, (views, 1)))
    out["unit_beats"].append(np.tile(part.unit_beats, (views, 1)))
    offsets = first_unit + n * np.arange(views)
    out["runs"].append((part.runs[None] + np.stack([offsets, 0 * offsets], axis=1)[:, None]).reshape(-1, 2))
    for name, values in (("feature", part.features), ("beat", part.beats), ("onset", part.onsets)):
        out[f"{name}_bounds"].append(np.array([[out[f"{name}s"].rows, len(values)]]))
        out[f"{name}s"].append(values)
    out["pose_bounds"].append(np.array([[out["poses"].rows, part.poses.shape[1], len(part.poses)]]))
    out["poses"].append(part.poses.reshape(-1, POSE_DIM))


def fit_normalizer(corpus: Corpus) -> Normalizer:
    """Statistics of the training split: poses over its units in all views, features over its songs."""
    units = corpus.units_in("train")
    blocks = np.split(units, np.arange(_CHUNK, len(units), _CHUNK))
    songs = corpus.recordings_in("train", with_music=True)
    return Normalizer.fit(
        (corpus.units[b].reshape(-1, POSE_DIM) for b in blocks),
        (corpus.song_features(int(i)) for i in songs),
        corpus.n_features,
    )
