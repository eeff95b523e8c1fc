"""Raw recordings -> a prepared corpus, once: poses, units, music features and beats as arrays on disk.

The folder's name is a fingerprint of what went in; preparing again what is there costs a directory listing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.audio import FRONT_ENDS, features, load_song, seconds
from d2m.beats import music_beats, tempo
from d2m.data.camera import centre, project
from d2m.data.corpus import (
    FORMAT,
    INDEX,
    LAYOUT,
    NORMALIZER,
    TABLE,
    Corpus,
    RecordingInfo,
    starts_in_runs,
    write_table,
)
from d2m.data.manifest import MANIFEST, Recording, read_manifest
from d2m.data.normalizer import Normalizer
from d2m.data.sources.npz import read_npz
from d2m.data.splits import SPLITS, assign_splits
from d2m.data.writer import array_writers
from d2m.errors import D2MError
from d2m.skeleton import FPS, POSE_DIM, SAMPLE_RATE, SEQUENCE_UNITS
from d2m.units import UnitCut, cut_units, track_beats

#: Raised whenever the same inputs would give other arrays.
CODE_VERSION = 3
YAWS = (0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)
_CHUNK = 4096
#: Below this a second process costs more (its imports) than it gives.
_POOL_FROM = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """One recording: poses (v, t, 28), units (v, n, 32, 28), the cut's times, and the music's side."""

    seconds: float
    tempo: float
    poses: NDArray[np.float32]
    units: NDArray[np.float32]
    cut: UnitCut
    features: NDArray[np.float32]
    beats: NDArray[np.float64]


def process(recording: Recording, yaws: Sequence[float], front_end: str) -> Prepared:
    """Read one recording and cut it into units, seen from every yaw (a 2-D one from its own camera).

    Beats are tracked once, on the centred motion, so that all views share their units' times.

    Raises:
        D2MError: whatever is wrong with its files.
    """
    joints = read_npz(recording.pose).joints
    first = round(recording.start_s * FPS)
    last = None if recording.end_s is None else round(recording.end_s * FPS)
    joints = joints[first:last]
    if len(joints) < 2:
        raise D2MError(f"{recording.pose}: nothing left between start and end; mend the manifest")
    song_features, beats, length, bpm = (
        np.empty((0, 28), np.float32),
        np.empty(0),
        len(joints) / FPS,
        float("nan"),
    )
    if recording.audio is not None:
        wave = load_song(recording.audio)
        end = None if recording.end_s is None else round(recording.end_s * SAMPLE_RATE)
        wave = wave[round(recording.start_s * SAMPLE_RATE) : end]
        song_features, beats, length = features(wave, front_end), music_beats(wave), seconds(wave)
        bpm = tempo(beats) if len(beats) > 1 else float("nan")
    period = float(np.median(np.diff(beats))) if len(beats) > 2 else None
    body = centre(joints) if joints.shape[-1] == 3 else joints.astype(np.float64)
    cut = cut_units(body, FPS, track_beats(body, FPS, period))
    if joints.shape[-1] == 3:
        poses = project(body, yaws)
        warped = cut.units.reshape(-1, joints.shape[1], 3)
        units = project(warped, yaws).reshape(len(yaws), -1, *cut.units.shape[1:2], POSE_DIM)
    else:
        poses, units = joints[None], cut.units[None]
    if recording.audio is None and not units.size:
        raise D2MError(f"{recording.pose}: no dance unit in {len(joints) / FPS:.1f} s of motion, and no music")
    return Prepared(length, bpm, poses.reshape(len(poses), -1, POSE_DIM), units, cut, song_features, beats)


def try_process(recording: Recording, yaws: Sequence[float], front_end: str) -> Prepared | str:
    """:func:`process`, or the reason why not: one bad file leaves one recording out, not the corpus."""
    try:
        return process(recording, yaws, front_end)
    except D2MError as e:
        return str(e)


def fingerprint(root: Path, recordings: Iterable[Recording], options: dict[str, Any]) -> str:
    """Hex digest of the options, the manifest, and the size and time of every file it names."""
    digest = hashlib.sha256(json.dumps([CODE_VERSION, FORMAT, str(root), options], sort_keys=True).encode())
    digest.update((root / MANIFEST).read_bytes())
    for path in (p for r in recordings for p in (r.pose, r.audio) if p is not None):
        try:
            stat = path.stat()
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path}\0missing\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _results(jobs: Sequence[Recording], workers: int, **options: Any) -> Iterator[Iterator[Prepared | str]]:
    task = partial(try_process, **options)
    if workers <= 1:
        yield map(task, jobs)
        return
    # Spawned, not forked: a fork of a process with torch's threads can hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            yield pool.map(task, jobs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _progress(results: Iterable[Any], total: int, show: bool) -> Iterator[Any]:
    if not show:
        yield from results
        return
    from rich.progress import track

    yield from track(results, "preparing", total)


def prepare(
    raw_root: str | Path,
    out_root: str | Path,
    yaws: Sequence[float] = YAWS,
    front_end: str = "mfcc",
    seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    workers: int | None = None,
) -> Path:
    """Prepare a raw corpus, or find it prepared.

    Args:
        raw_root: folder with a manifest.csv (:mod:`d2m.data.manifest`).
        out_root: where prepared corpora live; made where missing.
        yaws: camera angles in degrees for 3-D recordings.
        front_end: of the music features, see :data:`d2m.audio.FRONT_ENDS`.
        seed, val_fraction, test_fraction: of the splits, see :func:`d2m.data.splits.assign_splits`.
        workers: processes; by default the processors there are (8 at most), or none for a small corpus.

    Returns:
        ``out_root/corpus-<fingerprint>``, to be opened by :meth:`d2m.data.corpus.Corpus.open`. It appears
        whole, by a rename, or not at all. A recording that cannot be used is left out and listed with the
        reason in corpus.json.

    Raises:
        D2MError: no manifest, an unknown option, no usable recording, a folder that cannot be written.
    """
    raw, out = Path(raw_root).expanduser().resolve(), Path(out_root).expanduser().resolve()
    if front_end not in FRONT_ENDS:
        raise D2MError(f"no front end '{front_end}'; there are {', '.join(FRONT_ENDS)}")
    if not len(yaws):
        raise D2MError("yaws is empty; give at least one camera angle in degrees")
    recordings = read_manifest(raw)
    assign_splits([], [], seed, val_fraction, test_fraction)  # refuse bad fractions before the work, not after
    options = {
        "yaws": [float(y) for y in yaws], "front_end": front_end, "seed": int(seed),
        "val_fraction": float(val_fraction), "test_fraction": float(test_fraction),
    }  # fmt: skip
    target = out / f"corpus-{fingerprint(raw, recordings, options)}"
    if (target / INDEX).is_file():
        return target
    if workers is None:
        workers = min(8, os.cpu_count() or 1) if len(recordings) >= _POOL_FROM else 1
    tmp: Path | None = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=out))
        tmp.chmod(0o755)
        _write(tmp, raw, recordings, options, workers)
        try:
            os.rename(tmp, target)
        except OSError:
            if not (target / INDEX).is_file():  # else another process was quicker: its corpus is the same
                raise
    except OSError as e:
        raise D2MError(
            f"{out}: cannot write the corpus here ({e.strerror}); free space or choose another folder"
        ) from e
    finally:
        if tmp is not None:
            shutil.rmtree(tmp, ignore_errors=True)
    return target


def _write(folder: Path, raw: Path, recordings: list[Recording], options: dict[str, Any], workers: int) -> None:
    genres = sorted({r.genre for r in recordings})
    kept: list[Recording] = []
    measured: list[tuple[float, float]] = []
    left_out: list[dict[str, str]] = []
    with array_writers(folder, LAYOUT) as out:
        job = {"yaws": options["yaws"], "front_end": options["front_end"]}
        with _results(recordings, min(workers, len(recordings)), **job) as results:
            shown = _progress(results, len(recordings), sys.stderr.isatty())
            for recording, result in zip(recordings, shown, strict=True):
                if isinstance(result, str):
                    left_out.append({"name": recording.name, "reason": result})
                    continue
                _append(out, result, len(kept), genres.index(recording.genre))
                kept.append(recording)
                measured.append((result.seconds, result.tempo))
        rows = {name: writer.rows for name, writer in out.items()}
    if not kept:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        raise D2MError(f"{raw / MANIFEST}: no recording can be used: {left_out[0]['reason']}{more}")
    splits = assign_splits(
        [r.genre for r in kept], [r.group for r in kept],
        options["seed"], options["val_fraction"], options["test_fraction"],
    )  # fmt: skip
    table = [
        RecordingInfo(
            r.name, r.genre, r.group, split, s, bpm, r.start_s,
            os.path.relpath(r.audio, raw) if r.audio else "", r.licence,
        )
        for r, split, (s, bpm) in zip(kept, splits, measured, strict=True)
    ]  # fmt: skip
    write_table(folder / TABLE, table)
    # Genres without any usable recording stay: the style network's classes are the manifest's.
    info: dict[str, Any] = {
        "format": FORMAT, "raw_root": str(raw), "front_end": options["front_end"], "fps": FPS,
        "genres": genres, "options": options, "rows": rows, "left_out": left_out,
    }  # fmt: skip
    (folder / INDEX).write_text(json.dumps(info), encoding="utf-8")
    corpus = Corpus.open(folder)
    fit_normalizer(corpus).save(folder / NORMALIZER)
    info["table"] = genre_table(corpus)
    (folder / INDEX).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _append(out: dict[str, Any], result: Prepared, recording: int, genre: int) -> None:
    views, n = result.units.shape[:2]
    first_unit = out["units"].rows
    out["units"].append(result.units.reshape(views * n, *result.units.shape[2:]))
    out["unit_recording"].append(np.full(views * n, recording))
    out["unit_view"].append(np.repeat(np.arange(views), n))
    out["unit_genre"].append(np.full(views * n, genre))
    out["unit_span"].append(np.tile(result.cut.spans, (views, 1)))
    offsets = first_unit + n * np.arange(views)
    out["runs"].append((result.cut.runs[None] + np.stack([offsets, 0 * offsets], axis=1)[:, None]).reshape(-1, 2))
    for name, rows in (("feature", result.features), ("beat", result.beats)):
        out[f"{name}_bounds"].append(np.array([[out[f"{name}s"].rows, len(rows)]]))
        out[f"{name}s"].append(rows)
    out["pose_bounds"].append(np.array([[out["poses"].rows, result.poses.shape[1], len(result.poses)]]))
    out["poses"].append(result.poses.reshape(-1, POSE_DIM))


def fit_normalizer(corpus: Corpus) -> Normalizer:
    """Statistics of the training split: poses over its units in all views, features over its songs."""
    units = corpus.units_in("train")
    blocks = np.split(units, np.arange(_CHUNK, len(units), _CHUNK))
    songs = corpus.recordings_in("train", with_music=True)
    return Normalizer.fit(
        (corpus.units[b].reshape(-1, POSE_DIM) for b in blocks), (corpus.song_features(int(i)) for i in songs)
    )


def genre_table(corpus: Corpus) -> dict[str, dict[str, float | int]]:
    """Genre -> counts of recordings per split, minutes, median tempo, units and sequences (all views)."""
    starts = starts_in_runs(np.asarray(corpus.runs), SEQUENCE_UNITS)
    sequence_genre = corpus.unit_genre[starts]
    table: dict[str, dict[str, float | int]] = {}
    for index, genre in enumerate(corpus.genres):
        mine = [r for r in corpus.recordings if r.genre == genre]
        tempi = [r.tempo for r in mine if np.isfinite(r.tempo)]
        table[genre] = {
            "recordings": len(mine),
            **{split: sum(r.split == split for r in mine) for split in SPLITS},
            "minutes": round(sum(r.seconds for r in mine) / 60, 2),
            "units": int((corpus.unit_genre == index).sum()),
            "sequences": int((sequence_genre == index).sum()),
            **({"median_bpm": round(float(np.median(tempi)), 1)} if tempi else {}),
        }
    return table
