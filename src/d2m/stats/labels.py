"""Validation of latents and their labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError

Ints = NDArray[np.int64]


def check_latents(z: ArrayLike, genre: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """z (n, d) as float64 and genre (n,) as strings.

    Raises:
        D2MError: another shape, numbers that are not finite, or no rows.
    """
    x, labels = np.asarray(z, np.float64), np.asarray(genre).astype(str)
    if x.ndim != 2 or not x.size or labels.shape != x.shape[:1]:
        raise D2MError(f"latents of shape {x.shape} and genres of shape {labels.shape}; give (n, d) and (n,)")
    if not np.isfinite(x).all():
        raise D2MError("latents contain NaN or infinite numbers; extract them again")
    return x, labels


def of_genre(x: NDArray[np.float64], labels: NDArray[np.str_], name: str, at_least: int = 1) -> NDArray[np.float64]:
    """The latents (m, d) of one genre.

    Raises:
        D2MError: an unknown genre (naming the known ones), or fewer than ``at_least`` latents.
    """
    rows: NDArray[np.float64] = x[labels == name]
    if not len(rows):
        raise D2MError(f"unknown genre '{name}'; choose from {', '.join(sorted(set(labels.tolist()))) or 'none'}")
    if len(rows) < at_least:
        raise D2MError(f"genre '{name}' has {len(rows)} song(s); at least {at_least} are needed")
    return rows


def song_labels(genre: ArrayLike, song: ArrayLike | None = None) -> tuple[list[str], Ints, Ints]:
    """Genre names, the song (0 to s - 1) of every row (n,), the genre (0 to c - 1) of every song (s,).

    Without names, every row is a separate song, in the order of the rows.

    Raises:
        D2MError: a song with two genres, fewer than two genres, or lengths that differ.
    """
    labels = np.asarray(genre).astype(str)
    songs = np.arange(len(labels)) if song is None else np.asarray(song).astype(str)
    if labels.ndim != 1 or songs.shape != labels.shape:
        raise D2MError(f"genres {labels.shape} and songs {songs.shape}; give one of each per row")
    names, of_row = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise D2MError(f"genre structure needs at least two genres, found {', '.join(names.tolist()) or 'none'}")
    unique, first, row_song = np.unique(songs, return_index=True, return_inverse=True)
    of_song = of_row[first]
    bad = np.flatnonzero(of_song[row_song] != of_row)
    if len(bad):
        raise D2MError(f"song '{unique[row_song[bad[0]]]}' has two genres; name songs uniquely")
    return names.tolist(), row_song.astype(np.int64), of_song.astype(np.int64)
