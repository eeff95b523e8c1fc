"""Permutation nulls: what the same numbers say when the genres mean nothing.

A song has one genre, so labels are shuffled between songs, never between the windows or draws of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.errors import D2MError

Ints = NDArray[np.int64]


def permutation_p(observed: float, null: ArrayLike) -> float:
    """(1 + b) / (1 + m): b of the m values of the null are at least the observed one.

    Never 0, and valid at every level: Phipson and Smyth, "Permutation p-values should never be zero", 2010.
    """
    values = np.asarray(null, np.float64)
    tolerance = 1e-12 * max(1.0, abs(observed))
    return float((1 + (values >= observed - tolerance).sum()) / (1 + len(values)))


def song_labels(genre: ArrayLike, song: ArrayLike | None = None) -> tuple[list[str], Ints, Ints]:
    """Genre names, the song (0 to s - 1) of every row (n,), the genre (0 to c - 1) of every song (s,).

    Without names every row is a song of its own, in the rows' order.

    Raises:
        D2MError: a song with two genres, fewer than two genres, or lengths that differ.
    """
    labels = np.asarray(genre).astype(str)
    songs = np.arange(len(labels)) if song is None else np.asarray(song).astype(str)
    if labels.ndim != 1 or songs.shape != labels.shape:
        raise D2MError(f"genres {labels.shape} and songs {songs.shape}; give one of each per row")
    names, of_row = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise D2MError(f"structure of genres needs two of them; there is {', '.join(names.tolist()) or 'none'}")
    unique, first, row_song = np.unique(songs, return_index=True, return_inverse=True)
    of_song = of_row[first]
    bad = np.flatnonzero(of_song[row_song] != of_row)
    if len(bad):
        raise D2MError(f"song '{unique[row_song[bad[0]]]}' has two genres; name songs uniquely")
    return names.tolist(), row_song.astype(np.int64), of_song.astype(np.int64)


def shuffles(of_song: Ints, n: int, seed: int) -> Ints:
    """(n + 1, s) labels: the true ones, then n random permutations."""
    rng = np.random.default_rng(seed)
    rows = [of_song, *(rng.permutation(of_song) for _ in range(n))]
    return np.stack(rows)
