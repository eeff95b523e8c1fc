"""Repairing poses, step by step: pure functions of arrays (t, j, c), 2-D or 3-D; NaN is unseen. Smoothing and other
frame rates: :mod:`d2m.prepare.smooth`.

Lengths are in torsos (neck to hip midpoint, :func:`d2m.motion.kinematics.torso_length`), so that one threshold serves
every camera distance and unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import median_filter

from d2m.core.skeleton import LEFT_HIP, LIMBS, NECK, RIGHT_HIP
from d2m.motion.kinematics import torso_length

Floats = NDArray[np.float64]
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: (joint it hangs from, joint), the neck being the root; inner ones first.
_OUTWARDS = tuple((a, b) if a == NECK or a > 0 else (b, a) for a, b, _ in LIMBS)
#: No limb is longer than this; a thigh is 0.8 torsos.
_LIMB_TORSOS = 0.9
_RIGHT, _LEFT = [2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]


def seen(joints: Array) -> Mask:
    """(t, j, c) -> (t, j): all coordinates are finite."""
    return np.asarray(np.isfinite(joints).all(axis=-1))


def mend_sides(joints: Array, apart: float = 0.2, ratio: float = 0.25) -> tuple[Floats, int]:
    """Exchange left and right back in frames whose detector took one for the other.

    From one frame to the next the whole body has exchanged its sides where, of its arms and legs, the labels as they
    are lie ``apart`` torsos (in the mean) or more from where they were or were going, and the exchanged ones are at
    most ``ratio`` times as far. A dancer's turn never looks so: over 600,000 frames of real dances, in space and from
    eight sides, the ratio stays above 0.3 (docs/adr/0059). Which of the two labellings is right cannot be known: the
    one of most frames is kept.

    Returns:
        The joints, and in how many frames sides were exchanged.
    """
    out = np.array(joints, np.float64)
    torso = torso_length(out) if seen(out).any() else np.nan
    if len(out) < 3 or not torso > 0:
        return out, 0
    sides = np.stack([out[:, _RIGHT], out[:, _LEFT]], axis=1)
    away = np.linalg.norm(np.diff(sides, axis=0), axis=-1).reshape(len(out) - 1, 2 * len(_RIGHT))
    known = np.isfinite(away)
    far = np.where(known, away, 0).sum(axis=1) > apart * torso * np.maximum(known.sum(axis=1), 1)
    maybe = np.flatnonzero(far & (known.mean(axis=1) > 0.6)) + 1  # few frames; only there the rest is computed
    now, last, before = sides[maybe], sides[maybe - 1], sides[np.maximum(maybe - 2, 0)]

    def changes(before: Floats) -> list[bool]:
        """Whether sides change at those frames, going by the frame before and this one before that."""
        stay, change = _from_path(now, last, before), _from_path(now[:, ::-1], last, before)
        return list((stay > apart * torso) & (change < ratio * stay))

    exchanged, at = np.zeros(len(out), bool), -1
    for frame, after_none, after_one in zip(maybe, changes(before), changes(before[:, ::-1]), strict=True):
        if after_one if at == frame - 1 else after_none:
            exchanged[frame:] ^= True
            at = int(frame)
    if exchanged.mean() > 0.5:
        exchanged = ~exchanged
    mended = out[exchanged]
    mended[:, _RIGHT + _LEFT] = mended[:, _LEFT + _RIGHT]
    out[exchanged] = mended
    return out, int(exchanged.sum())


def _from_path(now: Floats, last: Floats, before: Floats) -> Floats:
    """(t, 2, 6, c) each -> (t,): mean distance of joints from where they were, or were going, whichever is less."""
    means = []
    for expected in (last, 2 * last - before):
        away = np.linalg.norm(now - expected, axis=-1)
        there = np.isfinite(away)
        total, count = np.where(there, away, 0).sum(axis=(1, 2)), there.sum(axis=(1, 2))
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.inf))
    return np.asarray(np.minimum(*means), np.float64)


def drop_jumps(joints: Array, fps: float, max_speed: float = 25.0, max_s: float = 0.25) -> Floats:
    """Take out short excursions: a joint that leaps away and, within ``max_s``, is gone or back.

    A track of one joint is cut wherever its speed exceeds ``max_speed`` torsos/s (about 12 m/s; a dancer's hand reaches
    8). Of the pieces, those shorter than ``max_s`` stay only if the joint can be reached from its neighbours that
    stay. Long pieces always stay: a leap between two of them is a scene cut, found by :func:`scene_cuts`.
    """
    out = np.array(joints, np.float64)
    torso = torso_length(out) if seen(out).any() else np.nan
    if not torso > 0:
        return out
    step = max_speed * torso / fps
    # After a gap the joint may be anywhere it could have got to, up to two torsos.
    farthest = max(step, 2 * torso)
    shortest = max(1, round(max_s * fps))
    for joint in range(out.shape[1]):
        track = out[:, joint]
        frames = np.flatnonzero(np.isfinite(track).all(axis=-1))
        away = np.linalg.norm(np.diff(track[frames], axis=0), axis=-1)
        leaps = np.flatnonzero(away > np.minimum(step * np.diff(frames), farthest)) + 1
        if not len(leaps):
            continue
        pieces = np.split(frames, leaps)
        longest = max(len(p) for p in pieces)
        stays = [len(p) >= min(shortest, longest) for p in pieces]
        for i, piece in enumerate(pieces):
            if stays[i]:
                continue
            before = next((pieces[k][-1] for k in range(i - 1, -1, -1) if stays[k]), None)
            after = next((pieces[k][0] for k in range(i + 1, len(pieces)) if stays[k]), None)
            pairs = [(a, b) for a, b in ((before, piece[0]), (piece[-1], after)) if a is not None and b is not None]
            near = [np.linalg.norm(track[b] - track[a]) <= min(step * (b - a), farthest) for a, b in pairs]
            stays[i] = bool(near) and all(near)
        for piece, stay in zip(pieces, stays, strict=True):
            if not stay:
                out[piece, joint] = np.nan
    return out


def drop_long_limbs(joints: Array, fps: float, slack_2d: float = 1.8, slack_3d: float = 2.2) -> Floats:
    """Take out joints at the far end of a limb of a length that no limb has.

    A bone of a 3-D body keeps its length; joints from few markers do not (of the ballroom dances' limbs one in a
    hundred is 0.6 or 1.6 times as long as usual), hence ``slack_3d`` times, and its inverse. In a picture a limb can
    only shorten, so there only the long ones count: beyond ``slack_2d`` times the 75th percentile, and beyond any
    human's, measured in the torso of that moment, so that a slow zoom does no harm.
    """
    out = np.array(joints, np.float64)
    spine = np.linalg.norm(out[:, NECK] - 0.5 * (out[:, LEFT_HIP] + out[:, RIGHT_HIP]), axis=-1)
    if not np.isfinite(spine).any():
        return out
    size = np.ones(len(out))
    if out.shape[-1] == 2:  # the larger of recent torsos: a bend shortens it, a zoom changes it slowly
        known = np.interp(np.arange(len(out)), np.flatnonzero(np.isfinite(spine)), spine[np.isfinite(spine)])
        window = min(len(out), max(3, round(4 * fps) | 1))
        size = np.maximum(np.median(known), median_filter(known, window, mode="nearest"))
    for near, far, _ in LIMBS:
        length = np.linalg.norm(out[:, near] - out[:, far], axis=-1) / size
        if not np.isfinite(length).any():
            continue
        with np.errstate(invalid="ignore"):
            if out.shape[-1] == 2:
                bad = length > max(slack_2d * np.nanpercentile(length, 75), _LIMB_TORSOS)
            else:
                usual = np.nanmedian(length)
                bad = (length > slack_3d * usual) | (length < usual / slack_3d)
        out[bad, far] = np.nan
    return out


def drop_broken_frames(joints: Array, min_joints: int = 5) -> Floats:
    """Frames with fewer than ``min_joints`` joints are not poses: nobody is visible in them."""
    out = np.array(joints, np.float64)
    out[seen(out).sum(axis=1) < min_joints] = np.nan
    return out


def scene_cuts(joints: Array, fps: float, max_speed: float = 25.0) -> NDArray[np.int64]:
    """Frames at which the whole body (most joints at once) is elsewhere: the film was cut, or the dancer changed."""
    torso = torso_length(joints)
    step = np.linalg.norm(np.diff(np.asarray(joints, np.float64), axis=0), axis=-1)
    both = np.isfinite(step)
    with np.errstate(invalid="ignore"):
        leap = (step > max(0.5, max_speed / fps) * torso) & both
    return np.flatnonzero((leap.sum(axis=1) > 0.6 * both.sum(axis=1)) & (both.sum(axis=1) >= 5)) + 1


def fill_gaps(joints: Array) -> Floats:
    """Every NaN filled: between seen frames monotone cubic (PCHIP: exact on linear motion, no overshoot), beyond the
    ends what was last seen holds. Outer joints are filled relative to the one they hang from, so that a lost hand
    travels with its dancer. A joint that is never seen stays NaN.

    Args:
        joints: (t, 14, c).
    """
    out = np.array(joints, np.float64)
    known = seen(out)
    out[:, NECK] = _fill(out[:, NECK], known[:, NECK])
    for near, far in _OUTWARDS:
        if not known[:, far].all():
            filled = out[:, near] + _fill(out[:, far] - out[:, near], known[:, far])
            out[~known[:, far], far] = filled[~known[:, far]]
    return out


def _fill(track: Floats, known: Mask) -> Floats:
    """(t, c): one track."""
    frames = np.flatnonzero(known)
    if len(frames) in (0, len(track)):
        return track
    out = track.copy()
    missing = np.flatnonzero(~known)
    if len(frames) == 1:
        out[missing] = track[frames[0]]
    else:
        out[missing] = PchipInterpolator(frames, track[frames], axis=0)(np.clip(missing, frames[0], frames[-1]))
    return out


def long_gaps(known: Mask, fps: float, max_gap_s: float = 0.5, min_joints: int = 7) -> NDArray[np.int64]:
    """Frames in which too little is known for too long to be filled.

    Args:
        known: (t, j).

    Returns:
        (n, 2) [first, last + 1] frames in which longer than ``max_gap_s`` fewer than ``min_joints`` joints, or one of
        the trunk (neck, hips), are missing; a limb may be missing four times as long.
    """
    trunk = known[:, [NECK, RIGHT_HIP, LEFT_HIP]].all(axis=1) & (known.sum(axis=1) >= min_joints)
    bad = _runs_longer(~trunk, max_gap_s * fps)
    for joint in range(known.shape[1]):
        bad |= _runs_longer(~known[:, joint], 4 * max_gap_s * fps)
    return runs(bad)


def runs(mask: Mask) -> NDArray[np.int64]:
    """(t,) -> (n, 2) [first, last + 1] of the stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)


def _runs_longer(mask: Mask, frames: float) -> Mask:
    out = np.zeros_like(mask)
    for first, end in runs(mask):
        out[first:end] = end - first > frames + 1e-9
    return out
