"""Attributes of motion in z_dan: directions that move them, fitted on dances to training songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import BEAT_PERIOD, FPS, SEQUENCE_FRAMES
from d2m.dance.clock import dance_pulse
from d2m.dance.generator import DanceGenerator
from d2m.dance.together import dance_again, dance_to
from d2m.data.corpus import Corpus
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.motion import MOTION_METRICS, common_scale, measure_motion
from d2m.motion.kinematics import kinematic_beats
from d2m.stats.covariance import row_space
from d2m.stats.within import centred_within
from experiments.material import progress

Floats = NDArray[np.float64]

TEMPO_RATIO = "tempo ratio"
ATTRIBUTES = (*MOTION_METRICS, TEMPO_RATIO)
#: What is projected out of the mean shift, one at a time and together.
HELD = ("energy", TEMPO_RATIO, "expansion")


def measure_attributes(poses: NDArray[np.floating], scale: float, beats: float) -> dict[str, float]:
    """All of :data:`ATTRIBUTES` of a dance (t, 14, 2) px at 15 fps.

    Args:
        scale: px per torso length. beats: of the music while it lasts, as a dancer steps to it; the tempo ratio is how
            many kinematic beats fall on one of them.
    """
    return {**measure_motion(poses, scale), TEMPO_RATIO: len(kinematic_beats(poses, FPS)) / max(beats, 1.0)}


def pulse_count(music_beats: Floats, seconds: float) -> float:
    """How many beats of a dancer's pulse ``seconds`` of a song have."""
    pulse = dance_pulse(music_beats)
    return seconds / float(np.median(np.diff(pulse))) if len(pulse) > 1 else seconds * FPS / BEAT_PERIOD


@dataclass(frozen=True)
class AttributeAxes:
    """directions: attribute -> (d,) of unit length, along which a ridge regression says it grows. heard: attribute ->
    R2 of that regression on songs it was not fitted on; at 0 or below there is no such direction."""

    directions: dict[str, Floats]
    heard: dict[str, float]

    def without(self, shift: Floats, names: Sequence[str]) -> Floats:
        """A shift (d,) with these attributes' directions projected out, at its old length."""
        _, _, basis = row_space(np.stack([self.directions[n] for n in names]))
        left = shift - (shift @ basis.T) @ basis
        return np.asarray(left * (np.linalg.norm(shift) / max(float(np.linalg.norm(left)), 1e-300)), np.float64)


class BothAxes(NamedTuple):
    """within: of what varies within genres, so that no direction is the genre itself. pooled: over all songs; where
    genres differ in an attribute, its direction has a part of theirs, and projecting it out takes that part too."""

    within: AttributeAxes
    pooled: AttributeAxes


def fit_axes(generator: DanceGenerator, corpus: Corpus, songs: Sequence[int], seconds: float, seed: int) -> BothAxes:
    """Ridge regression of every attribute of a segment (96 unwarped frames) on its z_dan; within, both less their
    genre's mean.

    The gradient of a linear reading, not the axis of the covariance: projecting it out leaves the reading alone (Shen
    et al., InterFaceGAN, CVPR 2020, section 3.3).
    """
    z, values, song, genre = [], [], [], []
    with progress(len(songs), "attributes") as step:
        for k, i in enumerate(songs):
            features = corpus.song_features(i)
            n = min(len(features), round(seconds * FPS))
            dance = dance_to(generator, features, corpus.song_beats(i), n, seed=seed + 7919 + i)
            own = dance.z_dan["original"]
            poses = dance_again(generator, dance, own[None], seed=seed + 7919 + i).unwarped[0]
            scale = common_scale([poses])
            for s in range(len(poses) // SEQUENCE_FRAMES):
                part = poses[s * SEQUENCE_FRAMES : (s + 1) * SEQUENCE_FRAMES]
                read = measure_attributes(part, scale, SEQUENCE_FRAMES / BEAT_PERIOD)
                z.append(own[s])
                values.append([read[a] for a in ATTRIBUTES])
                song.append(i)
                genre.append(corpus.recordings[i].genre)
            step(k + 1)
    x, y, of_song = np.stack(z).astype(np.float64), np.nan_to_num(np.array(values)), np.array(song)
    within = _regress(centred_within(x, genre), centred_within(y, genre), of_song)
    return BothAxes(within, _regress(x - x.mean(0), y - y.mean(0), of_song))


def _regress(x: Floats, y: Floats, song: NDArray[np.int64]) -> AttributeAxes:
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold, cross_val_predict

    directions, heard = {}, {}
    folds = GroupKFold(min(5, len(set(song.tolist()))))
    for k, name in enumerate(ATTRIBUTES):
        model: Any = RidgeCV(alphas=np.logspace(-1, 5, 13), fit_intercept=True)
        spread = float(y[:, k].std()) or 1.0
        target = y[:, k] / spread
        said = cross_val_predict(model, x, target, groups=song, cv=folds)
        heard[name] = 1 - float(np.square(target - said).mean() / max(float(np.square(target).mean()), 1e-12))
        w = model.fit(x, target).coef_
        length = float(np.linalg.norm(w))
        directions[name] = w / length if length > 0 else np.zeros_like(w)
    return AttributeAxes(directions, heard)


def tempo_matched_shift(
    z: Floats, genre: NDArray[np.str_], tempo: Floats, source: str, target: str, within: float
) -> tuple[Floats, int] | None:
    """The mean shift of pairs of training songs with one tempo: (d,), at the length of the plain one; how many pairs.

    Args:
        z: (n, d) a row per song. tempo: (n,) beats a minute, as a dancer steps. within: share by which two tempi may
            differ.

    Returns:
        None where no song of the target is within reach of any of the source.
    """
    a, b = np.flatnonzero(genre == source), np.flatnonzero(genre == target)
    near = np.abs(np.log(tempo[a][:, None] / tempo[b][None])) <= np.log1p(within)
    if not near.any():
        return None
    pairs = np.argwhere(near)
    shift = (z[b[pairs[:, 1]]] - z[a[pairs[:, 0]]]).mean(0)
    full = MeanShift(source, target).fit(z, genre).shift(z)
    return shift * (np.linalg.norm(full) / max(float(np.linalg.norm(shift)), 1e-300)), len(pairs)
