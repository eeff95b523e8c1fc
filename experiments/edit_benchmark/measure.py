"""What is measured of one dance: what the judges see, what is left of the original, how natural it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import FPS
from d2m.data.corpus import Corpus
from d2m.metrics.body import bone_lengths
from d2m.metrics.edit_axes import (
    aligned_distance,
    beat_agreement,
    log_deviation,
    pose_correlation,
    seam_step,
    structure_correlation,
)
from d2m.motion.kinematics import jerk
from d2m.reports.evaluation import real_scale
from d2m.reports.judges import Judges
from d2m.stats.covariance import ShrunkCovariance
from experiments.edit_benchmark.attributes import measure_attributes

Poses = NDArray[np.floating]
Floats = NDArray[np.float64]

#: name -> (of (dance, original), what an unedited dance has).
CONTENT = {
    "poses": (pose_correlation, 1.0),
    "poses in time": (aligned_distance, 0.0),
    "structure": (structure_correlation, 1.0),
    "beats": (beat_agreement, 1.0),
}
#: How far from real dances of the target genre, on a logarithmic scale: jerk, how fast the bones' projected lengths
#: change (their drift over windows would be smaller, not larger, of shuffled frames), the network's features, the steps
#: from unit to unit.
NATURALNESS = ("jerk", "bones", "features", "seams")
#: Views of every training recording that the references are made of, at most.
_VIEWS = 2


def content_of(dance: Poses, original: Poses) -> dict[str, float]:
    """Every part of the axis content, raw."""
    n = min(len(dance), len(original))
    return {k: f(dance[:n], original[:n]) for k, (f, _) in CONTENT.items()}


@dataclass(frozen=True)
class Reference:
    """Real training dances of a genre: medians of jerk, bones and steps, and a Gaussian of the network's features."""

    jerk: float
    bones: float
    seams: float
    mean: Floats
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


def reference_of(corpus: Corpus, genre: str, judges: Judges, frames: int) -> Reference:
    """Of a genre's training dances, their first ``frames``."""
    bodies, features = [], []
    for i in map(int, corpus.recordings_in("train", genre)):
        scale = real_scale(corpus, i)
        for v in range(min(_VIEWS, corpus.n_views(i))):
            poses = corpus.song_poses(i, v)
            part = poses[:frames]
            bodies.append(_body(part, part, scale))
            features.append(judges[0].features(poses))
    x = np.concatenate(features)
    medians = {k: float(np.median([b[k] for b in bodies])) for k in bodies[0]}
    return Reference(**medians, mean=x.mean(0), covariance=ShrunkCovariance.fit(x - x.mean(0)))


def naturalness_of(
    poses: Poses, unwarped: Poses, scale: float, features: Floats, reference: Reference
) -> dict[str, float]:
    """Every part of the axis naturalness, raw: lower is nearer to real."""
    body = _body(poses, unwarped, scale)
    out = {k: log_deviation(v, [getattr(reference, k)]) for k, v in body.items()}
    return {**out, "features": float(np.log(max(reference.distance(features), 1e-6)))}


def measure_dance(
    poses: Poses, unwarped: Poses, original: Poses, scale: float, beats: float, judges: Judges,
    reference: Reference | None,
) -> dict[str, Any]:  # fmt: skip
    """All of one dance (t, 14, 2), plain values for a file.

    Args:
        unwarped: as decoded. original: the unedited dance. scale: px per torso length of the song's real dance.
        beats: of the dancer's pulse while it lasts. reference: of the target genre; None where there is none.
    """
    row: dict[str, Any] = {
        "judged": [j.probabilities(poses).tolist() for j in judges],
        "content": content_of(poses, original),
        "motion": measure_attributes(poses, scale, beats),
    }
    if reference is not None:
        row["natural"] = naturalness_of(poses, unwarped, scale, judges[0].features(poses), reference)
    return row


def real_rows(
    corpus: Corpus, songs: Sequence[int], frames: int, judges: Judges, references: Mapping[str, Reference], seed: int
) -> list[dict[str, Any]]:
    """The anchors: real held-out dances as they are, and with their frames in random order."""
    rows = []
    for i in songs:
        genre, scale = corpus.recordings[i].genre, real_scale(corpus, i)
        poses = np.asarray(corpus.song_poses(i)[:frames])
        shuffled = poses[np.random.default_rng([seed, i]).permutation(len(poses))]
        row: dict[str, Any] = {
            "song": corpus.recordings[i].name,
            "genre": genre,
            "judged": [j.probabilities(poses).tolist() for j in judges],
        }
        for name, p in (("real", poses), ("shuffled", shuffled)):
            row[name] = naturalness_of(p, p, scale, judges[0].features(p), references[genre])
        rows.append(row)
    return rows
