"""A session's cached dances: the unedited one with its noise, and all versions as shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import FPS
from d2m.dance.dancer import Dance
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise

Poses = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Original:
    """An unedited dance, with what its edits share: the noise (1, n, 1) of the accepted draws."""

    dance: Dance
    generator: DanceGenerator
    noise: DanceNoise
    key: str

    def frames_of(self, segment: int, count: int) -> tuple[int, int]:
        """Approximate [first, last + 1) frames of the song that show ``count`` segments: half-way between their
        middles."""
        centres = self.dance.versions.centres_s
        edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [self.dance.song.frames / FPS]])
        last = min(segment + count, len(centres))
        return round(edges[segment] * FPS), min(round(edges[last] * FPS), self.dance.song.frames)

    def segment_at(self, seconds: float) -> int:
        """The segment that is (approximately) shown at a time."""
        return int(np.abs(self.dance.versions.centres_s - seconds).argmin())


@dataclass(frozen=True, eq=False)
class Shown:
    """The poses that the page draws: of every version, warped to the song's time, and as decoded."""

    original: Original
    poses: dict[str, Poses]
    unwarped: dict[str, Poses]
