"""Mixes prepared corpora, with or without music, into one: concatenates their arrays in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from d2m.core.errors import D2MError
from d2m.data.corpus import Corpus
from d2m.data.layout import REPORT, layout
from d2m.data.splits import SPLITS, strictest
from d2m.data.table import RecordingInfo
from d2m.prepare.assemble import HEARD, finish, is_whole, write_sources
from d2m.prepare.parts import HASHES, MISSING, Hashes, unwritable
from d2m.prepare.report import COUNTED, corpus_report
from d2m.prepare.writer import ArrayWriter, array_writers

_BLOCK = 4096
#: Raised whenever the same corpora would give another mixture.
MIX_VERSION = 2


def open_corpora(roots: str | Path | Sequence[str | Path] | None, cache: str | Path) -> Path:
    """The folder of one prepared corpus, or of several mixed.

    Recordings keep their splits, except that songs shared by two corpora (identical bytes) are put, with their groups,
    into one split: test if any of them was in test, else val if any was (:func:`d2m.data.splits.strictest`);
    corpus.json lists the moved recordings. Genres are the union; duplicate names get their corpus's number as a prefix;
    the normaliser is fitted again on all training splits. Stage 1 then trains on all units, later stages on those with
    music.

    Args:
        roots: one folder or a list of folders, each to be opened by :meth:`Corpus.open`.
        cache: the folder of mixtures, ``mix-<digest>`` each; mixing copies the arrays once.

    Raises:
        D2MError: no corpus or an invalid one, different front ends or beat trackers, nothing left to train on, a cache
            that cannot be written.
    """
    if roots is None:
        raise D2MError("give data.root=OUT, the folder of a prepared corpus, or data.root=[OUT1,OUT2]")
    folders = [Path(str(r)).expanduser().resolve() for r in ([roots] if isinstance(roots, str | Path) else roots)]
    if not folders:
        raise D2MError("data.root is empty; give the folder of a prepared corpus, or a list of them")
    corpora = [Corpus.open(f) for f in folders]
    if len(folders) == 1:
        return folders[0]
    if twice := [str(f) for f, n in Counter(folders).items() if n > 1]:
        raise D2MError(f"data.root: {twice[0]} is given twice; name each corpus once")
    with_music = [c for c in corpora if c.has_music.any()] or corpora[:1]
    _agree("music features", "front_end", [f"{c.front_end} ({c.n_features} columns)" for c in with_music])
    _agree("music beats", "beats", [" ".join(filter(None, c.beat_tracker.plain().values())) for c in with_music])
    out = Path(cache).expanduser().resolve()
    try:
        splits, moved = shared_splits(corpora, out)
        what = [MIX_VERSION, *(c.digest for c in corpora), [[m["name"], m["to"]] for m in moved]]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        target = out / f"mix-{digest[:16]}"
        if not is_whole(target, digest):
            _mix(corpora, target, digest, with_music[0], splits, moved)
        write_sources(target, [source for c in corpora for source in c.sources])
    except OSError as e:
        raise unwritable(out, e) from e
    return target


def _agree(what: str, key: str, said: Sequence[str]) -> None:
    if len(set(said)) > 1:
        raise D2MError(f"data.root: {what} of {' and '.join(sorted(set(said)))}; prepare all with one {key}")


def shared_splits(corpora: Sequence[Corpus], cache: Path) -> tuple[list[str], list[dict[str, str]]]:
    """One split for every song that several corpora hold, with its groups.

    Args:
        cache: folder for a log of audio digests, for corpora prepared before these were recorded.

    Returns:
        The split of every recording, and {name, from, to} of those that moved.

    Raises:
        D2MError: nothing is left to train on.
    """
    hashes = Hashes(cache / HASHES)
    tables = [list(c.recordings) for c in corpora]
    sounds = [[_sound(c, i, r, hashes) for i, r in enumerate(table)] for c, table in zip(corpora, tables, strict=True)]
    hashes.save()
    holders = Counter(sound for mine in sounds for sound in set(mine) if sound)
    links: list[list[tuple[str, str]]] = []
    for number, (table, mine) in enumerate(zip(tables, sounds, strict=True)):
        for r, sound in zip(table, mine, strict=True):
            # Within a corpus only its own groups count: if they are dancers, a song may be in several splits.
            links.append([(f"group of {number}", r.group), *([("sound", sound)] if holders[sound] > 1 else [])])
    before = [r.split for table in tables for r in table]
    after = strictest(before, links)
    names = [r.name for table in tables for r in table]
    moved = [{"name": n, "from": a, "to": b} for n, a, b in zip(names, before, after, strict=True) if a != b]
    if "train" in before and "train" not in after:
        raise D2MError(
            "data.root: every training song of one corpus is held out by another or linked to one that is; "
            "prepare them with one seed and group_by=music, or train on one alone"
        )
    return after, moved


def _sound(corpus: Corpus, number: int, recording: RecordingInfo, hashes: Hashes) -> str:
    """The digest of a recording's audio file; "" if it has none, or if the digest is unknown and the file not here."""
    if recording.audio_sha256 or not recording.audio:
        return recording.audio_sha256
    path = corpus.audio_path(number)
    digest = MISSING if path is None else hashes.of(path)
    return "" if digest == MISSING else digest


def _mix(
    corpora: Sequence[Corpus], target: Path, digest: str, musical: Corpus, splits: Sequence[str],
    moved: list[dict[str, str]],
) -> None:  # fmt: skip
    """Write the mixture. musical: a corpus with music, whose front end and beat tracker all share."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        work.chmod(0o755)
        genres = sorted({g for c in corpora for g in c.genres})
        table: list[RecordingInfo] = []
        seen = Counter(r.name for c in corpora for r in c.recordings)
        with array_writers(work, layout(musical.n_features)) as arrays:
            for number, corpus in enumerate(corpora):
                for r in corpus.recordings:
                    name = f"{number}/{r.name}" if seen[r.name] > 1 else r.name
                    table.append(r._replace(name=name, split=splits[len(table)]))
                mine = np.array([SPLITS.index(r.split) for r in table[-len(corpus.recordings) :]], np.int64)
                _append(arrays, corpus, np.array([genres.index(g) for g in corpus.genres], np.int64), mine)
            rows = {name: writer.rows for name, writer in arrays.items()}
        options = {**corpora[0].info["options"], "mixed": [c.info["options"] for c in corpora]}
        heard = {k: musical.info[k] for k in HEARD if k in musical.info}
        finish(work, table, rows, genres, heard, musical.beat_tracker, digest, options)
        counted = [{k: r[k] for k in COUNTED} for c in corpora for r in c.report["recordings"] if r["kept"]]
        refused = [r for c in corpora for r in c.report["recordings"] if not r["kept"]]
        report = {**corpus_report(Corpus.read(work), table, counted, refused), "moved": moved}
        (work / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        try:
            if target.is_dir() and not is_whole(target):
                shutil.rmtree(target)
            os.rename(work, target)
        except OSError:
            if not is_whole(target, digest):  # else another process was faster and wrote the same corpus
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _append(out: dict[str, ArrayWriter], corpus: Corpus, genre_of: np.ndarray, splits: np.ndarray) -> None:
    """Append all arrays of a corpus, with indices of rows, recordings and genres shifted accordingly."""
    before = {name: writer.rows for name, writer in out.items()}
    for name in out:
        array = splits if name == "recording_split" else getattr(corpus, name)
        for first in range(0, len(array), _BLOCK):
            block = np.array(array[first : first + _BLOCK])
            if name in ("recording_genre", "unit_genre"):
                block = genre_of[block]
            elif name == "unit_recording":
                block = block + before["recording_genre"]
            elif name == "runs":
                block = block + np.array([before["units"], 0])
            elif name.endswith("_bounds"):
                block[:, 0] += before[name.removesuffix("_bounds") + "s"]
            out[name].append(block)
