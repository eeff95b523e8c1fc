"""The time map of a dance, which aligns the beats of its units with those of the music."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import FPS, SEQUENCE_FRAMES
from d2m.motion.beat_align import cover_beats, dance_beat_frames, n_source_frames, time_map, warp
from d2m.motion.units import fold_period


def dance_pulse(music_beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Music beats (s) at the rate at which dance units are cut: halved or doubled until a dancer could step to it.

    The units of a song at 67 BPM are cut at 134 BPM (:func:`d2m.motion.units.fold_period`); aligned with 67 BPM, they
    would be danced at half speed.
    """
    beats = np.asarray(music_beats, np.float64)
    if len(beats) < 2:
        return beats
    period = float(np.median(np.diff(beats)))
    ratio = fold_period(period) / period
    if ratio > 1:
        return beats[:: round(ratio)]
    parts = round(1 / ratio)
    grid = np.arange((len(beats) - 1) * parts + 1) / parts
    return np.interp(grid, np.arange(len(beats)), beats)


@dataclass(frozen=True)
class Clock:
    """Maps output frames to frames of the unwarped dance."""

    dance_beats: NDArray[np.float64]  # frames of the unwarped dance
    song_beats: NDArray[np.float64]  # frames of the song they fall on
    n_source: int  # frames of unwarped dance that are read
    n_frames: int

    @classmethod
    def make(cls, music_beats: NDArray[np.float64], n_frames: int, warped: bool) -> Clock:
        if warped:
            song = cover_beats(dance_pulse(music_beats) * FPS, n_frames)
            return cls(dance_beat_frames(len(song)), song, max(1, n_source_frames(song, n_frames)), n_frames)
        beats = dance_beat_frames(n_frames)
        beats = beats[beats < n_frames]
        return cls(beats, beats, n_frames, n_frames)

    def apply(self, poses: NDArray[np.float32]) -> NDArray[np.float32]:
        return warp(poses, self.dance_beats, self.song_beats, self.n_frames).astype(np.float32)

    def segment_centres_s(self, n: int) -> NDArray[np.float64]:
        """Times at which the centres of the n segments of 96 frames are shown, in seconds of the song."""
        positions = time_map(self.dance_beats, self.song_beats, self.n_frames)
        middles = SEQUENCE_FRAMES * (np.arange(n) + 0.5)
        return np.asarray(np.interp(middles, positions, np.arange(self.n_frames)) / FPS, np.float64)

    def beats_s(self) -> NDArray[np.float64]:
        """Times at which the dance's beats (frames 3 + 8 k) are shown, in seconds."""
        positions = time_map(self.dance_beats, self.song_beats, self.n_frames)
        beats = dance_beat_frames(self.n_source)
        beats = beats[(beats >= positions[0]) & (beats <= positions[-1])]
        return np.asarray(np.interp(beats, positions, np.arange(self.n_frames)) / FPS, np.float64)


def segment_centres_s(n: int) -> NDArray[np.float64]:
    """Times of the centres of n segments of 96 frames (n,), in seconds, without a warp."""
    return np.asarray(SEQUENCE_FRAMES * (np.arange(n) + 0.5) / FPS, np.float64)


def frames_needed(music_beats: NDArray[np.float64], n_frames: int) -> int:
    """Number of frames of consecutive dance units that :func:`put_on_beats` needs for ``n_frames`` of a song."""
    return Clock.make(music_beats, n_frames, True).n_source


def put_on_beats(units: NDArray[np.float32], music_beats: NDArray[np.float64], n_frames: int) -> NDArray[np.float32]:
    """Consecutive dance units (m, 14, 2), m >= :func:`frames_needed` -> (n_frames, 14, 2) on the music's beats.

    The warp of :func:`d2m.dance.together.dance_to`, for dances from other sources.
    """
    return Clock.make(music_beats, n_frames, True).apply(units)


def segments_needed(music_beats: NDArray[np.float64], n_frames: int, warp: bool) -> int:
    """Number of z_dan for a song: one per 96 frames of unwarped dance."""
    return -(-Clock.make(music_beats, n_frames, warp).n_source // SEQUENCE_FRAMES)
