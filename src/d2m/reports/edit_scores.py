"""Scores of edited dances on the axes of :mod:`d2m.metrics.edit_axes`: raw measures, and anchors from real dances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.skeleton import FPS
from d2m.data.corpus import Corpus
from d2m.metrics.body import bone_lengths
from d2m.metrics.edit_axes import (
    aligned_distance,
    anchored,
    beat_agreement,
    log_deviation,
    pose_correlation,
    seam_step,
    structure_correlation,
)
from d2m.motion.kinematics import jerk
from d2m.reports.held_out import real_scale
from d2m.reports.judges import Judges
from d2m.stats.covariance import ShrunkCovariance

Poses = NDArray[np.floating]
Floats = NDArray[np.float64]

AXES = ("success", "content", "naturalness")
#: name -> (function of (dance, original), its value for an unedited dance).
CONTENT = {
    "poses": (pose_correlation, 1.0),
    "poses in time": (aligned_distance, 0.0),
    "structure": (structure_correlation, 1.0),
    "beats": (beat_agreement, 1.0),
}
#: Distance from real dances of the target genre, on a logarithmic scale: jerk, rate of change of the projected bone
#: lengths (their drift over windows would decrease, not increase, for shuffled frames), features of the network, and
#: displacement between units.
NATURALNESS = ("jerk", "bones", "features", "seams")
#: Success cannot be measured by a judge that scores real dances less than this above random edits, nor naturalness by a
#: measure whose anchors are closer than this (a tenth of a natural logarithm).
LEAST_GAP = 0.1
#: Minimum duration: structure needs three seconds, a seam two units.
LEAST_SECONDS = 3.0
#: Maximum number of views per training recording used for references.
_VIEWS = 2


def content_of(dance: Poses, original: Poses) -> dict[str, float]:
    """All raw measures of the axis content, for dances (t, 14, 2); the longer one is truncated."""
    n = min(len(dance), len(original))
    return {k: f(dance[:n], original[:n]) for k, (f, _) in CONTENT.items()}


def content_axis(raw: Mapping[str, float], zeros: Mapping[str, float]) -> float:
    """Mean over the measures, scaled from another song's dance (0, ``zeros``) to the unedited dance (1)."""
    return float(np.mean([anchored(raw[k], zeros[k], one) for k, (_, one) in CONTENT.items()]))


@dataclass(frozen=True)
class GenreReference:
    """Real training dances of a genre: medians of jerk, bones and seams, and a Gaussian of the network's features."""

    jerk: float
    bones: float
    seams: float
    mean: Floats = field(repr=False)
    covariance: ShrunkCovariance = field(repr=False)

    def distance(self, features: Floats) -> float:
        """Mean Mahalanobis distance of windows (w, d), per dimension."""
        white = self.covariance.power(features - self.mean, -0.5)
        return float(np.sqrt(np.square(white).mean(1)).mean())


def _body(poses: Poses, unwarped: Poses, scale: float) -> dict[str, float]:
    return {
        "jerk": float(jerk(np.asarray(poses, np.float64) / scale, FPS).mean()),
        "bones": float(np.abs(np.diff(bone_lengths(poses), axis=0)).mean() * FPS / scale),
        "seams": seam_step(unwarped, scale),
    }


def reference_of(corpus: Corpus, genre: str, judges: Judges, frames: int) -> GenreReference:
    """Of a genre's training dances, their first ``frames``."""
    bodies, features = [], []
    for i in map(int, corpus.recordings_in("train", genre)):
        scale = real_scale(corpus, i)
        for v in range(min(_VIEWS, corpus.n_views(i))):
            poses = corpus.song_poses(i, v)
            bodies.append(_body(poses[:frames], poses[:frames], scale))
            features.append(judges[0].features(poses))
    x = np.concatenate(features)
    medians = {k: float(np.median([b[k] for b in bodies])) for k in bodies[0]}
    return GenreReference(**medians, mean=x.mean(0), covariance=ShrunkCovariance.fit(x - x.mean(0)))


def naturalness_of(
    poses: Poses, unwarped: Poses, scale: float, features: Floats, reference: GenreReference
) -> dict[str, float]:
    """All raw measures of the axis naturalness; lower is closer to real dances.

    Args:
        poses: (t, 14, 2) px on the song's time. unwarped: as decoded. scale: px per torso length.
        features: the network judge's, of the dance's windows (w, d).
    """
    out = {k: log_deviation(v, [getattr(reference, k)]) for k, v in _body(poses, unwarped, scale).items()}
    return {**out, "features": float(np.log(max(reference.distance(features), 1e-6)))}


def real_row(
    corpus: Corpus, i: int, frames: int, judges: Judges, reference: GenreReference, seed: int
) -> dict[str, dict[str, float] | list[list[float]]]:
    """A real dance as an anchor: "judged", and raw naturalness unchanged ("real") and with "shuffled" frames."""
    scale = real_scale(corpus, i)
    poses = np.asarray(corpus.song_poses(i)[:frames])
    shuffled = poses[np.random.default_rng([seed, i]).permutation(len(poses))]
    return {
        "judged": [j.probabilities(poses).tolist() for j in judges],
        "real": naturalness_of(poses, poses, scale, judges[0].features(poses), reference),
        "shuffled": naturalness_of(shuffled, shuffled, scale, judges[0].features(shuffled), reference),
    }


Anchors = dict[str, tuple[float, float]]


def natural_anchors(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> Anchors:
    """Measure -> (zero, one), means over real dances of a genre (:func:`real_row`), without uninformative measures."""
    pairs = {k: tuple(float(np.mean([r[kind][k] for r in rows])) for kind in ("shuffled", "real")) for k in NATURALNESS}
    return {k: (zero, one) for k, (zero, one) in pairs.items() if zero - one >= LEAST_GAP}


def naturalness_axis(raw: Mapping[str, float], anchors: Anchors) -> float:
    """Mean over the measures with anchors; NaN if there are none."""
    return float(np.mean([anchored(raw[k], *pair) for k, pair in anchors.items()])) if anchors else float("nan")


def success_by_judge(p: ArrayLike, random: ArrayLike, random_mean: ArrayLike, real: ArrayLike) -> Floats:
    """(judges,) (p - random) / (real - random_mean): probabilities of the target genre by every judge.

    NaN for a judge that scores real dances less than :data:`LEAST_GAP` above random edits.

    Args:
        p: of the edited dance. random: of the same dance moved as far at random. random_mean: the same, over songs.
        real: of real dances of the target genre.
    """
    x, zero, mean, one = (np.asarray(v, np.float64) for v in (p, random, random_mean, real))
    gap = one - mean
    return np.asarray(np.where(gap >= LEAST_GAP, (x - zero) / np.where(gap >= LEAST_GAP, gap, 1.0), np.nan))


def known_mean(values: ArrayLike) -> float:
    """Mean ignoring NaN; NaN if there are no values."""
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    return float(x.mean()) if len(x) else float("nan")
