"""Steps of pose repair: pure functions of arrays (t, j, c), 2-D or 3-D; NaN means unseen. Smoothing and resampling are
in :mod:`d2m.prepare.smooth`.

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

#: (parent joint, joint), with the neck as root; inner limbs first.
_OUTWARDS = tuple((a, b) if a == NECK or a > 0 else (b, a) for a, b, _ in LIMBS)
#: No limb is longer than this; a thigh is 0.8 torsos.
_LIMB_TORSOS = 0.9
_RIGHT, _LEFT = [2, 3, 4, 8, 9, 10], [5, 6, 7, 11, 12, 13]


def seen(joints: Array) -> Mask:
    """(t, j, c) -> (t, j): whether all coordinates are finite."""
    return np.asarray(np.isfinite(joints).all(axis=-1))


def mend_sides(joints: Array, apart: float = 0.2, ratio: float = 0.25) -> tuple[Floats, int]:
    """Undo left-right exchanges in frames in which the detector confused the sides.

    The body's sides count as exchanged between two frames if its arms and legs are, on average, at least ``apart``
    torsos from their last or extrapolated position, and at most ``ratio`` times that far with exchanged labels. A
    dancer's turn never looks like this: in 600,000 frames of real dances, in 3-D and in 2-D views from eight sides, the
    ratio stays above 0.3 (docs/adr/0059). Which of the two labellings is right cannot be known: the one of most frames
    is kept.

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
    maybe = np.flatnonzero(far & (known.mean(axis=1) > 0.6)) + 1  # few frames: the rest is computed for these only
    now, last, before = sides[maybe], sides[maybe - 1], sides[np.maximum(maybe - 2, 0)]

    def changes(before: Floats) -> list[bool]:
        """Whether sides change at those frames, going by the frame before each, and by ``before``, two frames
        before."""
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
    """(t, 2, 6, c) each -> (t,): mean distance of joints from their last or extrapolated position, the smaller one."""
    means = []
    for expected in (last, 2 * last - before):
        away = np.linalg.norm(now - expected, axis=-1)
        there = np.isfinite(away)
        total, count = np.where(there, away, 0).sum(axis=(1, 2)), there.sum(axis=(1, 2))
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.inf))
    return np.asarray(np.minimum(*means), np.float64)


def drop_jumps(joints: Array, fps: float, max_speed: float = 25.0, max_s: float = 0.25) -> Floats:
    """Remove short excursions: a joint that jumps away and, within ``max_s``, disappears or jumps back.

    A track of one joint is cut wherever its speed exceeds ``max_speed`` torsos/s (about 12 m/s; a dancer's hand reaches
    8). Pieces shorter than ``max_s`` are kept only if the joint could have got there from the neighbouring kept pieces.
    Longer pieces are always kept: a jump between two of them is a scene cut, found by :func:`scene_cuts`.
    """
    out = np.array(joints, np.float64)
    torso = torso_length(out) if seen(out).any() else np.nan
    if not torso > 0:
        return out
    step = max_speed * torso / fps
    # After a gap the joint may be anywhere within reach at max_speed, up to two torsos.
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
    """Remove the outer joint of every limb of an impossible length.

    A bone of a 3-D body keeps its length; joints from few markers do not (of the ballroom dances' limbs one in a
    hundred is 0.6 or 1.6 times as long as usual), hence ``slack_3d`` times, and its inverse. Projection to 2-D can only
    shorten a limb, so there only long limbs count: longer than ``slack_2d`` times the 75th percentile, and longer than
    any human's relative to the torso at that time, so that a slow zoom is harmless.
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
    """Set frames with fewer than ``min_joints`` joints to unseen: they show no dancer."""
    out = np.array(joints, np.float64)
    out[seen(out).sum(axis=1) < min_joints] = np.nan
    return out


def scene_cuts(joints: Array, fps: float, max_speed: float = 25.0) -> NDArray[np.int64]:
    """Frames at which the whole body (most joints at once) jumps: a cut in the film, or another dancer."""
    torso = torso_length(joints)
    step = np.linalg.norm(np.diff(np.asarray(joints, np.float64), axis=0), axis=-1)
    both = np.isfinite(step)
    with np.errstate(invalid="ignore"):
        leap = (step > max(0.5, max_speed / fps) * torso) & both
    return np.flatnonzero((leap.sum(axis=1) > 0.6 * both.sum(axis=1)) & (both.sum(axis=1) >= 5)) + 1


def fill_gaps(joints: Array) -> Floats:
    """Fill every NaN: by monotone cubic interpolation between seen frames (PCHIP: exact on linear motion, no
    overshoot), by the nearest seen value beyond the ends. Outer joints are filled relative to their parent joint, so
    that an unseen hand moves with its dancer. A joint that is never seen stays NaN.

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
    """Spans in which too few joints are seen for too long to be filled.

    Args:
        known: (t, j).

    Returns:
        (n, 2) [first, last + 1] frames of spans longer than ``max_gap_s`` in which fewer than ``min_joints`` joints are
            seen or a joint of the trunk (neck, hips) is missing; a limb may be missing four times as long.
    """
    trunk = known[:, [NECK, RIGHT_HIP, LEFT_HIP]].all(axis=1) & (known.sum(axis=1) >= min_joints)
    bad = _runs_longer(~trunk, max_gap_s * fps)
    for joint in range(known.shape[1]):
        bad |= _runs_longer(~known[:, joint], 4 * max_gap_s * fps)
    return runs(bad)


def frozen(joints: Array, fps: float, least_s: float = 3.0) -> NDArray[np.int64]:
    """(n, 2) [first, last + 1] frames of spans of at least ``least_s`` seconds in which no joint moves at all, as if
    tracking had stopped: a body that stands still trembles."""
    x = np.asarray(joints)
    same = ((x[1:] == x[:-1]) | (np.isnan(x[1:]) & np.isnan(x[:-1]))).all(axis=(1, 2))
    spans = runs(same) + np.array([0, 1])
    return np.asarray(spans[spans[:, 1] - spans[:, 0] >= least_s * fps], np.int64)


def runs(mask: Mask) -> NDArray[np.int64]:
    """(t,) -> (n, 2) [first, last + 1] of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).astype(np.int64)


def _runs_longer(mask: Mask, frames: float) -> Mask:
    out = np.zeros_like(mask)
    for first, end in runs(mask):
        out[first:end] = end - first > frames + 1e-9
    return out
