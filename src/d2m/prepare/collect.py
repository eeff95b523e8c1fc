"""Collects songs: from a CSV of URLs or files to a raw corpus, with one wav per stretch of music.

    d2m collect manifest=songs.csv out=DIR [video=false strict=false ...]

Columns of the CSV: ``url`` or ``path`` (relative to the CSV), ``genre``; optional title, start, end (seconds), licence,
``not_music`` (``12.0-15.5;80-90``, seconds of the file), name, group, pose (a file of poses on the file's own clock).

``DIR/raw/manifest.csv`` lists what was kept, in the layout of :mod:`d2m.data.manifest`. Without poses, each stretch of
music becomes a wav of its own. With poses (the column, or ``video=true``, whose downloads are their own poses) the wav
holds the whole file, so that both keep one clock, and the manifest's start and end name the stretch. Recordings without
poses cannot be prepared until the manifest's column pose is filled in.

It can be run again after a failure or a kill: finished rows are kept, partial downloads resume, failed rows are
retried.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.data.manifest import MANIFEST
from d2m.music.audio import MIN_SECONDS
from d2m.music.sound import Sound, open_sound
from d2m.prepare.fetch import Fetcher
from d2m.prepare.songlist import Row, Span, read_rows

#: Options and their defaults. silence_db: below this RMS (dBFS) a 50 ms window is silent. min_silence_s: shorter
#: silences are music. min_s: shorter stretches are left out. The rest: :class:`d2m.prepare.fetch.Fetcher`.
OPTIONS: dict[str, Any] = {
    "manifest": "", "out": "", "video": False, "strict": False, "silence_db": -50.0, "min_silence_s": 2.0,
    "min_s": float(MIN_SECONDS), "retries": 4, "wait_s": 2.0, "pause_s": 2.0, "rate_limit": 0,
}  # fmt: skip
_FIELDS = ("name", "genre", "audio", "pose", "group", "start", "end", "licence", "title", "source")
_WINDOW_S = 0.05
_STATE = ".collected"


def loud_windows(sound: Sound, silence_db: float) -> NDArray[np.bool_]:
    """(n,) for every 50 ms of a sound, whether its RMS is above ``silence_db`` (dBFS)."""
    size = max(1, round(_WINDOW_S * sound.rate))
    powers: list[NDArray[np.float64]] = []
    rest = np.zeros((sound.channels, 0), np.float32)
    for block in sound.blocks():
        joined = np.concatenate([rest, block], axis=1)
        whole = joined.shape[1] // size * size
        rest = joined[:, whole:]
        powers.append(np.square(joined[:, :whole].astype(np.float64)).mean(0).reshape(-1, size).mean(1))
    if rest.shape[1]:
        powers.append(np.atleast_1d(np.square(rest.astype(np.float64)).mean()))
    return np.asarray(np.concatenate(powers) > 10.0 ** (silence_db / 10), np.bool_)


def music_spans(
    loud: NDArray[np.bool_], window: Span, not_music: tuple[Span, ...], min_silence_s: float, min_s: float
) -> list[Span]:
    """Stretches of music: the parts of a window (seconds) that are neither marked as not music nor silent.

    Silence is trimmed from the ends of a stretch however short it is; inside, only from ``min_silence_s`` on.

    Args:
        loud: for every 50 ms, see :func:`loud_windows`.
        min_s: shorter stretches are left out.
    """
    edges = [window[0], *(t for span in sorted(not_music) for t in span), window[1]]
    out: list[Span] = []
    reached = window[0]
    for k in range(0, len(edges), 2):
        first, last = max(edges[k], reached), min(edges[k + 1], window[1])
        reached = max(reached, edges[k])
        if last <= first:
            continue
        index = np.arange(int(first / _WINDOW_S), min(int(np.ceil(last / _WINDOW_S - 1e-9)), len(loud)))
        heard = index[loud[index]]
        if not len(heard):
            continue
        for part in np.split(heard, np.flatnonzero(np.diff(heard) - 1 >= min_silence_s / _WINDOW_S - 1e-9) + 1):
            span = (max(first, part[0] * _WINDOW_S), min(last, (part[-1] + 1) * _WINDOW_S))
            if span[1] - span[0] >= min_s - 1e-9:
                out.append((round(float(span[0]), 3), round(float(span[1]), 3)))
    return out


def _write_wav(path: Path, sound: Sound, spans: list[Span | None]) -> None:
    """Write spans of a sound (None: all of it), one after the other, to a 16-bit wav. Raises: D2MError: it cannot."""
    with atomic_path(path) as temp:
        try:
            with sf.SoundFile(temp, "w", sound.rate, sound.channels, subtype="PCM_16", format="WAV") as out:
                for span in spans:
                    first, last = (0, sound.n_samples) if span is None else (round(t * sound.rate) for t in span)
                    at = 0
                    for block in sound.blocks():
                        out.write(block[:, max(0, first - at) : max(0, last - at)].T)
                        at += block.shape[1]
                        if at >= last:
                            break
        except sf.SoundFileError as e:
            raise OSError(str(e)) from e


def _process(row: Row, raw: Path, fetcher: Fetcher, options: dict[str, Any]) -> list[dict[str, str]]:
    """Fetch, cut and convert one row; returns its lines for the manifest."""
    file = Path(row.source) if row.local else fetcher.get(row.source)
    sound = open_sound(file)
    pose = Path(row.pose) if row.pose else (file if options["video"] else None)
    if pose is not None and not pose.exists():
        raise D2MError(f"{pose}: no such file of poses; correct the column pose")
    window = (row.start, min(sound.seconds, row.end if row.end is not None else sound.seconds))
    if window[1] <= window[0]:
        raise D2MError(
            f"{row.source}: {sound.seconds:.1f} s long, so nothing lies between start and end; correct the times"
        )
    loud = loud_windows(sound, options["silence_db"])
    spans = music_spans(loud, window, row.not_music, options["min_silence_s"], options["min_s"])
    if not spans:
        raise D2MError(f"{row.source}: no music of {options['min_s']:g} s in it; check start, end and not_music")
    names = [row.name] if len(spans) == 1 else [f"{row.name}_{k:02d}" for k in range(1, len(spans) + 1)]
    lines: list[dict[str, str]] = []
    for name, span in zip(names, spans, strict=True):
        audio = raw / "audio" / f"{row.name if pose is not None else name}.wav"
        if pose is None or name == names[0]:
            _write_wav(audio, sound, [span if pose is None else None])
        lines.append({
            "name": name, "genre": row.genre, "audio": f"audio/{audio.name}",
            "pose": "" if pose is None else Path(os.path.relpath(pose, raw)).as_posix(), "group": row.group,
            "start": "" if pose is None else f"{span[0]:g}", "end": "" if pose is None else f"{span[1]:g}",
            "licence": row.licence, "title": row.title,
            "source": Path(row.source).name if row.local else row.source,
        })  # fmt: skip
    return lines


def _key(row: Row, options: dict[str, Any]) -> str:
    cut = {k: options[k] for k in ("video", "silence_db", "min_silence_s", "min_s")}
    stamp: list[int] = []
    if row.local and os.path.isfile(row.source):
        stat = os.stat(row.source)
        stamp = [stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps([asdict(row), cut, stamp], sort_keys=True).encode()).hexdigest()


def _done(state: Path, key: str, raw: Path) -> list[dict[str, str]] | None:
    try:
        known = json.loads(state.read_text(encoding="utf-8"))
        lines = known["lines"] if known["key"] == key else None
        return lines if lines and all((raw / line["audio"]).is_file() for line in lines) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_manifest(path: Path, lines: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    with atomic_path(path) as temp:
        temp.write_text(text.getvalue(), encoding="utf-8")


def collect(manifest: str | Path, out: str | Path, **given: Any) -> tuple[list[dict[str, str]], list[str]]:
    """Collect every row of a CSV into ``out/raw``.

    Args:
        given: see :data:`OPTIONS`; and ``sleep``, called to wait.

    Returns:
        The manifest's lines, and one line for every row that failed.

    Raises:
        D2MError: the CSV is broken, an option is invalid, or the folder cannot be written.
    """
    sleep = given.pop("sleep", None)
    options = {**OPTIONS, **given}
    rows, out = read_rows(manifest), Path(out)
    raw = out / "raw"
    polite = {k: options[k] for k in ("video", "retries", "wait_s", "pause_s", "rate_limit")}
    fetcher = Fetcher(out / "downloads", **polite, **({} if sleep is None else {"sleep": sleep}))
    kept: list[dict[str, str]] = []
    failed: list[str] = []
    for row in rows:
        state, key = out / _STATE / f"{row.name}.json", _key(row, options)
        lines = _done(state, key, raw)
        if lines is None:
            try:
                lines = _process(row, raw, fetcher, options)
            except D2MError as e:
                failed.append(f"{row.name}: {e}")
                print(f"failed: {failed[-1]}", file=sys.stderr, flush=True)
                continue
            with atomic_path(state) as temp:
                temp.write_text(json.dumps({"key": key, "lines": lines}, indent=1), encoding="utf-8")
        kept += lines
        _write_manifest(raw / MANIFEST, kept)
    return kept, failed
