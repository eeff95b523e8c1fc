"""Tracks one dancer through frames with several people in arbitrary order.

People are matched from frame to frame by the positions of their joints and their size (Hungarian assignment), along
paths extrapolated by recent velocity, so that identities do not swap with a detector's order of people or when dancers
cross. A dancer who disappears for a while is found again near the last position. The dancer who is seen longest and
largest is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from d2m.core.skeleton import N_JOINTS

Person = NDArray[np.float32]
Floats = NDArray[np.float64]

#: How far a dancer may move, in body sizes: between frames (jitter, a turn), more per second unseen; and the maximum.
_REACH, _REACH_PER_S, _REACH_MAX = 0.35, 1.0, 1.5
#: If the size changes by more than this factor, it is another person.
_SIZE_RATIO = 1.7
#: A path ends after this long unseen; pieces are joined afterwards.
_LOST_S = 1.0
#: Number of frames over which velocity and size are estimated.
_MEMORY = 5
_MIN_JOINTS = 4
#: Number of paths, of largest weight, that are tried as the dancer's.
_SEEDS = 8


@dataclass
class _Path:
    """The track of one person: frame numbers and poses (14, 3), and what to expect next."""

    frames: list[int] = field(default_factory=list)
    poses: list[Person] = field(default_factory=list)
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    size: float = 0.0

    def expect(self, frame: int) -> Person:
        """The last pose, extrapolated; velocity is trusted for a few frames only."""
        ahead = min(frame - self.frames[-1], _MEMORY)
        pose = self.poses[-1].copy()
        pose[:, :2] += (self.velocity * ahead).astype(np.float32)
        return pose

    def add(self, frame: int, pose: Person) -> None:
        keep = 1.0 - 1.0 / _MEMORY
        if self.poses:
            both = _seen(pose) & _seen(self.poses[-1])
            if both.any():
                step = np.median(pose[both, :2] - self.poses[-1][both, :2], axis=0) / (frame - self.frames[-1])
                self.velocity = keep * self.velocity + (1 - keep) * step
            self.size = keep * self.size + (1 - keep) * person_size(pose)
        else:
            self.size = person_size(pose)
        self.frames.append(frame)
        self.poses.append(pose)

    @property
    def weight(self) -> float:
        """Combines how often, how confidently and how large a person is seen; the dancer has the largest."""
        return float(sum(p[:, 2].sum() for p in self.poses)) * self.size


def _seen(pose: Person) -> NDArray[np.bool_]:
    """(..., 14, 3) -> (..., 14)."""
    return np.asarray((pose[..., 2] > 0) & np.isfinite(pose).all(axis=-1))


def person_size(pose: Person) -> float:
    """Diagonal of the box of the seen joints, at least 1 pixel."""
    points = pose[_seen(pose), :2]
    return max(1.0, float(np.hypot(*(points.max(axis=0) - points.min(axis=0))))) if len(points) else 1.0


def _costs(expected: Person, sizes: Floats, people: Person, people_sizes: Floats) -> Floats:
    """Median distance of the joints seen in both, in body sizes; infinite if they cannot be the same person.

    Args:
        expected, sizes: (p, 14, 3) and (p,). people, people_sizes: (n, 14, 3) and (n,).

    Returns:
        (p, n).
    """
    both = _seen(expected)[:, None] & _seen(people)[None]
    count = both.sum(axis=-1)
    ratio = people_sizes[None] / sizes[:, None]
    # A half-seen body has a small box: sizes are compared only if most joints are seen.
    whole = count >= N_JOINTS - 3
    step = np.nan_to_num(expected[:, None, :, :2]) - np.nan_to_num(people[None, :, :, :2])
    away = np.sort(np.where(both, np.hypot(step[..., 0], step[..., 1]), np.inf), axis=-1)
    middle = np.take_along_axis(away, np.maximum(count - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    cost = middle / sizes[:, None] + np.where(whole, 0.1 * np.abs(np.log(ratio)), 0.0)
    impossible = (count < 2) | (whole & ((ratio < 1 / _SIZE_RATIO) | (ratio > _SIZE_RATIO)))
    return np.asarray(np.where(impossible, np.inf, cost), np.float64)


def _cost(pose: Person, size: float, other: Person) -> float:
    return float(_costs(pose[None], np.array([size]), other[None], np.array([person_size(other)]))[0, 0])


def _reach(seconds: float) -> float:
    return min(_REACH + _REACH_PER_S * seconds, _REACH_MAX)


def _paths(frames: Sequence[NDArray[np.float32]], fps: float) -> list[_Path]:
    done: list[_Path] = []
    live: list[_Path] = []
    for number, detected in enumerate(frames):
        people = [p for p in np.asarray(detected, np.float32) if _seen(p).sum() >= _MIN_JOINTS]
        done += [p for p in live if number - p.frames[-1] > _LOST_S * fps]
        live = [p for p in live if number - p.frames[-1] <= _LOST_S * fps]
        taken: set[int] = set()
        if live and people:
            expected = np.stack([path.expect(number) for path in live])
            sizes = np.array([path.size for path in live]), np.array([person_size(p) for p in people])
            cost = _costs(expected, sizes[0], np.stack(people), sizes[1])
            reach = np.array([[_reach((number - path.frames[-1] - 1) / fps)] for path in live])
            possible = cost <= reach
            # A forbidden pair costs more than all allowed ones together, so that none is chosen to lower the sum.
            rows, columns = linear_sum_assignment(np.where(possible, cost, 1e3))
            for i, k in zip(rows, columns, strict=True):
                if possible[i, k]:
                    live[i].add(number, people[k])
                    taken.add(int(k))
        for k, person in enumerate(people):
            if k not in taken:
                live.append(_Path())
                live[-1].add(number, person)
    return done + live


def _join(main: _Path, others: list[_Path], fps: float) -> _Path:
    """Extend the main path by earlier and later pieces that may be the same person, nearest in time first."""
    joined = _Path(list(main.frames), list(main.poses), main.velocity, main.size)
    rest = [p for p in others if p is not main and len(p.frames) > 1]
    while rest:
        first, last = joined.frames[0], joined.frames[-1]
        candidates: list[tuple[int, float, _Path]] = []
        for path in rest:
            if path.frames[0] > last:
                gap, cost = path.frames[0] - last, _cost(joined.poses[-1], joined.size, path.poses[0])
            elif path.frames[-1] < first:
                gap, cost = first - path.frames[-1], _cost(joined.poses[0], joined.size, path.poses[-1])
            else:
                continue
            if cost <= _reach(gap / fps):
                candidates.append((gap, cost, path))
        if not candidates:
            break
        best = min(candidates, key=lambda c: c[:2])[2]
        rest = [p for p in rest if p is not best]
        if best.frames[0] > last:
            joined.frames, joined.poses = joined.frames + best.frames, joined.poses + best.poses
        else:
            joined.frames, joined.poses = best.frames + joined.frames, best.poses + joined.poses
    return joined


def follow(frames: Sequence[NDArray[np.float32]], fps: float) -> NDArray[np.float32]:
    """Find the dancer of a film.

    Args:
        frames: per frame (people, 14, 3): x, y, confidence (0: unseen). People in any order, or none.

    Returns:
        (t, 14, 3), NaN with confidence 0 in frames without the dancer.
    """
    out = np.full((len(frames), N_JOINTS, 3), np.nan, np.float32)
    out[..., 2] = 0.0
    paths = _paths(frames, fps)
    if paths:
        # Pieces are joined before they are compared, so that a dancer who was lost for a while is not at a
        # disadvantage.
        seeds = sorted(paths, key=lambda p: p.weight, reverse=True)[:_SEEDS]
        dancer = max((_join(seed, paths, fps) for seed in seeds), key=lambda p: p.weight)
        out[dancer.frames] = np.stack(dancer.poses)
        unseen = ~((out[..., 2] > 0) & np.isfinite(out).all(axis=-1))
        out[unseen] = (np.nan, np.nan, 0.0)
    return out
