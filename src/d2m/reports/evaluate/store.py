"""Dances of an evaluation, cached on disk song by song, so that memory holds only one song."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np

from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS
from d2m.data.corpus import Corpus
from d2m.metrics.figure import DanceToSong
from d2m.reports.evaluate.systems import System


def file_name(name: str) -> str:
    """A file name for a name: letters, digits, ``-`` and ``_``, plus a digest if characters were replaced."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class Danced(Sequence[DanceToSong]):
    """The dances of a system to some songs, all draws of the first, then of the second; read on demand.

    Args:
        folder: cache for the dances of all systems.
        songs: recordings.
    """

    def __init__(self, system: System, corpus: Corpus, songs: Sequence[int], folder: Path) -> None:
        self.system, self.corpus, self.songs = system, corpus, list(songs)
        self._folder = folder / file_name(system.name)
        self._rows: list[tuple[int, int]] = []
        self._song = lru_cache(maxsize=1)(self._read)

    def dance(self) -> Iterator[int]:
        """Make missing dances; yields the recordings one by one when they are done."""
        kept = {i: self._draws_in(self._path(i)) for i in self.songs}
        made = self.system.dances([i for i in self.songs if kept[i] is None])
        for i in self.songs:
            known = kept[i]
            n = self._write(self._path(i), next(made)) if known is None else known
            self._rows += [(i, k) for k in range(n)]
            yield i

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> DanceToSong: ...
    @overload
    def __getitem__(self, index: slice) -> list[DanceToSong]: ...
    def __getitem__(self, index: int | slice) -> DanceToSong | list[DanceToSong]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        i, draw = self._rows[index]
        return self._song(i)[draw]

    def _path(self, i: int) -> Path:
        return self._folder / f"{file_name(self.corpus.recordings[i].name)}.npz"

    def _draws_in(self, path: Path) -> int | None:
        """Number of draws in a file; None if it was not made by this system."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                return int(kept["draws"]) if str(kept["key"]) == self.system.key else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _write(self, path: Path, dances: Sequence[DanceToSong]) -> int:
        arrays = {"key": np.array(self.system.key), "draws": np.int64(len(dances))}
        for k, d in enumerate(dances):
            arrays[f"poses_{k}"] = d.poses
            if d.unwarped is not None:
                arrays[f"unwarped_{k}"] = d.unwarped
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_bytes(buffer.getvalue())
        return len(dances)

    def _read(self, i: int) -> list[DanceToSong]:
        info, beats = self.corpus.recordings[i], self.corpus.song_beats(i)
        features = np.asarray(self.corpus.song_features(i))
        with np.load(self._path(i), allow_pickle=False) as kept:
            return [
                DanceToSong(
                    song=info.name, genre=info.genre, poses=kept[f"poses_{k}"], fps=FPS, music_beats=beats,
                    music_features=features,
                    unwarped=kept.get(f"unwarped_{k}"),
                )
                for k in range(int(kept["draws"]))
            ]  # fmt: skip
