"""Is the dance latent a joint space? z_dan from music compared with z_dan from dance, of the same recordings.

The study assumes that both encoders map to one space. Retrieval tests whether a song is matched with its own dance, CKA
whether both sides arrange the songs alike, MMD whether they have the same distribution, and the cosine whether the
direction between two genres is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.stats.covariance import Floats
from d2m.stats.labels import check_latents, of_genre, song_labels
from d2m.stats.nulls import permutation_p, shuffles
from d2m.stats.structure import Tested
from d2m.stats.within import shuffle_within


def _pair(a: ArrayLike, b: ArrayLike, same_rows: bool = True) -> tuple[Floats, Floats]:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or (same_rows and len(x) != len(y)):
        raise D2MError(
            f"the two sides have shapes {x.shape} and {y.shape}; give (n, d) each, with the same songs row by row"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise D2MError("latents contain NaN or infinite numbers; extract them again")
    return x, y


def _unit(x: Floats) -> Floats:
    x = x - x.mean(0)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300), np.float64)


def retrieval(
    queries: ArrayLike, gallery: ArrayLike, genre: ArrayLike | None = None, at: Sequence[int] = (1, 5, 10)
) -> dict[str, dict[str, float]]:
    """Share of queries (n, d) whose own row of the gallery (n, d) is among the k nearest by cosine.

    Each side is centred first: the two encoders' offsets are measured by MMD, not here. Ties count against the query.

    Args:
        genre: (n,); adds whether one of the k nearest has the query's genre.

    Returns:
        "R@k" (and "genre R@k") -> {"value", "chance"}; chance is exact for a random ranking.
    """
    x, y = _pair(queries, gallery)
    n = len(x)
    similarity = _unit(x) @ _unit(y).T
    own = np.diagonal(similarity)[:, None]
    rank = (similarity >= own - 1e-12).sum(1)  # 1 is first
    table = {f"R@{k}": {"value": float((rank <= k).mean()), "chance": min(k, n) / n} for k in at}
    if genre is not None:
        labels = np.asarray(genre).astype(str)
        order = np.argsort(-similarity, axis=1, kind="stable")
        same = labels[order] == labels[:, None]
        mates = (labels[:, None] == labels[None]).sum(1)
        for k in at:
            miss = [comb(n - int(m), min(k, n)) / comb(n, min(k, n)) for m in mates]
            table[f"genre R@{k}"] = {"value": float(same[:, :k].any(1).mean()), "chance": 1 - float(np.mean(miss))}
    return table


def own_is_nearest(
    queries: ArrayLike, gallery: ArrayLike, genre: ArrayLike, permutations: int = 999, seed: int = 0
) -> NDArray[np.bool_]:
    """Whether a query's (n, d) nearest of the gallery (n, d) by cosine is its own row: (1 + permutations, n).

    Row 0 is the observation; in the others, the rows of the gallery were shuffled within genres (n,). This null keeps
    everything that genres explain, so exceeding it is evidence of information about the song. The sides are not centred
    here; do so first. A tie for the nearest is not a hit.
    """
    x, y = _pair(queries, gallery)
    x, y = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (x, y))
    similarity = x @ y.T
    nearest = similarity.argmax(1)
    tied = (similarity >= similarity.max(1, keepdims=True) - 1e-12).sum(1) > 1
    labels, rng = np.asarray(genre).astype(str), np.random.default_rng(seed)
    orders = [np.arange(len(x)), *(shuffle_within(labels, rng) for _ in range(permutations))]
    return np.asarray((nearest == np.stack(orders)) & ~tied)


def linear_cka(a: ArrayLike, b: ArrayLike) -> float:
    """Debiased linear CKA of two (n, d) sides: 1 for rotated copies, about 0 for independent ones, for any n and d.

    Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, with the unbiased HSIC of
    Song et al., "Feature Selection via Dependence Maximization", JMLR 2012, equation 5. Can be slightly negative.

    Raises:
        D2MError: fewer than four rows, or a side without variance.
    """
    x, y = _pair(a, b)
    if len(x) < 4:
        raise D2MError(f"CKA of {len(x)} songs is undefined; give at least 4")
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    xy, xx, yy = _hsic(k, m), _hsic(k, k), _hsic(m, m)
    if xx <= 0 or yy <= 0:
        raise D2MError("CKA: a side has no variance")
    return float(xy / np.sqrt(xx * yy))


def cka_test(a: ArrayLike, b: ArrayLike, permutations: int = 999, seed: int = 0) -> Tested:
    """:func:`linear_cka` with its permutation null: the songs of one side shuffled. Chance is the null's mean, about 0.

    Estimates from few songs vary widely: twelve unrelated songs per side may have a CKA of 0.4. It shows that the sides
    arrange the songs alike, not that they do so within a genre.

    Raises:
        D2MError: see :func:`linear_cka`.
    """
    x, y = _pair(a, b)
    value = linear_cka(x, y)
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    scale = np.sqrt(_hsic(k, k) * _hsic(m, m))
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(len(m)) for _ in range(permutations))
    null = np.array([_hsic(k, m[np.ix_(o, o)]) / scale for o in orders])
    return Tested(value, null, permutation_p(value, null), 0.0)


def _hsic(k: Floats, m: Floats) -> float:
    """Unbiased HSIC of two kernel matrices (n, n)."""
    n = len(k)
    k, m = k.copy(), m.copy()
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    cross = float(k.sum(0) @ m.sum(0))
    return (float((k * m).sum()) + float(k.sum() * m.sum()) / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)) / (n * (n - 3))


def mmd(a: ArrayLike, b: ArrayLike, permutations: int = 999, seed: int = 0) -> Tested:
    """Unbiased squared maximum mean discrepancy of a (n, d) and b (m, d), with a permutation p-value.

    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, equation 3; an RBF kernel whose width is the median distance
    of all pairs. Rows must be independent: one per song and side.

    Raises:
        D2MError: fewer than two rows on a side.
    """
    from scipy.spatial.distance import cdist

    x, y = _pair(a, b, same_rows=False)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise D2MError(f"MMD of {n} and {m} latents is undefined; give at least 2 and 2")
    both = np.concatenate([x, y])
    square = cdist(both, both, "sqeuclidean")
    median = float(np.median(square[np.triu_indices(n + m, 1)]))
    kernel = np.exp(-square / max(2 * median, 1e-300))
    np.fill_diagonal(kernel, 0)
    side = shuffles((np.arange(n + m) >= n).astype(np.int64), permutations, seed)
    in_b = side.astype(np.float64)
    in_a = 1 - in_b
    to_a = in_a @ kernel
    aa, ab = (to_a * in_a).sum(1), (to_a * in_b).sum(1)
    bb = kernel.sum() - aa - 2 * ab
    values = aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)
    return Tested(float(values[0]), values[1:], permutation_p(values[0], values[1:]), 0.0)


def direction_cosine(
    music: ArrayLike,
    dance: ArrayLike,
    music_genre: ArrayLike,
    dance_genre: ArrayLike,
    source: str,
    target: str,
    permutations: int = 999,
    seed: int = 0,
    together: bool = False,
) -> Tested:
    """Cosine between mean(target) - mean(source) of the music's latents and of the dances', in [-1, 1].

    The null shuffles the two genres among the songs of the music side; it accounts for the large cosines that occur by
    chance among latents in few dimensions. One-sided: larger is more similar. A small p means that the directions are
    related, but not necessarily by genre: if the sides agree song by song, *any* split of the same songs has a large
    cosine.

    Args:
        music, dance: (n, d) and (m, d); the rows need not match.
        together: the same songs in the same rows on both sides; the null then gives both sides the same shuffled
            genres. A small p means that genres agree better than other splits of these songs.

    Raises:
        D2MError: a side lacks a genre, or ``together`` and the sides' genres differ.
    """
    x, x_genre = check_latents(music, music_genre)
    y, y_genre = check_latents(dance, dance_genre)
    if x.shape[1] != y.shape[1]:
        raise D2MError(f"directions have widths {x.shape[1]} and {y.shape[1]}; both sides must be z_dan of one bundle")
    if together and not np.array_equal(x_genre, y_genre):
        raise D2MError("genres of the two sides differ; give the same songs in the same order")
    mine, theirs = _rows_of_pair(x, x_genre, source, target), _rows_of_pair(y, y_genre, source, target)
    first = (x_genre == source).sum()
    _, _, of_song = song_labels(np.where(np.arange(len(mine)) < first, "a", "b"))
    labels = shuffles(of_song, permutations, seed).astype(np.float64)
    weights = labels / labels.sum(1, keepdims=True) - (1 - labels) / (1 - labels).sum(1, keepdims=True)
    directions = weights @ mine
    if together:
        references = weights @ theirs
    else:
        references = (of_genre(y, y_genre, target).mean(0) - of_genre(y, y_genre, source).mean(0))[None]
    length = np.linalg.norm(directions, axis=1) * np.linalg.norm(references, axis=1)
    values = (directions * references).sum(1) / np.maximum(length, 1e-300)
    return Tested(float(values[0]), values[1:], permutation_p(values[0], values[1:]), 0.0)


def _rows_of_pair(x: Floats, genre: NDArray[np.str_], source: str, target: str) -> Floats:
    """The latents of both genres, the source's first."""
    return np.concatenate([of_genre(x, genre, source), of_genre(x, genre, target)])
