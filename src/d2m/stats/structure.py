"""Genre structure in latents, each number with its null distribution.

A few dozen points in 512 dimensions always look spread out and are always separable: a flat explained-variance curve, a
t-SNE with islands and a perfect training accuracy mean nothing by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.stats.covariance import Floats, ShrunkCovariance
from d2m.stats.labels import Ints, song_labels
from d2m.stats.nulls import permutation_p, shuffles

#: Number of permutations scored together, which bounds memory.
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Tested:
    """A statistic, its permutation null and p-value ((1 + b) / (1 + m)), and the level of chance."""

    value: float
    null: Floats
    p: float
    chance: float

    def summary(self) -> dict[str, float]:
        """Numbers for a report."""
        low, middle, high = np.quantile(self.null, [0.025, 0.5, 0.975]) if len(self.null) else [np.nan] * 3
        return {
            "value": self.value, "p": self.p, "chance": self.chance, "permutations": float(len(self.null)),
            "null_low": float(low), "null_median": float(middle), "null_high": float(high),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class VarianceCurve:
    """Cumulative share of variance of the first 1, 2, ... principal components (k,), and of isotropic noise of the
    same n and d: the null's median and the quantiles around it (k,)."""

    observed: Floats
    null_low: Floats
    null_median: Floats
    null_high: Floats


def pca(z: ArrayLike, n_components: int = 2) -> tuple[Floats, Floats]:
    """Scores (n, k) on the first principal components and all shares of variance (min(n - 1, d),).

    Signs are such that each component's largest score is positive; missing components are zeros.
    """
    from sklearn.decomposition import PCA

    x = np.asarray(z, np.float64)
    model = PCA(svd_solver="full")
    fitted = model.fit_transform(x)
    scores = np.zeros((len(x), n_components))
    k = min(n_components, fitted.shape[1])
    scores[:, :k] = fitted[:, :k]
    peak = scores[np.abs(scores).argmax(0), np.arange(n_components)]
    variance = model.explained_variance_[: max(1, min(len(x) - 1, x.shape[1]))]
    return scores * np.where(peak < 0, -1.0, 1.0), variance / max(float(variance.sum()), 1e-300)


def explained_variance(z: ArrayLike, draws: int = 200, seed: int = 0, level: float = 0.95) -> VarianceCurve:
    """The cumulative curve of z (n, d), and the matched isotropic null's over ``draws`` Gaussian samples."""
    x = np.asarray(z, np.float64)
    n, d = x.shape
    _, shares = pca(x)
    rng = np.random.default_rng(seed)
    null = np.empty((draws, len(shares)))
    for row in null:
        noise = rng.normal(size=(n, d))
        noise -= noise.mean(0)
        gram = noise @ noise.T if n <= d else noise.T @ noise
        values = np.maximum(np.linalg.eigvalsh(gram)[::-1][: len(row)], 0)
        row[:] = np.cumsum(values / values.sum())
    low, middle, high = np.quantile(null, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)
    return VarianceCurve(np.cumsum(shares), low, middle, high)


def tsne(z: ArrayLike, seed: int = 0, perplexity: float = 30.0, n_pca: int | None = None) -> Floats:
    """t-SNE (n, 2), seeded, started from PCA; of the first ``n_pca`` principal components if given (PCA + t-SNE).

    The perplexity is at most (n - 1) / 3.

    Raises:
        D2MError: fewer than four latents.
    """
    from sklearn.manifold import TSNE

    x = np.asarray(z, np.float64)
    if len(x) < 4:
        raise D2MError(f"t-SNE needs at least 4 latents, found {len(x)}")
    if n_pca is not None:
        x = pca(x, min(n_pca, *x.shape))[0]
    x = x / max(float(x.std()), 1e-300)
    model = TSNE(2, perplexity=min(perplexity, (len(x) - 1) / 3), init="pca", random_state=seed)
    return np.asarray(model.fit_transform(x), np.float64)


def silhouette(z: ArrayLike, genre: ArrayLike, permutations: int = 999, seed: int = 0) -> Tested:
    """Mean silhouette (Rousseeuw 1987; Euclidean) of genres, one row per song, with a permutation p-value.

    Args:
        z: (n, d). genre: (n,).
    """
    from scipy.spatial.distance import cdist

    x = np.asarray(z, np.float64)
    names, _, of_song = song_labels(genre)
    distance = cdist(x, x)
    labels = shuffles(of_song, permutations, seed)
    values = np.concatenate(
        [_silhouettes(distance, labels[i : i + _BLOCK], len(names)) for i in range(0, len(labels), _BLOCK)]
    )
    null = values[1:]
    return Tested(float(values[0]), null, permutation_p(values[0], null), float(null.mean()) if len(null) else np.nan)


def _silhouettes(distance: Floats, labels: Ints, c: int) -> Floats:
    """Mean silhouette for each labelling (m, n) -> (m,)."""
    onehot = np.eye(c)[labels]  # (m, n, c)
    count = onehot.sum(1, keepdims=True)  # (m, 1, c)
    total = distance @ onehot  # (m, n, c): from each row to each genre
    own = onehot.astype(bool)
    mates = np.where(own, count - 1, 0).sum(-1)
    a = np.where(own, total, 0).sum(-1) / np.maximum(mates, 1)
    b = np.where(own, np.inf, total / np.maximum(count, 1)).min(-1)
    s = np.where(mates > 0, (b - a) / np.maximum(np.maximum(a, b), 1e-300), 0.0)
    return np.asarray(s.mean(1), np.float64)


def song_folds(n_songs: int, folds: int, seed: int) -> Ints:
    """(s,) fold of every song, chosen independently of genres, so that shuffled genres are treated in the same way."""
    order = np.random.default_rng(seed).permutation(n_songs)
    fold = np.empty(n_songs, np.int64)
    fold[order] = np.arange(n_songs) % folds
    return fold


def linear_probe(
    z: ArrayLike,
    genre: ArrayLike,
    song: ArrayLike | None = None,
    folds: int = 5,
    permutations: int = 999,
    seed: int = 0,
) -> Tested:
    """Balanced accuracy over songs of a cross-validated linear probe, with a permutation p-value.

    The probe is linear discriminant analysis: nearest genre mean after whitening by the shrunk covariance of the
    training folds, equal priors. Its whitening needs no labels, so that thousands of permutations cost little. All rows
    of a song (windows, draws) are in one fold and give one vote.

    Args:
        z: (n, d). genre: (n,). song: (n,) names; every row its own if None.
        folds: at most the number of songs.
        permutations: 0 gives a p-value of 1.

    After exact erasure on the same songs that are probed, the accuracy is *below* chance: the means of the training
    folds then mirror those of the held-out fold.
    """
    x = np.asarray(z, np.float64)
    names, row_song, of_song = song_labels(genre, song)
    s, c = len(of_song), len(names)
    if s < 2 * c:
        raise D2MError(f"a probe of {c} genres needs at least {2 * c} songs; there are {s}")
    fold = song_folds(s, min(folds, s), seed)
    labels = shuffles(of_song, permutations, seed + 1)
    predicted = np.empty_like(labels)
    for k in range(fold.max() + 1):
        held = fold == k
        train, test = ~held[row_song], held[row_song]
        centre = x[train].mean(0)
        sigma = ShrunkCovariance.fit(x[train] - centre)
        if sigma.trace <= 0:
            raise D2MError("all latents are equal, so there is nothing to probe")
        a, b = sigma.power(x[train] - centre, -0.5), sigma.power(x[test] - centre, -0.5)
        # One vote per song: scores are averaged over its rows.
        songs, place = np.unique(row_song[test], return_inverse=True)
        mean = np.zeros((len(songs), len(b)))
        mean[place, np.arange(len(b))] = 1 / np.bincount(place)[place]
        b = mean @ b
        for i in range(0, len(labels), _BLOCK):
            predicted[i : i + _BLOCK, songs] = _nearest_mean(a, labels[i : i + _BLOCK][:, row_song[train]], b, c)
    hit = predicted == labels
    onehot = np.eye(c, dtype=bool)[labels]
    recall = (hit[..., None] & onehot).sum(1) / onehot.sum(1)
    values = recall.mean(-1)
    return Tested(float(values[0]), values[1:], permutation_p(values[0], values[1:]), 1 / c)


def _nearest_mean(a: Floats, labels: Ints, b: Floats, c: int) -> NDArray[np.int64]:
    """Genre of b (q, d) by the nearest mean of a (n, d) under each labelling (m, n) -> (m, q).

    Noise makes the mean of few rows longer; its expected contribution is subtracted, as rare genres would otherwise
    never be chosen.
    """
    onehot = np.eye(c)[labels].transpose(0, 2, 1)  # (m, c, n)
    count = onehot.sum(-1)
    means = (onehot.reshape(-1, a.shape[0]) @ a).reshape(len(labels), c, -1) / np.maximum(count, 1)[..., None]
    noise = float(np.square(a).sum(1).mean()) / np.maximum(count, 1)
    score = 2 * (b @ means.reshape(-1, b.shape[1]).T).reshape(len(b), len(labels), c)
    score -= np.square(means).sum(-1) - noise
    score = np.where(count > 0, score, -np.inf)
    return np.asarray(score.argmax(-1).T, np.int64)
