"""The dance latent from music next to that from dance, on the same songs: variance components and retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.stats.joint import own_is_nearest
from d2m.stats.variance import VarianceComponents, jackknife, variance_components
from experiments.music_heard.held_out import DRAWS, Run

#: Of a run: what makes a draw of a song. A dance's draws are of sequences from all over the recording.
HEARD = {
    "song": "every draw of a song shares its one style; a dance's draws are of its different sequences",
    "segment": "every draw is of another 6.4 s of the song, as a dance's are of its different sequences",
}


def song_draws(table: LatentTable, k: int, seed: int = 0) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Songs (s,) and k complete draws of each (s, k, d), from as many of its rows (windows) as there are."""
    rng = np.random.default_rng(seed)
    names, chosen = np.unique(table.song), []
    for name in names:
        rows = rng.permutation(np.flatnonzero(table.song == name))
        # Every row once before any row twice.
        pairs = [(r, d) for d in range(table.draws.shape[1]) for r in rows][:k]
        chosen.append(np.stack([table.draws[r, d] for r, d in pairs]))
    n = min(map(len, chosen))
    return names, np.stack([c[:n] for c in chosen])


@dataclass(frozen=True, eq=False)
class BothSides:
    """Draws (s, k, d) of one run's songs from the music and from the dance, on the same songs."""

    song: NDArray[np.str_]
    genre: NDArray[np.str_]
    split: NDArray[np.str_]
    music: NDArray[np.float32]
    dance: NDArray[np.float32]

    def select(self, rows: NDArray[np.bool_]) -> BothSides:
        """Some songs."""
        return BothSides(self.song[rows], self.genre[rows], self.split[rows], self.music[rows], self.dance[rows])


def both_sides(run: Run) -> BothSides:
    """Of all songs with both. Styles per segment are compared by segments, styles per song by the song."""
    heard = run.windows if run.generator.style_mode == "local" else run.music
    names, music = song_draws(heard, DRAWS, run.seed)
    theirs, dance = song_draws(run.dance, DRAWS, run.seed)
    _, a, b = np.intersect1d(names, theirs, return_indices=True)
    place = np.array([int(np.flatnonzero(run.music.song == s)[0]) for s in names[a]], np.int64)
    return BothSides(names[a], run.music.genre[place], run.music.split[place], music[a], dance[b])


def compare_variance(sides: Sequence[BothSides]) -> dict[str, Any]:
    """Components of both sides, those of several runs added up; their ratios with 95 % by jackknife over songs.

    {} where no genre has two songs.
    """

    def components(names: NDArray[np.str_]) -> list[VarianceComponents]:
        parts = [s.select(np.isin(s.song, names)) for s in sides]
        return [
            reduce(add, (variance_components(getattr(s, side), s.genre, permutations=0) for s in parts))
            for side in ("music", "dance")
        ]

    def ratios(names: NDArray[np.str_]) -> list[float]:
        music, dance = components(names)
        return list(music.contrast(dance).values())

    every = np.unique(np.concatenate([s.song for s in sides]))
    try:
        music, dance = components(every)
        value, low, high = jackknife(ratios, every)
    except D2MError:
        return {}
    names = music.contrast(dance)
    return {
        "songs": len(every), "music": music.shares(), "dance": dance.shares(),
        "variance": {"music": vars(music), "dance": vars(dance)},
        "ratio": {
            k: {"value": float(v), "low": float(a), "high": float(b)}
            for k, v, a, b in zip(names, value, low, high, strict=True)
        },
    }  # fmt: skip


def retrieval_rows(run: Run, permutations: int, seed: int) -> list[dict[str, Any]]:
    """Whether each held-out song finds its own dance among the held-out dances, and under shuffles within genres.

    "found" (1 + m,): each side centred on its training songs. "found_in_genre" (1 + m,): on those of each genre, so
    that what all songs of a genre share is gone.
    """
    both = np.intersect1d(run.music.song, run.dance.song)
    music, dance = (t.select(np.array([np.flatnonzero(t.song == s)[0] for s in both])) for t in (run.music, run.dance))
    held = music.split != "train"
    hits = {}
    for name in ("found", "found_in_genre"):
        x, y = (centred(t, by_genre=name == "found_in_genre")[held] for t in (music, dance))
        hits[name] = own_is_nearest(x, y, music.genre[held], permutations, seed)
    where = {r.name: i for i, r in enumerate(run.corpus.recordings)}
    return [
        run.row(where[str(s)], **{k: v[:, n].astype(float) for k, v in hits.items()})
        for n, s in enumerate(music.song[held])
    ]


def centred(table: LatentTable, by_genre: bool) -> NDArray[np.float64]:
    """mu (n, d) less the training songs' mean, or less that of the training songs of its genre if there are any."""
    train = table.split == "train"
    x = table.mu.astype(np.float64)
    mean = np.broadcast_to(x[train].mean(0) if train.any() else x.mean(0), x.shape).copy()
    if by_genre:
        for g in table.genres:
            if (own := train & (table.genre == g)).any():
                mean[table.genre == g] = x[own].mean(0)
    return np.asarray(x - mean, np.float64)
