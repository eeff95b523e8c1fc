"""Rows of music features that belong to dance units: windows within their span, and a row for each frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.skeleton import BEAT_FRAMES, FPS, SEQUENCE_FRAMES, SEQUENCE_UNITS, STYLE_FRAMES, UNIT_FRAMES
from d2m.data.corpus import Corpus

Ints = NDArray[np.int64]


def music_window_bounds(corpus: Corpus, starts: Ints) -> tuple[Ints, Ints]:
    """First and last feature row from which a 2 s window lies inside the sequences that start at these units.

    Returns:
        low, high (n,), rows within the recording; high < low if the music does not cover a window.
    """
    recording = corpus.unit_recording[starts]
    begin = corpus.unit_span[starts, 0]
    end = corpus.unit_span[starts + SEQUENCE_UNITS - 1, 1]
    low = np.maximum(np.ceil(begin * FPS - 1e-6), 0).astype(np.int64)
    high = np.minimum(np.floor(end * FPS + 1e-6), corpus.feature_bounds[recording, 1]).astype(np.int64) - STYLE_FRAMES
    return low, high


def span_rows(corpus: Corpus, starts: Ints) -> Ints:
    """Rows of the corpus's features at every frame of the sequences that start at these units: (b, 96).

    In the units' own time, beat k of a unit is frame 3 + 8 k, time is linear between beats as in
    :func:`d2m.motion.units.cut_units`, and each warped frame has the feature frame nearest to it, so that music and
    movement are paired frame by frame. Beyond the ends of the music, its first or last frame is used.
    """
    units = starts[:, None] + np.arange(SEQUENCE_UNITS)
    times = unit_frame_times(corpus.unit_span[units], corpus.unit_beats[units]).reshape(len(starts), SEQUENCE_FRAMES)
    first, length = corpus.feature_bounds[corpus.unit_recording[starts]].T[..., None]
    within = np.clip(np.floor(times * FPS + 0.5).astype(np.int64), 0, length - 1)
    return np.asarray(first + within, np.int64)


def unit_frame_times(span: NDArray[np.floating], beats: NDArray[np.floating]) -> NDArray[np.float64]:
    """Times of the 32 frames of units in their recordings.

    Args:
        span: (..., 2) seconds of frame 0 and of the frame after the last.
        beats: (..., 4) seconds of frames 3, 11, 19, 27.

    Returns:
        (..., 32) seconds. The last interval of a unit ends with its span, five eighths of a beat later; time is linear
        between these six points.
    """
    known = np.array([0, *BEAT_FRAMES, UNIT_FRAMES])
    times = np.concatenate([span[..., :1], beats, span[..., 1:]], axis=-1)
    frames = np.arange(UNIT_FRAMES)
    i = np.searchsorted(known, frames, side="right") - 1
    part = (frames - known[i]) / (known[i + 1] - known[i])
    return np.asarray(times[..., i] + part * (times[..., i + 1] - times[..., i]), np.float64)
