"""Several prepared corpora as one, paired and unpaired alike: their arrays one after the other in a cache folder."""

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
from d2m.data.corpus import LAYOUT, REPORT, Corpus, RecordingInfo
from d2m.prepare.assemble import finish, is_whole, write_sources
from d2m.prepare.parts import unwritable
from d2m.prepare.report import COUNTED, corpus_report
from d2m.prepare.writer import ArrayWriter, array_writers

_BLOCK = 4096


def open_corpora(roots: str | Path | Sequence[str | Path] | None, cache: str | Path) -> Path:
    """The folder of one prepared corpus, or of several mixed.

    Recordings keep their splits; genres are the union; names that occur twice get their corpus's number; the
    normaliser is fitted anew on all training splits. Stage 1 then trains on all units, later stages on those with
    music.

    Args:
        roots: one folder or a list of folders, each to be opened by :meth:`Corpus.open`.
        cache: where mixtures are kept, ``mix-<digest>`` each; mixing copies the arrays once.

    Raises:
        D2MError: no or a bad corpus, corpora of different front ends, a cache that cannot be written.
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
        raise D2MError(f"data.root: {twice[0]} is given twice; name every corpus once")
    front_ends = {c.front_end for c in corpora if c.has_music.any()}
    if len(front_ends) > 1:
        raise D2MError(
            f"data.root: music features of {' and '.join(sorted(front_ends))}; prepare all with one front_end"
        )
    digest = hashlib.sha256(json.dumps([c.info["inputs"] for c in corpora]).encode()).hexdigest()
    out = Path(cache).expanduser().resolve()
    target = out / f"mix-{digest[:16]}"
    try:
        if not is_whole(target, digest):
            _mix(corpora, target, digest, front_ends.pop() if front_ends else corpora[0].front_end)
        write_sources(target, [(len(c.recording_genre), c.raw_root or Path()) for c in corpora])
    except OSError as e:
        raise unwritable(out, e) from e
    return target


def _mix(corpora: Sequence[Corpus], target: Path, digest: str, front_end: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        work.chmod(0o755)
        genres = sorted({g for c in corpora for g in c.genres})
        table: list[RecordingInfo] = []
        seen = Counter(r.name for c in corpora for r in c.recordings)
        with array_writers(work, LAYOUT) as arrays:
            for number, corpus in enumerate(corpora):
                _append(arrays, corpus, np.array([genres.index(g) for g in corpus.genres], np.int64))
                for r in corpus.recordings:
                    table.append(r._replace(name=f"{number}/{r.name}") if seen[r.name] > 1 else r)
            rows = {name: writer.rows for name, writer in arrays.items()}
        options = {**corpora[0].info["options"], "mixed": [c.info["options"] for c in corpora]}
        finish(work, table, rows, genres, front_end, digest, options)
        counted = [{k: r[k] for k in COUNTED} for c in corpora for r in c.report["recordings"] if r["kept"]]
        refused = [r for c in corpora for r in c.report["recordings"] if not r["kept"]]
        report = corpus_report(Corpus.read(work), table, counted, refused)
        (work / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        try:
            if target.is_dir() and not is_whole(target):
                shutil.rmtree(target)
            os.rename(work, target)
        except OSError:
            if not is_whole(target, digest):  # else another process was quicker: its corpus is the same
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _append(out: dict[str, ArrayWriter], corpus: Corpus, genre_of: np.ndarray) -> None:
    """All arrays of a corpus behind those that are there; numbers of rows, recordings and genres move along."""
    before = {name: writer.rows for name, writer in out.items()}
    for name in LAYOUT:
        array = getattr(corpus, name)
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
