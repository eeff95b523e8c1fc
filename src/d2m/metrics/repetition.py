"""Choreographic structure: does a dance repeat when its music repeats, or when a real choreography does?

Dances are cut into blocks of beats. Every score comes with a null in which the dance's blocks (or segments) are
shuffled, and is undefined (NaN) if there are too few of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import find_peaks
from scipy.stats import rankdata

from d2m.core.errors import D2MError

Array = NDArray[np.floating]
Floats = NDArray[np.float64]

#: Blocks closer than this are similar because motion is continuous, not because anything repeats.
APART = 2
#: With fewer blocks there are too few pairs, and too few ways of shuffling them.
MIN_BLOCKS = 6


class AgainstShuffles(NamedTuple):
    """A score and its null over shuffled blocks. z: (value - chance) / deviation; n: shuffles. NaN if undefined."""

    value: float
    chance: float
    z: float
    n: int

    @classmethod
    def undefined(cls, n: int) -> AgainstShuffles:
        """The result if there are too few blocks."""
        return cls(float("nan"), float("nan"), float("nan"), n)

    @classmethod
    def of(cls, value: float, null: ArrayLike) -> AgainstShuffles:
        """A value and its null (n,)."""
        values = np.asarray(null, np.float64)
        chance, spread = float(values.mean()), float(values.std())
        return cls(value, chance, (value - chance) / spread if spread > 1e-9 else float("nan"), len(values))


def beat_blocks(values: Array, fps: float, beats: ArrayLike, per_block: int = 4, samples: int = 8) -> Floats:
    """Poses or features on the music's time, cut at its beats: (t, ...) -> (n, per_block * samples * d).

    Every beat interval is sampled at ``samples`` times, linearly between frames, so that blocks are comparable across
    changes of tempo; ``per_block`` intervals make a block; an incomplete last block is dropped.

    Args:
        beats: (m,) seconds, increasing; those beyond the values are not used.

    Raises:
        D2MError: no frames, or beats that do not increase.
    """
    times = np.asarray(beats, np.float64)
    if not len(values) or times.ndim != 1 or (np.diff(times) <= 0).any():
        raise D2MError(f"blocks of {len(values)} frames at beats {times.shape}; give frames, and beats that increase")
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    times = times[(times >= 0) & (times <= (len(flat) - 1) / fps)]
    n = max(len(times) - 1, 0) // per_block
    if not n:
        return np.empty((0, per_block * samples * flat.shape[1]))
    starts, lengths = times[: n * per_block], np.diff(times)[: n * per_block]
    at = (starts[:, None] + lengths[:, None] * np.arange(samples) / samples).ravel() * fps
    left = np.minimum(at.astype(int), max(len(flat) - 2, 0))
    share = (at - left)[:, None]
    right = np.minimum(left + 1, len(flat) - 1)
    return np.asarray(((1 - share) * flat[left] + share * flat[right]).reshape(n, -1), np.float64)


def self_similarity(features: ArrayLike) -> Floats:
    """(n, d) -> (n, n) in [-1, 1]: cosine of the rows after the mean row is subtracted; Foote, ACM Multimedia 1999.

    Rows equal to the mean are similar to nothing (0), themselves included.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
        raise D2MError(f"self-similarity of {x.shape}; give finite features (n, d), n at least 1")
    x = x - x.mean(0)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.where(norm > 1e-9, x / np.maximum(norm, 1e-9), 0.0)
    return np.asarray((x @ x.T).clip(-1, 1), np.float64)


def _pairs(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    i, j = np.triu_indices(n, APART)
    return i, j


def _shuffled(similarity: Floats, n: int, seed: int) -> Floats:
    """(n, pairs): the similarities of all pairs at least :data:`APART` blocks apart after shuffles of the blocks."""
    rng = np.random.default_rng(seed)
    i, j = _pairs(len(similarity))
    orders = np.stack([rng.permutation(len(similarity)) for _ in range(n)])
    return similarity[orders[:, i], orders[:, j]]


def repeats_with_music(dance: Floats, music: Floats, n: int = 200, seed: int = 0) -> AgainstShuffles:
    """Correlation of two self-similarities (b, b) over pairs of blocks, in [-1, 1]; higher is better.

    Pearson's, over pairs at least two blocks apart. The null shuffles the dance's blocks: a Mantel test (Cancer
    Research 1967). nan with fewer than six blocks, or if either does not vary.

    Raises:
        D2MError: matrices that are not square or differ in size.
    """
    a, b = np.asarray(dance, np.float64), np.asarray(music, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise D2MError(f"self-similarities {a.shape} and {b.shape}; give two of the same blocks")
    if len(a) < MIN_BLOCKS:
        return AgainstShuffles.undefined(n)
    i, j = _pairs(len(a))
    rows = np.concatenate([a[i, j][None], _shuffled(a, n, seed)])
    rows = rows - rows.mean(1, keepdims=True)
    target = b[i, j] - b[i, j].mean()
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(target)
    if norms[0] < 1e-12:
        return AgainstShuffles.undefined(n)
    r = rows @ target / np.maximum(norms, 1e-12)
    return AgainstShuffles.of(float(r[0]), r[1:])


def repeats_where(similarity: Floats, labels: Sequence[str], n: int = 200, seed: int = 0) -> AgainstShuffles:
    """Are blocks (b, b) of one label more similar than others? Area under the ROC curve, in [0, 1]; 0.5 is chance.

    Higher is better. Over pairs at least two blocks apart; the labels are the figures of a real choreography, or
    the sections of the music. NaN with fewer than six blocks, or if no two or all pairs share a label.
    """
    s = np.asarray(similarity, np.float64)
    if s.shape != (len(labels), len(labels)):
        raise D2MError(f"a self-similarity {s.shape} has {len(labels)} labels; give one for each block")
    i, j = _pairs(len(s))
    same = np.array([labels[a] == labels[b] for a, b in zip(i, j)], bool)
    if len(s) < MIN_BLOCKS or same.all() or not same.any():
        return AgainstShuffles.undefined(n)
    # The Mann-Whitney form of the area, for all shuffles at once; ties count half.
    ranks = rankdata(np.concatenate([s[i, j][None], _shuffled(s, n, seed)]), axis=1)
    n_same = int(same.sum())
    areas = (ranks[:, same].sum(1) - n_same * (n_same + 1) / 2) / (n_same * (len(same) - n_same))
    return AgainstShuffles.of(float(areas[0]), areas[1:])


def novelty_boundaries(similarity: Floats, times: ArrayLike, half_width: int = 4, prominence: float = 0.1) -> Floats:
    """Segment boundaries of a dance: times of the peaks of Foote's novelty, and both ends.

    A checkerboard of 2 half_width blocks with a Gaussian taper slides along the diagonal (Foote, ICME 2000).

    Args:
        similarity: (n, n) of consecutive blocks, for instance single beats.
        times: (n + 1,) seconds at which the blocks begin, and the last one's end.
        prominence: of a peak, as a fraction of the novelty's range.

    Returns:
        (k,) seconds, increasing, k >= 2.
    """
    s, at = np.asarray(similarity, np.float64), np.asarray(times, np.float64)
    n = len(s)
    if s.shape != (n, n) or at.shape != (n + 1,) or not n:
        raise D2MError(f"novelty of a self-similarity {s.shape} with {at.shape} times; give n + 1 times of n blocks")
    offsets = np.arange(-half_width, half_width) + 0.5
    taper = np.exp(-0.5 * np.square(2 * offsets / half_width))
    kernel = np.outer(np.sign(offsets) * taper, np.sign(offsets) * taper)
    padded = np.pad(s, half_width)
    size = 2 * half_width
    novelty = np.array([(padded[i : i + size, i : i + size] * kernel).sum() for i in range(n + 1)])
    # Values beyond the ends do not count as novelty.
    novelty[:half_width] = novelty[n + 1 - half_width :] = novelty.min()
    peaks, _ = find_peaks(novelty, prominence=max(prominence * float(np.ptp(novelty)), 1e-12))
    inner = at[peaks]
    return np.unique(np.r_[at[0], inner, at[-1]])


def _detection(reference: Floats, estimate: Floats, window_s: float) -> float:
    from mir_eval.segment import detection
    from mir_eval.util import boundaries_to_intervals

    return float(detection(reference, boundaries_to_intervals(estimate), window=window_s, trim=True)[2])


def boundary_score(
    reference: ArrayLike, boundaries: ArrayLike, window_s: float = 0.5, n: int = 200, seed: int = 0
) -> AgainstShuffles:
    """F-measure of a dance's boundaries against a reference segmentation, in [0, 1]; higher is better.

    mir_eval.segment.detection with the two ends trimmed: a hit lies within ``window_s``. The null puts the dance's own
    segments in random order. NaN if the dance or the reference has no inner boundary.

    Args:
        reference: (k, 2) seconds, consecutive segments.
        boundaries: (m,) seconds, increasing, with both ends.
    """
    segments, edges = np.asarray(reference, np.float64), np.asarray(boundaries, np.float64)
    if segments.ndim != 2 or segments.shape[1:] != (2,) or edges.ndim != 1 or (np.diff(edges) <= 0).any():
        raise D2MError(
            f"segments {segments.shape} and boundaries {edges.shape}; give (k, 2) and increasing (m,) seconds"
        )
    if len(segments) < 2 or len(edges) < 3:
        return AgainstShuffles.undefined(n)
    rng = np.random.default_rng(seed)
    lengths = np.diff(edges)
    null = [
        _detection(segments, edges[0] + np.r_[0.0, np.cumsum(rng.permutation(lengths))], window_s) for _ in range(n)
    ]
    return AgainstShuffles.of(_detection(segments, edges, window_s), null)


def figure_segments(choreography: Mapping[str, Any], seconds: float) -> tuple[Floats, list[str]]:
    """The figures of a choreography distributed over a dance: intervals (k, 2) in seconds, and their names.

    Figures are placed in proportion to their beats in the choreography, since the recording was cut and its tempo
    refitted.

    Args:
        choreography: "figures", their names (the same name for the same figure), and "beats", their durations.
        seconds: of the dance.

    Raises:
        D2MError: no figures, lists of different length, or beats or seconds that are not above 0.
    """
    names = [str(f) for f in choreography.get("figures", ())]
    beats = np.asarray(choreography.get("beats", ()), np.float64)
    if not names or beats.shape != (len(names),) or not (beats > 0).all() or not seconds > 0:
        said = choreography.get("name", "a choreography")
        raise D2MError(
            f"{said}: {len(names)} figures with {len(beats)} beats over {seconds} s; give one length each, above 0"
        )
    edges = np.r_[0.0, np.cumsum(beats)] * seconds / beats.sum()
    return np.stack([edges[:-1], edges[1:]], axis=1), names


def labels_at(intervals: ArrayLike, labels: Sequence[str], times: ArrayLike) -> list[str]:
    """The label of the segment that holds each time; the last one's for times beyond the end."""
    edges = np.asarray(intervals, np.float64)[:, 1]
    at = np.searchsorted(edges, np.asarray(times, np.float64), side="right").clip(0, len(labels) - 1)
    return [labels[int(i)] for i in at]
