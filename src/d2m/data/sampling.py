"""Batches drawn from a corpus by index: pure functions of (seed, epoch, batch) for any number of processes.

Training draws a genre uniformly, then an item of it uniformly, with replacement (Lee et al. 2019), so that rare genres
count as much as common ones. Validation goes through its split once, evenly spaced and genre-balanced, in the same way
every epoch. There is no loop over the items of a batch. Every process draws the whole batch and reads its own rows
(docs/adr/0075-one-batch-for-all-processes.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from d2m.core.errors import D2MError
from d2m.core.skeleton import SEQUENCE_UNITS, STYLE_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.spans import Ints, music_window_bounds, span_rows
from d2m.music.front_ends.augment import Change, draw_change, tempo_margin
from d2m.nets.rows import ALONE, Rows
from d2m.stats.within import octaves

#: Kinds of items: single units without music, in two shifted copies or one; songs of at least 2 s; and sequences of
#: three consecutive units with music, identified by the first unit.
Kind = Literal["unit_pairs", "units", "songs", "sequences"]
KINDS: tuple[str, ...] = get_args(Kind)

#: Tensors by name, and under "change" a :class:`d2m.music.front_ends.augment.Change` of each row's music.
Batch = dict[str, Any]

#: Kinds of single units -> number of shifted copies.
_COPIES = {"unit_pairs": 2, "units": 1}

#: Tempi in batches are in octaves above this BPM.
TEMPO_BPM = 120.0

#: Independent random streams.
_TRAIN, _VAL = 0, 1


class GenrePools:
    """Items grouped by genre, for drawing.

    Args:
        genre: (n,) genre of every item.
    """

    def __init__(self, genre: NDArray[np.integer]) -> None:
        self._order = np.argsort(genre, kind="stable")
        self.genres, self._first, self._count = np.unique(genre[self._order], return_index=True, return_counts=True)

    def draw(self, n: int, rng: np.random.Generator) -> Ints:
        """(n,) items: genre uniform, then item uniform, with replacement."""
        pool = rng.integers(len(self.genres), size=n)
        within = rng.integers(self._count[pool])
        return np.asarray(self._order[self._first[pool] + within], np.int64)

    def spread(self, n: int) -> Ints:
        """(n,) items, evenly spaced within each genre, alternating between genres; small genres repeat items."""
        pool = np.arange(n) % len(self.genres)
        turn = np.arange(n) // len(self.genres)
        turns = -(-(n - pool) // len(self.genres))  # number of items from this item's genre
        within = turn * self._count[pool] // turns
        return np.asarray(self._order[self._first[pool] + within], np.int64)


class Items:
    """The items of one kind in one split, and how to read them.

    ``genre`` is (n,), an index into the corpus's genres. With ``span_features``, batches of sequences also have the
    features of their whole span, see :func:`d2m.data.spans.span_rows`.

    Raises:
        D2MError: an unknown kind.
    """

    def __init__(self, corpus: Corpus, kind: str, split: str, span_features: bool = False) -> None:
        if kind not in KINDS:
            raise D2MError(f"no item kind '{kind}'; choose from {', '.join(KINDS)}")
        self.corpus, self.kind, self.span_features = corpus, kind, span_features
        if kind in _COPIES:
            self.ids = corpus.units_in(split)
            self.genre = np.asarray(corpus.unit_genre[self.ids], np.int64)
        elif kind == "songs":
            songs = corpus.recordings_in(split)
            self.ids = songs[corpus.feature_bounds[songs, 1] >= STYLE_FRAMES]
            self.genre = corpus.recording_genre[self.ids]
            bpm = np.array([corpus.song_tempo(int(i)) for i in self.ids])
            self._tempo = (octaves(bpm, self.genre) - math.log2(TEMPO_BPM)).astype(np.float32)
        else:
            starts = corpus.sequence_starts(split)
            low, high = music_window_bounds(corpus, starts)
            self.ids = starts[high >= low]
            self.genre = np.asarray(corpus.unit_genre[self.ids], np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """Number of items, or for songs, of their 2 s windows without overlap."""
        if self.kind == "songs":
            return int((self.corpus.feature_bounds[self.ids, 1] // STYLE_FRAMES).sum())
        return len(self)

    def windows(self, first: Ints) -> Tensor:
        """Feature rows of the whole corpus (b,) -> (b, 30, f), not normalised."""
        return torch.from_numpy(self.corpus.features[first[:, None] + np.arange(STYLE_FRAMES)])

    def wide_windows(self, recording: Ints, start: Ints, margin: int) -> Tensor:
        """Windows from these rows of recordings (b,) and ``margin`` rows more on either side: (b, 30 + 2 margin, f).

        Beyond the ends of the music, its first or last frame is repeated.
        """
        first, length = self.corpus.feature_bounds[recording].T[..., None]
        rows = start[:, None] + np.arange(-margin, STYLE_FRAMES + margin)
        return torch.from_numpy(self.corpus.features[first + np.clip(rows, 0, length - 1)])

    def read(
        self,
        items: Ints,
        rng: np.random.Generator,
        shift: tuple[float, float],
        centred: bool,
        margin: int = 0,
        own: slice = slice(None),
    ) -> Batch:
        """The raw batch of these items.

        Args:
            items: (b,) numbers into :attr:`ids`.
            rng: for shifts and windows.
            shift: largest shift of x and y in pixels (unit_pairs, and units that are not centred).
            centred: windows in the middle of their span instead of at random; units without shift.
            margin: frames by which ``features`` extend further on either side.
            own: the items to read; random numbers are drawn for all items.

        Returns:
            ``genre`` (b,), and by kind: ``units`` and ``shift`` (b, copies, 2) in pixels; or ``features`` (b, 30, f)
            with ``tempo`` (b,) of songs, or with ``units``, ``recording`` and ``unit`` of sequences, see
            :class:`d2m.data.datamodule.DanceDataModule`.
        """
        ids, b = self.ids[items], len(items)
        batch = {"genre": torch.from_numpy(self.genre[items[own]])}
        if self.kind in _COPIES:
            batch["units"] = torch.from_numpy(self.corpus.units[ids[own]])
            limits = np.asarray((0, 0) if centred and self.kind == "units" else shift, np.float32)
            draw = rng.uniform(-1, 1, (b, _COPIES[self.kind], 2)).astype(np.float32)
            batch["shift"] = torch.from_numpy((draw * limits)[own])
            return batch
        if self.kind == "songs":
            low, high = np.zeros(b, np.int64), self.corpus.feature_bounds[ids, 1] - STYLE_FRAMES
            batch["tempo"] = torch.from_numpy(self._tempo[items[own]])
        else:
            low, high = music_window_bounds(self.corpus, ids)
        start = ((low + high) // 2 if centred else rng.integers(low, high + 1))[own]
        ids = ids[own]
        owner = ids
        if self.kind == "sequences":
            owner = recording = self.corpus.unit_recording[ids].astype(np.int64)
            batch["units"] = torch.from_numpy(self.corpus.units[ids[:, None] + np.arange(SEQUENCE_UNITS)])
            batch["recording"] = torch.from_numpy(recording)
            batch["unit"] = torch.from_numpy(ids)
            if self.span_features:
                batch["span_features"] = torch.from_numpy(self.corpus.features[span_rows(self.corpus, ids)])
        first = self.corpus.feature_bounds[owner, 0]
        batch["features"] = self.wide_windows(owner, start, margin) if margin else self.windows(first + start)
        return batch


class TrainBatches(Dataset[Batch]):
    """Endless training batches; ``self[epoch, batch]`` is a function of the key and the seed.

    Args:
        batch_size: total over all processes.
        rows: those of this process.
        augment: ranges of :func:`d2m.music.front_ends.augment.draw_change`. Batches then have ``change``, a change of
            each row's music, which has not been applied yet.

    Raises:
        D2MError: no items, or a batch size that is not a multiple of the number of processes.
    """

    def __init__(
        self, items: Items, batch_size: int, seed: int, shift: tuple[float, float], rows: Rows = ALONE,
        augment: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        if not len(items):
            raise D2MError(
                f"{items.corpus.folder}: its training split has no {items.kind}; add recordings to the raw corpus"
            )
        if batch_size % rows.world:
            raise D2MError(f"batch_size={batch_size}: give a multiple of {rows.world}, the number of processes")
        self.items, self.batch_size, self.seed, self.shift = items, batch_size, seed, shift
        self.rows, self.augment = rows, augment
        self.pools = GenrePools(items.genre)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self._read(key, self.rows)

    def whole(self, key: tuple[int, int]) -> Batch:
        """The rows of all processes."""
        return self._read(key, ALONE)

    def _read(self, key: tuple[int, int], rows: Rows) -> Batch:
        epoch, batch = key
        # The 0 used to be the rank; it is kept so that the draws of a single process do not change.
        rng = np.random.default_rng([self.seed, _TRAIN, 0, epoch, batch])
        margin, own = tempo_margin(self.augment, STYLE_FRAMES), rows.own(self.batch_size)
        items = self.pools.draw(self.batch_size, rng)
        out = self.items.read(items, rng, self.shift, centred=False, margin=margin, own=own)
        if self.augment is not None:
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            change = draw_change(self.batch_size, generator, **self.augment)
            out["change"] = Change(*(part[own] for part in change))
        return out


class ValBatches(Dataset[Batch]):
    """A fixed, genre-balanced pass over a split, of at most ``max_batches`` batches, distributed over the processes.

    Each batch goes to one process as a whole, so that terms which relate rows see the same rows for any number of
    processes. Batches state their ``number`` in the pass. All processes get equally many, so that none waits for
    another: if necessary, some repeat the first batches, which then have no number and must not be counted. Songs are
    seen in windows without overlap. ``most``: maximum number of batches.
    """

    def __init__(
        self,
        items: Items,
        batch_size: int,
        seed: int,
        shift: tuple[float, float],
        max_batches: int,
        rows: Rows = ALONE,
        most: int | None = None,
    ) -> None:
        self.items, self.batch_size, self.seed, self.shift = items, batch_size, seed, shift
        genre = items.genre
        self._rows: Ints | None = None
        if items.kind == "songs":
            first, length = items.corpus.feature_bounds[items.ids].T
            count = length // STYLE_FRAMES
            song = np.repeat(np.arange(len(items)), count)
            within = np.arange(len(song)) - np.repeat(np.cumsum(count) - count, count)
            self._rows, genre = first[song] + within * STYLE_FRAMES, genre[song]
        self._genre = genre
        self._order = GenrePools(genre).spread(min(len(genre), max_batches * batch_size))
        n = -(-len(self._order) // batch_size)
        self._n, self._processes = n if most is None else min(n, most), rows

    def __len__(self) -> int:
        return -(-self._n // self._processes.world)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        turn = index * self._processes.world + self._processes.rank
        number = turn % self._n
        return {**self._read(number), "number": number if turn < self._n else None}

    def _read(self, number: int) -> Batch:
        chosen = self._order[number * self.batch_size : (number + 1) * self.batch_size]
        if self._rows is not None:
            genre = torch.from_numpy(self._genre[chosen])
            return {"genre": genre, "features": self.items.windows(self._rows[chosen])}
        rng = np.random.default_rng([self.seed, _VAL, number])
        return self.items.read(chosen, rng, self.shift, centred=True)
