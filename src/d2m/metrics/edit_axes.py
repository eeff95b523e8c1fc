"""Quality of an edit of a dance: success, content and naturalness, each anchored, and their harmonic mean.

An edit can succeed by destroying the dance, or preserve it by doing nothing, so a single axis is not enough. Each axis
is scaled by two anchors (:func:`anchored`), and the aggregate is zero if any axis is zero (Wu et al.,
"AxBench: Steering LLMs? Even Simple Baselines Outperform Sparse Autoencoders", ICML 2025, section 4: the harmonic mean
of three scores). Deviation: AxBench averages over examples what a language model rates 0, 1 or 2; here the axes are
averaged over songs first, for one song's probability is a coarse number.

Poses are (t, 14, 2) px, y down; dances that are compared lie on one clock, frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist, pdist, squareform

from d2m.core.skeleton import FPS, N_JOINTS, UNIT_FRAMES
from d2m.metrics.motion import common_scale
from d2m.motion.kinematics import hip_midpoint, kinematic_beats
from d2m.music.compiled import librosa

Floats = NDArray[np.float64]
Array = NDArray[np.floating]

#: Of :func:`aligned_distance`: maximum time (s) between two frames that are aligned.
WARP_S = 1.0
#: Of :func:`structure_correlation`: windows last a second, about two beats, and start every quarter of a second.
WINDOW_FRAMES, HOP_FRAMES = 15, 4
#: Of :func:`beat_agreement`: one and a half frames, since beats are known to within a frame.
BEAT_TOLERANCE_S = 0.1


# -- one scale for all axes ----------------------------------------------------------------------------------------


def anchored(value: ArrayLike, zero: ArrayLike, one: ArrayLike) -> Floats:
    """(value - zero) / (one - zero): 0 at one anchor, 1 at the other, not clipped, broadcast.

    Either anchor may be the larger one. NaN if they coincide (or are NaN).
    """
    v, low, high = (np.asarray(x, np.float64) for x in (value, zero, one))
    span = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(np.abs(span) > 1e-12, (v - low) / span, np.nan), np.float64)


def harmonic_mean(axes: ArrayLike) -> float:
    """Of the axes (k,), each clipped to [0, 1]: k / sum(1 / axis), in [0, 1], higher is better; 0 if any axis is 0.

    Raises:
        ValueError: no axis, or one that is not a number.
    """
    x = np.clip(np.asarray(axes, np.float64), 0.0, 1.0)
    if x.ndim != 1 or not len(x) or np.isnan(x).any():
        raise ValueError(f"axes {x.tolist()}: give one number or more")
    return float(len(x) / (1 / x).sum()) if (x > 0).all() else 0.0


def objective(judged: float, chance: float, real: float, energy_ratio: float, fid_ratio: float, seam: float) -> float:
    """One number for a generator, for sweeps to maximise: in [0, 1], 0 if anything is missing.

    The harmonic mean of: the judge's probability of the song's own genre between chance and real dances; the energy
    ratio r or 1 / r, whichever is below 1; 1 / ``fid_ratio``; 1 / ``seam``. Values better than real count as real.

    Args:
        judged, chance, real: probability of the song's genre for generated dances, by chance, for real dances.
        energy_ratio: kinetic energy of generated over real dances.
        fid_ratio: Frechet distance to real dances over its split-half floor.
        seam: :func:`d2m.metrics.motion.boundary_jump_ratio`.

    Raises:
        ValueError: a ratio that is negative, or anything that is not a number.
    """
    ratios = np.array([energy_ratio, fid_ratio, seam])
    if not (ratios >= 0).all():
        raise ValueError(f"energy_ratio, fid_ratio, seam = {ratios.tolist()}: ratios are not negative")
    energy = min(energy_ratio, 1 / energy_ratio) if energy_ratio > 0 else 0.0
    return harmonic_mean([float(anchored(judged, chance, real)), energy, 1 / max(fid_ratio, 1.0), 1 / max(seam, 1.0)])


# -- content: is it still the same dance? ------------------------------------------------------------------------------


def _pair(dance: Array, original: Array) -> tuple[Floats, Floats]:
    """Both relative to their hips, in the original's torso lengths, (t, 28)."""
    a, b = np.asarray(dance, np.float64), np.asarray(original, np.float64)
    if a.shape != b.shape or a.ndim != 3 or a.shape[1:] != (N_JOINTS, 2) or len(a) < 4:
        raise ValueError(f"dances of shapes {a.shape} and {b.shape}; give (t, 14, 2) twice, four frames or more")
    scale = common_scale([b])
    a, b = ((p - hip_midpoint(p)[:, None]).reshape(len(p), -1) / scale for p in (a, b))
    return a, b


def pose_correlation(dance: Array, original: Array) -> float:
    """Pearson's correlation of the poses (t, 14, 2) about each dance's mean pose, hips aligned; 1 is the same.

    sum_tjc a b / sqrt(sum a^2 sum b^2), a and b the deviations from the mean pose, in [-1, 1]. 0 if one does not move.
    """
    a, b = _pair(dance, original)
    a, b = a - a.mean(0), b - b.mean(0)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / length) if length > 1e-9 else 0.0


def aligned_distance(dance: Array, original: Array, warp_s: float = WARP_S, fps: float = FPS) -> float:
    """Root-aligned dynamic time warping: mean distance of joints (torso lengths) along the best path; 0 is the same.

    The cost of a pair of frames is the root mean square over joints of their distance, hips aligned; steps are (1, 1),
    (0, 1) and (1, 0), within ``warp_s`` of the diagonal (Sakoe and Chiba 1978). The sum along the path is divided by
    its length.
    """
    a, b = _pair(dance, original)
    cost = cdist(a, b) / np.sqrt(N_JOINTS)
    radius = max(1, round(warp_s * fps)) / len(a)
    total, path = librosa("sequence").dtw(C=cost, global_constraints=radius < 1, band_rad=min(radius, 1.0))
    return float(total[-1, -1] / len(path))


def structure_correlation(dance: Array, original: Array) -> float:
    """Does it repeat when the original repeats? Correlation of the self-distance matrices, in [-1, 1]; 1 is the same.

    Distances are Euclidean, of windows of one second of poses about the hips; overlapping pairs are excluded. After
    Foote, "Visualizing music and audio using self-similarity", 1999. 0 if a dance repeats itself all along.

    Raises:
        ValueError: dances under three seconds.
    """
    a, b = _pair(dance, original)
    starts = range(0, len(a) - WINDOW_FRAMES + 1, HOP_FRAMES)
    if len(starts) < 8:
        raise ValueError(f"{len(a)} frames: structure needs dances of three seconds or more")
    apart = np.subtract.outer(np.arange(len(starts)), np.arange(len(starts))) * HOP_FRAMES >= WINDOW_FRAMES
    x, y = (squareform(pdist(np.stack([p[i : i + WINDOW_FRAMES].ravel() for i in starts])))[apart] for p in (a, b))
    x, y = x - x.mean(), y - y.mean()
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y / length) if length > 1e-12 else 0.0


def beat_agreement(dance: Array, original: Array, fps: float = FPS, tolerance_s: float = BEAT_TOLERANCE_S) -> float:
    """F-measure of the kinematic beats with the original's, in [0, 1] (mir_eval's); 1 is the same times.

    Two dances without beats agree; one with beats and one without do not.
    """
    from mir_eval.beat import f_measure

    beats, original_beats = kinematic_beats(np.asarray(dance), fps), kinematic_beats(np.asarray(original), fps)
    if not len(beats) or not len(original_beats):
        return float(len(beats) == len(original_beats))
    return float(f_measure(original_beats, beats, f_measure_threshold=tolerance_s))


def seam_step(unwarped: Array, scale: float, fps: float = FPS) -> float:
    """Mean speed of the joints (torso lengths/s) from unit to unit of an unwarped dance (t, 14, 2), two units or more.

    Not divided by the dance's own speed within units, as frames in random order would then have no seam. ``scale``: px
    per torso length.

    Raises:
        ValueError: a dance of one unit.
    """
    steps = np.linalg.norm(np.diff(np.asarray(unwarped, np.float64), axis=0), axis=-1).mean(-1)
    at_seam = steps[UNIT_FRAMES - 1 :: UNIT_FRAMES]
    if not len(at_seam):
        raise ValueError("seam_step: needs at least two units")
    return float(at_seam.mean() * fps / scale)


# -- success against content ---------------------------------------------------------------------------------------


def pareto_curve(success: ArrayLike, content: ArrayLike) -> Floats:
    """The Pareto-optimal (success, content) pairs of (k,) each, by increasing success: (m, 2)."""
    points = np.stack([np.asarray(success, np.float64), np.asarray(content, np.float64)], axis=-1)
    if points.ndim != 2 or not len(points) or np.isnan(points).any():
        raise ValueError(f"success and content of shape {points.shape[:-1]}: give one number or more of each")
    points = points[np.lexsort((-points[:, 1], -points[:, 0]))]  # the furthest first
    best = np.maximum.accumulate(np.concatenate([[-np.inf], points[:-1, 1]]))
    return np.asarray(points[points[:, 1] > best][::-1], np.float64)


def pareto_area(success: ArrayLike, content: ArrayLike) -> float:
    """Area under the curve of the highest content at each success or more, in [0, 1]; higher is better.

    Content and success are clipped to [0, 1]. Beyond the highest success the content is 0. The curve has steps rather
    than slopes, because a mixture of two edits is not an edit.
    """
    curve = np.clip(pareto_curve(success, content), 0.0, 1.0)
    widths = np.diff(np.concatenate([[0.0], curve[:, 0]]))
    return float((widths * curve[:, 1]).sum())


def strength_at(success: ArrayLike, level: float) -> float:
    """The fractional index, 0 to k - 1, at which success (k,) first reaches a level, with linear interpolation.

    NaN if it never does. To compare edits at equal success, evaluate their content there with :func:`at_place`.
    """
    x = np.asarray(success, np.float64)
    reached = np.flatnonzero(x >= level)
    if not len(reached):
        return float("nan")
    i = int(reached[0])
    return float(i if i == 0 else i - 1 + (level - x[i - 1]) / (x[i] - x[i - 1]))


def at_place(values: ArrayLike, place: float) -> Floats:
    """values (..., k) at a fractional index between 0 and k - 1, linearly interpolated -> (...)."""
    x = np.asarray(values, np.float64)
    low = min(int(place), x.shape[-1] - 1)
    high = min(low + 1, x.shape[-1] - 1)
    return np.asarray(x[..., low] + (place - low) * (x[..., high] - x[..., low]), np.float64)


def log_deviation(value: float, references: Iterable[float]) -> float:
    """|log(value / median of the references)|: 0 is typical, the same for twice and for half as much.

    Values that are not positive count as a millionth of the median, so that a frozen dance is far off but finite.

    Raises:
        ValueError: no reference, or a median that is not positive.
    """
    middle = float(np.median(list(references)))
    if not middle > 0:
        raise ValueError(f"references with median {middle}: give positive numbers")
    return float(abs(np.log(max(value / middle, 1e-6))))
