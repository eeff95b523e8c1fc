"""Dances to many songs of one request: files are written while the next dance is generated; failures are collected."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import appear_together
from d2m.dance.dancer import Dance, Dancer
from d2m.dance.song_dance import AnyEdit, StrengthCurve
from d2m.export.formats import Export

#: Maximum number of writer threads; each holds a dance and an encoder.
MAX_WRITERS = 4


class Writers:
    """Writes dances, mainly videos, in background threads while the next dance is generated.

    A song's files appear together or not at all. At most one dance per thread is queued, to limit memory.

    Args:
        out: an existing folder. formats: suffixes of a song's files. export: further formats, of the target dance.
    """

    def __init__(self, out: Path, formats: Sequence[str], export: Export | None = None) -> None:
        self.out, self.formats, self.export = out, formats, export
        self.failed: dict[Path, str] = {}
        self._threads = min(MAX_WRITERS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads)
        self._waiting: deque[tuple[Path, Future[None]]] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def save(self, song: Path, name: str, dance: Dance) -> int:
        """Queue a song's files for writing; returns how many songs were finished meanwhile."""
        self._waiting.append((song, self._pool.submit(self._write, name, dance)))
        return self._settle(self._threads)

    def finish(self) -> int:
        """Wait for all queued songs; returns their number."""
        return self._settle(0)

    def _settle(self, left: int) -> int:
        n = len(self._waiting)
        while len(self._waiting) > left:
            song, writing = self._waiting.popleft()
            try:
                writing.result()
            except D2MError as e:
                self.failed[song] = str(e)
        return n - len(self._waiting)

    def _write(self, name: str, dance: Dance) -> None:
        with appear_together(self.out, instead_of=(f"{name}.mp4",)) as part:
            for suffix in self.formats:
                dance.save(part / f"{name}{suffix}")
            if self.export is not None:
                self.export.write(part, name, dance.poses)


@dataclass(frozen=True, eq=False)
class Work:
    """Songs to dance to, with common options.

    names: of the songs' output files in ``out``, which exists. formats, export: see :class:`Writers`. z_dan,
    latent_file: a latent that replaces the songs' own, and the name of its file. batch: see
    :meth:`d2m.dance.dancer.Dancer.many`.
    """

    songs: Sequence[Path]
    names: Sequence[str]
    out: Path
    formats: Sequence[str]
    export: Export | None
    seed: int
    edit: AnyEdit | None
    strength: float | StrengthCurve
    warp: bool
    z_dan: NDArray[np.float32] | None
    latent_file: str | None
    batch: int

    def writers(self) -> Writers:
        return Writers(self.out, self.formats, self.export)

    def dance(
        self, dancer: Dancer, which: Sequence[int], writers: Writers, step: Callable[..., None]
    ) -> dict[Path, str]:
        """Dance to the songs with these indices; returns song -> error of those that failed. ``step`` advances a
        bar."""
        bad: dict[Path, str] = {}
        danced = dancer.many(
            [self.songs[i] for i in which], seed=self.seed, edit=self.edit, strength=self.strength, warp=self.warp,
            z_dan=self.z_dan, batch=self.batch,
        )  # fmt: skip
        for k, dance in danced:
            song = self.songs[which[k]]
            step(0, description=song.name[:40])
            if isinstance(dance, D2MError):
                bad[song] = str(dance)
                step(1)
                continue
            if self.latent_file is not None:
                dance = replace(dance, facts={**dance.facts, "z_dan": self.latent_file})
            step(writers.save(song, self.names[which[k]], dance))
        return bad
