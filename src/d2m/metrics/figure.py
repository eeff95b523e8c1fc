"""Inputs and outputs of a card: dances to songs, and figures with sample size, chance level and interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import N_JOINTS
from d2m.motion.kinematics import torso_length
from d2m.motion.units import resample
from d2m.stats.bootstrap import Interval, percentile_interval

Array = NDArray[np.floating]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Better = Literal["higher", "lower", "real"]

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class DanceToSong:
    """A dance in the time of its song.

    poses: (t, 14, 2) px, y down, hips placed as in the corpus. music_beats: seconds; those beyond the dance are
    ignored. music_features: (t, f) at ``fps``. unwarped: (t', 14, 2) before its beats were aligned with the
    music's.
    feet: (t, 5, 3) metres, y up: root, left ankle, left toe, right ankle, right toe (card ``edge``).
    Several dances to one song are draws (generated) or views (real).
    """

    song: str
    genre: str
    poses: Array
    fps: float
    music_beats: Array = field(default_factory=lambda: np.empty(0))
    music_features: Array | None = None
    unwarped: Array | None = None
    feet: Array | None = None

    @property
    def seconds(self) -> float:
        return len(self.poses) / self.fps

    def check(self, at_least: int) -> None:
        """Check that it can be measured.

        Raises:
            D2MError: naming the song: wrong shapes, too few frames, numbers that are not finite, no torso.
        """
        p = np.asarray(self.poses)
        if p.ndim != 3 or p.shape[1:] != (N_JOINTS, 2):
            raise D2MError(f"{self.song}: poses of shape {p.shape}; give (t, 14, 2), pixels, y down")
        if len(p) < at_least:
            raise D2MError(f"{self.song}: a dance of {len(p)} frames; this card needs {at_least} or more")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise D2MError(f"{self.song}: {self.fps} frames per second; give a rate above 0")
        beats = np.asarray(self.music_beats, np.float64)
        if beats.ndim != 1 or not np.isfinite(beats).all():
            raise D2MError(f"{self.song}: the music's beats are finite seconds (n,), not {beats.shape}")
        shapes = {"poses": "(t, 14, 2)", "unwarped": "(t, 14, 2)", "feet": "(t, 5, 3)", "music_features": "(t, f)"}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is None:
                continue
            said = f"({', '.join(['t', *map(str, np.shape(values)[1:])])})"
            if said != shape and not (name == "music_features" and np.ndim(values) == 2):
                raise D2MError(f"{self.song}: {name} of shape {np.shape(values)}; give {shape}")
            if not np.isfinite(np.asarray(values)).all():
                raise D2MError(f"{self.song}: {name} has gaps (numbers that are not finite); fill or cut them")
        if not torso_length(p) > 0:
            raise D2MError(f"{self.song}: the poses have no torso (neck and hips coincide), so nothing has a unit")

    def at(self, fps: float, crop_s: float | None) -> DanceToSong:
        """Resampled to ``fps`` (cubic spline) and cropped to the first ``crop_s`` seconds, with the beats inside."""
        poses, features, feet = (None if x is None else self._at(x, fps, crop_s) for x in self._timed())
        assert poses is not None
        beats = np.sort(np.asarray(self.music_beats, np.float64))
        beats = beats[(beats >= 0) & (beats < len(poses) / fps)]
        return replace(self, poses=poses, music_features=features, feet=feet, music_beats=beats, fps=fps)

    def _timed(self) -> tuple[Array | None, ...]:
        return self.poses, self.music_features, self.feet

    def _at(self, values: Array, fps: float, crop_s: float | None) -> Array:
        x = np.asarray(values)  # no copy: a corpus's features stay on disk
        if fps != self.fps:
            x = resample(
                np.asarray(x, np.float64), np.arange(int((len(x) - 1) / self.fps * fps + 1e-9) + 1) * (self.fps / fps)
            )
        return x if crop_s is None else x[: round(crop_s * fps)]


@dataclass(frozen=True)
class Figure:
    """One number of a card.

    value: nan if it cannot be measured; ``note`` says why. n: number of songs in the mean, or on each side of the
    distance (the note says so if these are not songs). better: whether the best value is high, low, or that of real
    dances.
    chance: the expected value by chance (for distances to real dances: that of real dances, the floor). low, high: 95 %
    bootstrap interval over songs. z: (value - chance) / standard deviation of the null.
    """

    value: float
    n: int
    unit: str
    better: Better
    chance: float | None = None
    low: float | None = None
    high: float | None = None
    z: float | None = None
    note: str = ""

    def with_interval(self, interval: Interval) -> Figure:
        """The same with an interval; none if it is nan."""
        known = np.isfinite(interval.low) and np.isfinite(interval.high)
        return replace(self, low=interval.low, high=interval.high) if known else self


def unmeasured(unit: str, better: Better, why: str) -> Figure:
    """A figure without a value."""
    return Figure(NAN, 0, unit, better, note=why)


#: Song -> its dances: draws or views.
Songs = Mapping[str, Sequence[DanceToSong]]


class SongDraws:
    """Bootstrap draws of songs of two sets, within genres, whose proportions are fixed by the study.

    There are none, hence no interval, if the dances are to one song per genre: every draw would be the same.

    Args:
        mine, real: the genre of every song of either set.
        paired: the sets are of the same songs, and both sides get the same draws.
    """

    def __init__(self, mine: Sequence[str], real: Sequence[str], n: int, seed: int, paired: bool) -> None:
        rng = np.random.default_rng(seed)
        self.draws: list[tuple[Ints, Ints]] = []
        for _ in range(n if len(mine) > len(set(mine)) and len(real) > 1 else 0):
            songs = _within_genres(mine, rng)
            self.draws.append((songs, songs if paired else _within_genres(real, rng)))

    def values(self, statistic: Callable[[Ints, Ints], float]) -> Floats:
        """(n,) statistic(song numbers of the dances, song numbers of the real dances)."""
        return np.array([statistic(a, b) for a, b in self.draws], np.float64)

    def interval(self, statistic: Callable[[Ints, Ints], float]) -> Interval:
        """95 % percentile interval of a statistic."""
        return percentile_interval(self.values(statistic))


def _within_genres(genres: Sequence[str], rng: np.random.Generator) -> Ints:
    """Resample the songs of every genre with replacement."""
    labels = np.asarray(genres)
    mine = (np.flatnonzero(labels == g) for g in sorted(set(genres)))
    return np.concatenate([rng.choice(songs, len(songs)) for songs in mine])
