"""Dances written to files while others are danced: many songs of one request, and what went wrong with some."""

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

#: Threads that write videos at most; each holds a dance and an encoder.
MAX_WRITERS = 4


class Writers:
    """Writes dances, videos above all, on threads of their own while the next song is danced to.

    A song's files appear together or not at all. At most one dance per thread waits, so that memory holds few.

    Args:
        out: an existing folder. formats: suffixes of a song's files.
    """

    def __init__(self, out: Path, formats: Sequence[str]) -> None:
        self.out, self.formats = out, formats
        self.failed: dict[Path, str] = {}
        self._threads = min(MAX_WRITERS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads)
        self._waiting: deque[tuple[Path, Future[None]]] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def save(self, song: Path, name: str, dance: Dance) -> int:
        """Write a song's files soon; returns how many songs were finished meanwhile."""
        self._waiting.append((song, self._pool.submit(self._write, name, dance)))
        return self._settle(self._threads)

    def finish(self) -> int:
        """Wait for all; returns how many songs that were."""
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


@dataclass(frozen=True, eq=False)
class Work:
    """Songs to dance to, all of one way.

    names: of the songs' files in ``out``, which exists. formats: their suffixes. z_dan, latent_file: a latent instead
    of the songs' own, and the name of its file. batch: see :meth:`d2m.dance.dancer.Dancer.many`.
    """

    songs: Sequence[Path]
    names: Sequence[str]
    out: Path
    formats: Sequence[str]
    seed: int
    edit: AnyEdit | None
    strength: float | StrengthCurve
    warp: bool
    z_dan: NDArray[np.float32] | None
    latent_file: str | None
    batch: int

    def dance(
        self, dancer: Dancer, which: Sequence[int], writers: Writers, step: Callable[..., None]
    ) -> dict[Path, str]:
        """Dance to these of the songs; returns what is wrong with some of them. ``step`` is a bar's."""
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
