"""Warp a choreography in time so that its beats fall on the music's beats.

A continuous, monotone time map gives the (fractional) source frame that each output frame shows. It passes through
the points (music beat i, dance beat i) and is linear between them; poses between two source frames are
interpolated linearly. For beats on whole frames, this equals the reference's resampling of beat intervals
(Lee et al., "Dancing to Music", NeurIPS 2019, section 3.3, and its recorded weights) whenever the latter is correct,
with one formula for all intervals. The reference holds the centre frame (for 4 or 5 frames between beats),
swaps two weights (14) or freezes (15 and more).

We deviate in three ways. Beats between two frames are used as they are, not rounded to the nearest frame
(pass `np.rint(beats)` for the reference's behaviour). Before the first and after the last beat, the dance
continues at the tempo of the neighbouring interval; the reference returns to one source frame per output
frame. And `cover_beats` adds beats at both ends of a song, so that the dance moves from its first frame;
the reference holds its first pose until three frames before the first beat.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.skeleton import BEAT_OFFSET, BEAT_PERIOD

# Source positions this close to a whole frame count as that frame, so that rounding errors do not blend two poses.
_SNAP = 1e-9
# Beats closer than this (frames) count as one beat.
_SAME_BEAT = 1e-6


def dance_beat_frames(n_beats: int) -> NDArray[np.float64]:
    """(n_beats,) the frames on which a choreography made of dance units has its beats: 3 + 8 k."""
    return BEAT_OFFSET + BEAT_PERIOD * np.arange(n_beats, dtype=np.float64)


def cover_beats(music_beats_frames: ArrayLike, n_frames: int) -> NDArray[np.float64]:
    """Add beats before the first and after the last, so that beats cover the song.

    They continue at the median of the four nearest intervals; a single beat continues at the dance's own tempo, 8
    frames per beat. Beats are added after the last one until the next would lie beyond the song, and before the
    first one until the dance, whose first beat is on frame 3, covers the song from its first frame. The first beat
    may therefore lie before the start of the song, by less than an interval.

    Args:
        music_beats_frames: (m,) beats in frames, possibly fractional.
        n_frames: length of the song.

    Returns:
        (m + added,) strictly increasing beats; empty if there were none.
    """
    beats = _increasing(music_beats_frames, "music_beats_frames")
    if len(beats) == 0:
        return beats
    intervals = np.diff(beats) if len(beats) > 1 else np.array([float(BEAT_PERIOD)])
    before, after = (max(1.0, float(np.median(near))) for near in (intervals[:4], intervals[-4:]))
    lead = BEAT_OFFSET / BEAT_PERIOD  # the dance starts this share of an interval before its first beat
    n_before = 0
    if beats[0] > lead * intervals[0] + _SNAP:
        n_before = max(1, math.ceil(beats[0] / before - lead - _SNAP))
    n_after = max(0, math.ceil((n_frames - beats[-1]) / after - _SNAP) - 1)
    head = beats[0] - before * np.arange(n_before, 0, -1)
    tail = beats[-1] + after * np.arange(1, n_after + 1)
    return np.concatenate([head, beats, tail])


def time_map(dance_beats_frames: ArrayLike, music_beats_frames: ArrayLike, n_frames: int) -> NDArray[np.float64]:
    """Source frame shown by every output frame.

    Dance beat i is mapped to music beat i; surplus beats of the longer list are ignored. Duplicates count once and the
    order does not matter. Outside the beats, the map continues with the slope of the first or last interval. A single
    beat only shifts the dance; without beats, the map is the identity.

    Args:
        dance_beats_frames: (k,) beats of the dance, in source frames.
        music_beats_frames: (m,) beats of the music, in output frames; may be fractional, negative or past the
            end.
        n_frames: output frames.

    Returns:
        (n_frames,) float64, strictly increasing source positions. They may lie outside the available frames
        (`warp` clamps them).

    Raises:
        ValueError: beats that are not finite or not one-dimensional, or n_frames < 0.
    """
    if n_frames < 0:
        raise ValueError(f"time_map: n_frames must not be negative, got {n_frames}")
    dance = _increasing(dance_beats_frames, "dance_beats_frames")
    music = _increasing(music_beats_frames, "music_beats_frames")
    n_pairs = min(len(dance), len(music))
    dance, music = dance[:n_pairs], music[:n_pairs]
    frames = np.arange(n_frames, dtype=np.float64)
    if n_pairs < 2:
        shift = float(dance[0] - music[0]) if n_pairs else 0.0
        return frames + shift
    # Interval of every frame; frames outside use the first or the last one. Anchored at the nearer beat.
    i = np.clip(np.searchsorted(music, frames, side="right") - 1, 0, n_pairs - 2)
    slope = np.diff(dance) / np.diff(music)
    anchor = np.where(frames >= music[-1], n_pairs - 1, i)
    positions: NDArray[np.float64] = dance[anchor] + (frames - music[anchor]) * slope[i]
    return positions


def n_source_frames(music_beats_frames: ArrayLike, n_frames: int) -> int:
    """Number of source frames that `warp` reads if the dance's beats are on frames 3 + 8 k.

    Args:
        music_beats_frames: (m,) beats of the music in frames, as passed to `warp`.
        n_frames: output frames.

    Returns:
        Length of choreography that covers the song without holding its last pose.
    """
    if n_frames <= 0:
        return 0
    music = _increasing(music_beats_frames, "music_beats_frames")
    last = float(time_map(dance_beat_frames(len(music)), music, n_frames)[-1])
    return max(1, math.ceil(last - _SNAP) + 1)


def warp(
    poses: NDArray[np.floating],
    dance_beats_frames: ArrayLike,
    music_beats_frames: ArrayLike,
    n_frames: int,
) -> NDArray[np.floating]:
    """Move the dance's beats onto the music's; see `time_map` for the rules.

    Args:
        poses: (t, ...) source poses.
        dance_beats_frames: (k,) beats of the dance, in source frames.
        music_beats_frames: (m,) beats of the music, in output frames.
        n_frames: output frames.

    Returns:
        (n_frames, ...) with the dtype of `poses`. If the map asks for frames before the first or after the
        last pose, that pose is held; `cover_beats` and `n_source_frames` avoid this.

    Raises:
        ValueError: no poses, or beats that `time_map` refuses.
    """
    if len(poses) == 0:
        raise ValueError("warp: needs at least one pose")
    return _resample(poses, time_map(dance_beats_frames, music_beats_frames, n_frames))


def interval_weights(n_out: int, n_in: int = 9) -> NDArray[np.float64]:
    """Linear weights that turn one beat interval of `n_in` frames, both beats included, into `n_out` frames.

    Args:
        n_out: output frames, both beats included; at least 1 (the first beat alone).
        n_in: source frames.

    Returns:
        (n_out, n_in) non-negative rows that sum to 1.

    Raises:
        ValueError: a count below 1.
    """
    if n_out < 1 or n_in < 1:
        raise ValueError(f"interval_weights: counts must be at least 1, got n_out={n_out}, n_in={n_in}")
    weights = _resample(np.eye(n_in), time_map([0, n_in - 1], [0, n_out - 1], n_out))
    return weights.astype(np.float64, copy=False)


def _increasing(beats: ArrayLike, name: str) -> NDArray[np.float64]:
    """Sorted, without duplicates; of beats that nearly coincide, the first is kept."""
    values = np.asarray(beats, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers in one dimension, got shape {values.shape}")
    values = np.unique(values)
    return values[np.diff(values, prepend=-np.inf) > _SAME_BEAT]


def _resample(poses: NDArray[np.floating], positions: NDArray[np.float64]) -> NDArray[np.floating]:
    """Linear interpolation of (t, ...) poses at (n,) source positions, clamped to the first and last pose."""
    whole = np.rint(positions)
    snapped = np.where(np.abs(positions - whole) < _SNAP, whole, positions)
    clamped = np.clip(snapped, 0.0, len(poses) - 1.0)
    left = np.minimum(clamped.astype(np.int64), max(len(poses) - 2, 0))
    right = np.minimum(left + 1, len(poses) - 1)
    frac = (clamped - left).reshape(-1, *[1] * (poses.ndim - 1)).astype(np.result_type(poses, np.float32))
    out: NDArray[np.floating] = (1 - frac) * poses[left] + frac * poses[right]
    return out.astype(poses.dtype, copy=False)
