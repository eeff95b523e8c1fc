"""Raw recordings -> a prepared corpus: ``d2m prepare source=... raw=DIR out=DIR``.

See docs/data.md; :mod:`d2m.data.corpus` for a corpus on disk; :mod:`d2m.prepare.build` for how it is made.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.data.manifest import Recording
from d2m.music.beats import BeatTracker, check_tracker
from d2m.prepare.assemble import is_whole
from d2m.prepare.build import build, build_shard, merge, refuse_foreign
from d2m.prepare.discover import find_recordings
from d2m.prepare.missing import check_files
from d2m.prepare.parts import HASHES, Hashes, unwritable
from d2m.prepare.plan import SplitOptions, make_plan, parse_shard
from d2m.prepare.process import YAWS, Options
from d2m.prepare.rates import assumed_rate
from d2m.prepare.stated import STATED, read_stated

__all__ = ["YAWS", "merge", "prepare", "prepare_into"]

#: Options that error messages advise to set, such as "set fps=".
_STATEMENT = re.compile(rf"((?:\b(?:set|or|omit)|,|e\.g\.) )({'|'.join(STATED)})=")
#: Fewest recordings for which worker processes save more time than their imports cost.
_POOL_FROM = 64


def _workers(asked: int | None, recordings: int) -> int:
    if asked is None:
        return min(8, os.cpu_count() or 1) if recordings >= _POOL_FROM else 1
    if asked < 1:
        raise D2MError(f"workers={asked}: give 1 or more")
    return asked


def _say_assumed(recordings: Sequence[Recording], options: Options) -> None:
    """Report on stderr what cannot be checked: assumed frame rates of recordings whose music does not confirm them."""
    assumed: dict[float, list[str]] = {}
    for r in recordings:
        if r.audio is None or r.end_s is not None or options.max_gap_s is None:
            rate = assumed_rate((own := options.of(r)).source, r.pose, own.stated)
            if rate is not None:
                assumed.setdefault(rate, []).append(r.name)
    for rate, names in assumed.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        print(f"taken to have {rate:g} frames per second: {names[0]}{more}; state another with fps=", file=sys.stderr)


def prepare(
    raw_root: str | Path | None,
    out_root: str | Path,
    yaws: Sequence[float] = YAWS,
    front_end: str = "rhythm",
    seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    workers: int | None = None,
    source: str = "npz",
    beats: str = "librosa",
    beats_checkpoint: str | None = None,
    max_gap_s: float | None = 1.0,
    clean: Mapping[str, Any] | None = None,
    group_by: str = "music",
    groups: Mapping[str, Sequence[str]] | None = None,
    licence: str = "",
    camera: str = "orthographic",
    stated: Mapping[str, Any] | None = None,
) -> Path:
    """Prepare a raw corpus, unless that has been done already.

    Args:
        raw_root: folder with a manifest.csv (:mod:`d2m.data.manifest`), or of genre folders
            (:func:`d2m.prepare.discover.find_recordings`; group_by, groups and licence are its).
        out_root: folder of prepared corpora; created if missing.
        yaws, front_end, source, beats, beats_checkpoint, max_gap_s, clean, camera: see
            :class:`d2m.prepare.process.Options`.
        stated: options of :class:`d2m.prepare.stated.Stated`, for what a format does not say.
        seed, val_fraction, test_fraction: of the splits, see :func:`d2m.data.splits.assign_splits`.
        workers: processes; by default the number of processors (at most 8), or none for a small corpus.

    Returns:
        ``out_root/corpus-<digest of contents and options>``, to be opened by :meth:`d2m.data.corpus.Corpus.open`.
        A recording that cannot be used is left out and listed with the reason in corpus.json.

    Raises:
        D2MError: nothing to prepare, an unknown option, no usable recording, a folder that cannot be written.
    """
    if raw_root is None:
        raise D2MError("give data.root=DIR, the folder of the raw recordings")
    raw, out = Path(raw_root).expanduser().resolve(), Path(out_root).expanduser().resolve()
    options = read_options(source, yaws, front_end, beats, beats_checkpoint, max_gap_s, clean, camera, stated)
    splits = SplitOptions(int(seed), float(val_fraction), float(test_fraction))
    discovery = find_recordings(raw, source, group_by, groups, licence, skip=out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise unwritable(out, e) from e
    hashes = Hashes(out / HASHES)
    plan, jobs = make_plan(raw, discovery, options, splits, hashes)
    check_files(discovery.recordings, raw)
    _say_assumed(discovery.recordings, options)
    hashes.save()
    target = out / f"corpus-{plan.digest[:16]}"
    if not is_whole(target, plan.digest):
        try:
            build(target, raw, plan, jobs, options, _workers(workers, len(jobs)))
        except D2MError as e:  # readers' messages name options of d2m prepare
            raise D2MError(_STATEMENT.sub(r"\1+data.corpus.stated.\2=", str(e))) from e
    return target


def prepare_into(
    out: str | Path,
    raw: str | Path,
    options: Options,
    splits: SplitOptions,
    workers: int | None = None,
    shard: str | None = None,
    strict: bool = False,
    group_by: str = "music",
    groups: Mapping[str, Sequence[str]] | None = None,
    licence: str = "",
) -> int:
    """Prepare directly into ``out``, all recordings or one shard; used by the command line.

    Recordings that were refused earlier are tried again: an extra may have been installed since.

    Returns:
        How many recordings are usable (of the shard).

    Raises:
        D2MError: as :func:`prepare`; in ``strict`` for any recording that cannot be used.
    """
    source, target = Path(raw).expanduser().resolve(), Path(out).expanduser().resolve()
    number = parse_shard(shard)
    refuse_foreign(target, source)
    discovery = find_recordings(source, options.source, group_by, groups, licence, skip=target)
    hashes = Hashes(target / HASHES)
    plan, jobs = make_plan(source, discovery, options, splits, hashes, number)
    check_files(discovery.recordings, source)
    _say_assumed(discovery.recordings, options)
    workers = _workers(workers, len(jobs))
    if number[1] > 1:
        usable = build_shard(target, source, plan, jobs, options, number, workers, strict, retry=True)
        if number[0] == 0:
            hashes.save()
        return usable
    build(target, source, plan, jobs, options, workers, strict, retry=True)
    hashes.save()
    return _kept(target)


def _kept(out: Path) -> int:
    from d2m.data.corpus import Corpus

    return len(Corpus.open(out).recording_genre)


def read_options(
    source: str, yaws: Sequence[float], front_end: str, beats: str, beats_checkpoint: str | None,
    max_gap_s: float | None, clean: Mapping[str, Any] | None, camera: str,
    stated: Mapping[str, Any] | None = None,
) -> Options:  # fmt: skip
    angles = [y for y in yaws if isinstance(y, int | float) and not isinstance(y, bool) and math.isfinite(y)]
    if len(angles) < len(yaws):
        raise D2MError(f"yaws={list(yaws)}: give angles in degrees, [0,45]")
    if not isinstance(clean, Mapping | None):
        raise D2MError(f"clean={clean}: give options of d2m.prepare.clean.clean, clean={{max_filled:0.5}}")
    options = Options(
        source, tuple(float(y) for y in angles), front_end, beats, beats_checkpoint,
        None if max_gap_s is None else float(max_gap_s), dict(clean or {}), camera,
        read_stated(stated),
    )  # fmt: skip
    check_tracker(BeatTracker(options.beats), options.checkpoint)
    return options
