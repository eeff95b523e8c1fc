"""Do the beats of a dance fall on the beats of its music? Scores, and their chance level. Times are in seconds.

A score means little by itself: one that averages over the dance's beats rewards dances with few beats, one that
averages over the music's beats rewards dances with many. :func:`against_shifts` gives the score of the same two rhythms
with an arbitrary phase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelextrema

from d2m.core.errors import D2MError
from d2m.motion.kinematics import kinematic_beats, speed

Array = NDArray[np.floating]
Floats = NDArray[np.float64]
#: (beats of the dance, beats of the music) -> a number.
Score = Callable[[Floats, Floats], float]

#: 3 frames at 60 fps: Li et al., "AI Choreographer", ICCV 2021, section 5.2.
SIGMA_S = 0.05
#: Tolerance of a hit: mir_eval's window for beats; a frame at 15 fps is 0.067 s. Lee et al. 2019 do not state theirs.
TOLERANCE_S = 0.07
#: Of a motion at 60 fps, in seconds: FACT's minima are the lowest within 10 frames on either side; Bailando smooths
#: with a Gaussian of 5 frames first.
FACT_REACH_S = 10 / 60
BAILANDO_SMOOTH_S = 5 / 60


def _beats(times: ArrayLike, whose: str) -> Floats:
    beats = np.asarray(times, np.float64)
    if beats.ndim != 1 or not np.isfinite(beats).all():
        raise D2MError(f"the {whose}'s beats are finite seconds (n,), not {beats.shape}")
    return np.sort(beats)


def _poses(poses: Array) -> Floats:
    p = np.asarray(poses, np.float64)
    if p.ndim != 3 or len(p) < 3 or not np.isfinite(p).all():
        raise D2MError(f"beats of poses {p.shape}; give finite (t, j, c) with three frames or more")
    return p


def motion_beats(poses: Array, fps: float) -> Floats:
    """Beats of a dance (t, j, c) as the card ``d2m`` measures them: seconds (n,), increasing.

    :func:`d2m.motion.kinematics.kinematic_beats`, minima of the mean joint speed (Lee et al. 2019, section 3.1).

    Raises:
        D2MError: poses that are not finite, or fewer than three frames.
    """
    return kinematic_beats(_poses(poses), fps)


def fact_motion_beats(poses: Array, fps: float) -> Floats:
    """Beats of a dance (t, j, c) as Li et al. 2021 measure them: seconds (n,).

    Frames at which the summed speed of the joints is below that of all frames within 1/6 s (10 frames at 60 fps).
    """
    total = speed(_poses(poses), fps).sum(1)
    return _minima(total, fps, max(1, round(FACT_REACH_S * fps)))


def bailando_motion_beats(poses: Array, fps: float) -> Floats:
    """Beats of a dance (t, j, c) as Siyao et al. (Bailando, CVPR 2022) measure them: seconds (n,).

    Local minima of the mean speed of the joints, smoothed by a Gaussian of 1/12 s (5 frames at 60 fps).
    """
    mean = gaussian_filter1d(speed(_poses(poses), fps).mean(1), BAILANDO_SMOOTH_S * fps)
    return _minima(mean, fps, 1)


def _minima(values: Floats, fps: float, order: int) -> Floats:
    """Seconds of the local minima of speeds; speed i lies between frames i and i + 1."""
    return np.asarray((argrelextrema(values, np.less, order=order)[0] + 0.5) / fps, np.float64)


def distance_to_nearest(times: Floats, others: Floats) -> Floats:
    """(n,) and sorted (m,) -> (n,): how far each time is from the nearest of the others; inf if there is none."""
    if not len(others):
        return np.full(len(times), np.inf)
    right = np.searchsorted(others, times).clip(0, len(others) - 1)
    left = (right - 1).clip(0)
    return np.asarray(np.minimum(np.abs(times - others[left]), np.abs(times - others[right])), np.float64)


def _alignment(of: Floats, against: Floats, sigma_s: float) -> float:
    if not len(of):
        return float("nan")
    return float(np.exp(-0.5 * np.square(distance_to_nearest(of, against) / sigma_s)).mean())


def fact_alignment(motion: ArrayLike, music: ArrayLike, sigma_s: float = SIGMA_S) -> float:
    """Mean over the DANCE's beats of exp(-d^2 / (2 sigma^2)), d to the nearest beat of the music; in [0, 1].

    Li et al., ICCV 2021, equation 7 (beat alignment score). Higher is better, 1 if every movement stops on a beat; a
    dance with few beats can score 1. nan without beats of the dance, 0 without beats of the music.
    """
    return _alignment(_beats(motion, "dance"), _beats(music, "music"), sigma_s)


def bailando_alignment(motion: ArrayLike, music: ArrayLike, sigma_s: float = SIGMA_S) -> float:
    """Mean over the MUSIC's beats of exp(-d^2 / (2 sigma^2)), d to the nearest beat of the dance; in [0, 1].

    Siyao et al., CVPR 2022. Higher is better, 1 if the dance stops on every beat; a dance that stops all the time
    scores high. nan without beats of the music, 0 without beats of the dance.
    """
    return _alignment(_beats(music, "music"), _beats(motion, "dance"), sigma_s)


def beat_coverage(motion: ArrayLike, music: ArrayLike) -> float:
    """Beats of the dance over beats of the music (Lee et al. 2019, section 4.2: B_k / B_m); near real is best.

    nan without beats of the music.
    """
    n = len(_beats(music, "music"))
    return len(_beats(motion, "dance")) / n if n else float("nan")


def beat_hit_rate(motion: ArrayLike, music: ArrayLike, tolerance_s: float = TOLERANCE_S) -> float:
    """Share of the dance's beats within the tolerance of a beat of the music (Lee et al. 2019: B_a / B_k), in [0, 1].

    Higher is better. nan without beats of the dance, 0 without beats of the music.
    """
    k = _beats(motion, "dance")
    if not len(k):
        return float("nan")
    return float((distance_to_nearest(k, _beats(music, "music")) <= tolerance_s + 1e-9).mean())


class AgainstShifts(NamedTuple):
    """A score and its null over arbitrary phases. z: (value - chance) / deviation of the null; n: shifts drawn.

    chance and z are NaN if the score is undefined or the null does not vary.
    """

    value: float
    chance: float
    z: float
    n: int


class Rhythms(NamedTuple):
    """A dance and its song: beats of the dance and of the music, seconds; how long the song is; its weight in means."""

    motion: Floats
    music: Floats
    seconds: float
    weight: float = 1.0


def shift_null(score: Score, rhythms: Rhythms, n: int = 200, seed: int | np.random.SeedSequence = 0) -> Floats:
    """(n,) the score after the music's beats were shifted circularly by offsets uniform over the song.

    A beat shifted past the end of the song reappears at its start; tempo, number of beats and the dance are unchanged.

    Raises:
        D2MError: a song without length, beats outside of it, or no shifts.
    """
    if not (np.isfinite(rhythms.seconds) and rhythms.seconds > 0 and n >= 1):
        raise D2MError(f"{n} shifts of a song of {rhythms.seconds} s; give at least one and a length above 0")
    motion, music = _beats(rhythms.motion, "dance"), _beats(rhythms.music, "music")
    if len(music) and (music[0] < -1e-6 or music[-1] > rhythms.seconds + 1e-6):
        raise D2MError(
            f"the music's beats end at {music[-1]:.2f} s, the song at {rhythms.seconds:.2f} s; crop them alike"
        )
    offsets = np.random.default_rng(seed).uniform(0, rhythms.seconds, n)
    return np.array([score(motion, np.sort((music + by) % rhythms.seconds)) for by in offsets])


def pooled_against_shifts(score: Score, songs: Sequence[Rhythms], n: int = 200, seed: int = 0) -> AgainstShifts:
    """The weighted mean of a score over songs beside its null: every song shifted by its own offset in every draw.

    The null of one song is wide, since the whole dance keeps its phase; over s songs it narrows by sqrt(s), so that a
    small effect in every song becomes visible. Songs for which the score is undefined are left out.
    """
    rows = [r for r in songs if r.weight > 0]
    values = np.array([score(_beats(r.motion, "dance"), _beats(r.music, "music")) for r in rows])
    kept = [i for i in range(len(rows)) if np.isfinite(values[i])]
    if not kept:
        return AgainstShifts(float("nan"), float("nan"), float("nan"), n)
    weights = np.array([rows[i].weight for i in kept])
    seeds = np.random.SeedSequence(seed).spawn(len(rows))
    null = np.average([shift_null(score, rows[i], n, seeds[i]) for i in kept], axis=0, weights=weights)
    value, chance, spread = float(np.average(values[kept], weights=weights)), float(null.mean()), float(null.std())
    # A spread due to rounding does not count: a score that no shift changes has no z.
    z = (value - chance) / spread if spread > 1e-9 * max(1.0, abs(chance)) else float("nan")
    return AgainstShifts(value, chance, z, n)


def against_shifts(
    score: Score, motion_beats_s: ArrayLike, music_beats_s: ArrayLike, seconds: float, n: int = 200, seed: int = 0
) -> AgainstShifts:
    """One dance's score beside circular shifts of its music's beats; see :func:`shift_null`.

    Args:
        score: (beats of the dance, beats of the music) -> a number.
        motion_beats_s, music_beats_s: seconds (k,), (m,).
        seconds: the song's length.

    Raises:
        D2MError: beats that are not finite or outside the song, a song without length.
    """
    rhythms = Rhythms(_beats(motion_beats_s, "dance"), _beats(music_beats_s, "music"), seconds)
    return pooled_against_shifts(score, [rhythms], n, seed)
