"""Dance units: beats of a motion, and its segmentation into units warped so that beats fall on frames 3, 11, 19, 27.

Lee et al., "Dancing to Music", NeurIPS 2019, sections 3.1 and 3.2. Their beats are the minima of the motion
alone; ours are the most regular sequence of minima at about one period (dynamic programming of Ellis, "Beat
Tracking by Dynamic Programming", J. New Music Research 2007), because individual minima come and go between
beats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from d2m.core.skeleton import BEAT_FRAMES, BEAT_OFFSET, BEAT_PERIOD, FPS, UNIT_FRAMES
from d2m.motion.kinematics import joint_speed, parabolic_peaks

Floats = NDArray[np.floating]

#: Range of a dancer's beat period, in seconds; periods outside are doubled or halved until they fit.
PERIOD_RANGE_S = (0.35, 0.8)
#: Intervals outside this range (4 to 16 frames) are pauses or cuts rather than beats of a continuous dance.
INTERVAL_RANGE_S = (0.27, 1.07)
BEATS_PER_UNIT = len(BEAT_FRAMES)

_GRID_HZ = 60  # beats are tracked on a finer clock than 15 fps
# Smoothing (s) of the speed (a frame is 0.067 s), of the local mean it is compared with, and of the divisor.
_NARROW_S, _LOCAL_S, _USUAL_S = 0.04, 0.35, 0.5
# Weight of regularity against the strength of the minima (Ellis's alpha). 100 is usual for music, but dancers are less
# regular: on the ballroom dances, 40 lets intervals vary by 5 %, and the beats lie in deeper minima.
_TIGHTNESS = 40.0


@dataclass(frozen=True, eq=False)
class UnitCut:
    """Complete dance units of one recording.

    units: (n, 32, d) frames in the units' own time.
    beats: (n, 4) seconds; the beats on frames 3, 11, 19, 27.
    spans: (n, 2) seconds of the recording at frame 0 and at the frame after the last.
    runs: (r, 2) [first unit, number of units]; the units of a run are contiguous.
    """

    units: NDArray[np.float32]
    beats: NDArray[np.float64]
    spans: NDArray[np.float64]
    runs: NDArray[np.int64]


def fold_period(period_s: float, low: float = PERIOD_RANGE_S[0], high: float = PERIOD_RANGE_S[1]) -> float:
    """Double or halve a period until it is within [low, high]."""
    if not np.isfinite(period_s) or period_s <= 0:
        raise ValueError(f"a period is a positive number of seconds, not {period_s}")
    if low <= period_s <= high:
        return float(period_s)
    octaves = np.round(np.log2(np.sqrt(low * high) / period_s))
    return float(period_s * 2.0**octaves)


def beat_strength(poses: Floats, fps: float = FPS) -> NDArray[np.float64]:
    """Strength of the rest between movements at every moment, on a 60 Hz clock.

    How far the mean joint speed lies below its local mean, divided by that mean (so that quiet passages count as much
    as lively ones). Speeds above the mean count negatively, by half; without this penalty, a tracker that misses a
    rest would place beats on movements.

    Args:
        poses: (t, j, c), t >= 2.

    Returns:
        (n,), sample i at i / 60 s, n = floor((t - 1) / fps * 60) + 1; 1 is a full stop.
    """
    mean_speed = joint_speed(poses, fps).mean(axis=1)
    frames = np.arange(int((len(poses) - 1) / fps * _GRID_HZ + 1e-9) + 1) * (fps / _GRID_HZ)
    # Interpolated smoothly, so that minima between frames are found as well.
    fine = CubicSpline(np.arange(len(mean_speed)), mean_speed)(frames)
    fine = gaussian_filter1d(fine, _NARROW_S * _GRID_HZ, mode="nearest")
    local = gaussian_filter1d(fine, _LOCAL_S * _GRID_HZ, mode="nearest")
    usual = np.maximum(gaussian_filter1d(local, _USUAL_S * _GRID_HZ, mode="nearest"), 0.05 * local.mean())
    contrast = (local - fine) / np.maximum(usual, 1e-9)
    return np.asarray(np.where(contrast > 0, contrast, 0.5 * contrast), np.float64)


def motion_period(strength: Floats) -> float:
    """The beat period of a motion, in seconds: the best peak of the autocorrelation of :func:`beat_strength`.

    Lags from half to double :data:`PERIOD_RANGE_S` are weighted by a log-normal window about its middle, as
    tempo estimators do, and the best one is folded into the range. Without a repetition, the middle is returned.
    """
    middle = float(np.sqrt(PERIOD_RANGE_S[0] * PERIOD_RANGE_S[1]))
    lags = np.arange(int(0.5 * PERIOD_RANGE_S[0] * _GRID_HZ), int(2 * PERIOD_RANGE_S[1] * _GRID_HZ) + 2)
    x = strength - strength.mean()
    if len(x) <= lags[-1] + 1 or not x.any():
        return middle
    n = 1 << (2 * len(x) - 1).bit_length()
    correlation = np.fft.irfft(np.square(np.abs(np.fft.rfft(x, n))), n)[lags] / (len(x) - lags)
    score = correlation * np.exp(-0.5 * np.square(np.log2(lags / _GRID_HZ / middle) / 0.8))
    peaks, _ = find_peaks(score, height=0.0)
    if not len(peaks):
        return middle
    best = parabolic_peaks(score, peaks[[np.argmax(score[peaks])]])[0]
    return fold_period((lags[0] + best) / _GRID_HZ)


def dynamic_beats(strength: Floats, period: float, tightness: float = _TIGHTNESS) -> NDArray[np.int64]:
    """The sequence of samples that best joins strength and regularity (Ellis 2007).

    Maximises sum_i strength(t_i) - tightness * sum_i log((t_i - t_{i-1}) / period)^2, with strength scaled to unit
    standard deviation.

    Args:
        strength: (n,).
        period: in samples.

    Returns:
        Increasing sample indices; empty if there are no distinct minima.
    """
    deviation = float(np.std(strength, ddof=1)) if len(strength) > 1 else 0.0
    if deviation <= 1e-12:
        return np.empty(0, np.int64)
    local = np.asarray(strength, np.float64) / deviation
    lags = np.arange(max(1, int(np.ceil(period / 2))), max(2, int(2 * period) + 1))
    cost = -tightness * np.square(np.log(lags / period))
    n, reach = len(local), int(lags[-1])
    # Padded in front with "no beat before": starting a sequence costs nothing, but gains nothing either.
    total = np.zeros(n + reach)
    previous = np.full(n, -1, np.int64)
    for t in range(n):  # cannot be vectorised: each total depends on earlier ones
        scores = total[t + reach - lags] + cost
        best = int(np.argmax(scores))
        if scores[best] > 0 and t - lags[best] >= 0:
            previous[t] = t - lags[best]
            total[t + reach] = local[t] + scores[best]
        else:
            total[t + reach] = local[t]
    tail = max(0, n - round(period))
    beats = [tail + int(np.argmax(total[reach + tail :]))]
    while previous[beats[-1]] >= 0:
        beats.append(int(previous[beats[-1]]))
    return np.asarray(beats[::-1], np.int64)


def track_beats(poses: Floats, fps: float = FPS, period_s: float | None = None) -> NDArray[np.float64]:
    """Regular kinematic beats of a motion.

    Args:
        poses: (t, j, c). Remove travel first (:func:`d2m.motion.camera.centre`), since it masks the steps.
        period_s: the beat interval of the music, if known, which is doubled or halved to fit a dancer. By default, the
            motion's own period.

    Returns:
        (n,) seconds, strictly increasing, on a 1/60 s grid; empty if the body stands still.
    """
    if len(poses) < 3:
        return np.empty(0)
    strength = beat_strength(poses, fps)
    period = fold_period(period_s) if period_s is not None else motion_period(strength)
    return dynamic_beats(strength, period * _GRID_HZ) / _GRID_HZ


def resample(poses: Floats, positions: Floats) -> NDArray[np.float64]:
    """Poses at fractional frames, band-limited enough for time warps.

    Cubic spline. If the new clock is coarser than the old one (r > 1 old frames per new frame), the spline is averaged
    over sqrt(r^2 - 1) old frames, exactly, by its antiderivative, so that fast movement does not alias.

    Args:
        poses: (t, ...), t >= 1.
        positions: (n,) increasing; beyond the ends, the first or last pose is held.
    """
    x = np.asarray(poses, np.float64)
    last = len(x) - 1
    if last == 0:
        return np.repeat(x, len(positions), axis=0)
    positions = np.asarray(positions, np.float64)
    spline = CubicSpline(np.arange(len(x)), x)
    rate = np.gradient(positions) if len(positions) > 1 else np.ones(1)
    positions = np.clip(positions, 0.0, last)
    half = 0.5 * np.sqrt(np.maximum(np.square(rate) - 1.0, 0.0))
    half = np.minimum(half, np.minimum(positions, last - positions))  # one-sided means would shift the motion in time
    low, high = positions - half, positions + half
    wide = (high - low) > 1e-3
    out: NDArray[np.float64] = spline(positions)
    if wide.any():
        integral = spline.antiderivative()
        width = (high - low)[wide].reshape(-1, *[1] * (x.ndim - 1))
        out[wide] = (integral(high[wide]) - integral(low[wide])) / width
    return out


def _warp_map(beats: Floats, frames: ArrayLike) -> NDArray[np.float64]:
    """Times (s) of warped frames: linear between the beats, beat i at 3 + 8 i, extrapolated with the end intervals."""
    position = (np.asarray(frames, np.float64) - BEAT_OFFSET) / BEAT_PERIOD
    i = np.clip(np.floor(position).astype(int), 0, len(beats) - 2)
    return np.asarray(beats[i] + (position - i) * (beats[i + 1] - beats[i]), np.float64)


def plausible_runs(
    beats: Floats, interval_range_s: tuple[float, float] = INTERVAL_RANGE_S
) -> list[NDArray[np.float64]]:
    """Split beats at intervals that are implausible for a dancer."""
    beats = np.asarray(beats, np.float64)
    intervals = np.diff(beats)
    breaks = np.flatnonzero((intervals < interval_range_s[0]) | (intervals > interval_range_s[1])) + 1
    return np.split(beats, breaks)


def cut_units(
    poses: Floats, fps: float, beats: Floats, interval_range_s: tuple[float, float] = INTERVAL_RANGE_S
) -> UnitCut:
    """Cut a motion into complete units, with its beats on frames 3 + 8 k.

    In each run of plausible intervals, warped frame 3 + 8 i is beat i, and time is linear between beats. Unit
    k consists of warped frames 32 k to 32 k + 31, so consecutive units join without a gap. Only the inside of the
    recording is used; if the first unit of a run would start before it, the run starts a beat later.

    Args:
        poses: (t, ...); trailing axes are flattened to d.
        beats: (n,) seconds, increasing.
    """
    flat = np.asarray(poses).reshape(len(poses), -1)
    end_s = (len(flat) - 1) / fps
    units: list[NDArray[np.float32]] = []
    unit_beats: list[NDArray[np.float64]] = []
    spans: list[NDArray[np.float64]] = []
    runs: list[tuple[int, int]] = []
    count = 0
    for run in plausible_runs(beats, interval_range_s):
        while len(run) >= BEATS_PER_UNIT and _warp_map(run, np.zeros(1))[0] < 0:
            run = run[1:]
        n = len(run) // BEATS_PER_UNIT
        while n and _warp_map(run, np.array([n * UNIT_FRAMES - 1]))[0] > end_s + 1e-9:
            n -= 1
        if not n:
            continue
        times = _warp_map(run, np.arange(n * UNIT_FRAMES + 1))
        units.append(resample(flat, times[:-1] * fps).reshape(n, UNIT_FRAMES, -1).astype(np.float32))
        unit_beats.append(run[: n * BEATS_PER_UNIT].reshape(n, BEATS_PER_UNIT))
        edges = times[::UNIT_FRAMES]
        spans.append(np.stack([edges[:-1], edges[1:]], axis=1))
        runs.append((count, n))
        count += n
    if not units:
        d = flat.shape[1]
        return UnitCut(
            np.empty((0, UNIT_FRAMES, d), np.float32),
            np.empty((0, BEATS_PER_UNIT)),
            np.empty((0, 2)),
            np.empty((0, 2), np.int64),
        )
    return UnitCut(np.concatenate(units), np.concatenate(unit_beats), np.concatenate(spans), np.asarray(runs, np.int64))


def select_units(cut: UnitCut, keep: ArrayLike) -> UnitCut:
    """Select units of a cut; omitting a unit ends a run.

    Args:
        keep: (n,) booleans.
    """
    keep = np.asarray(keep, bool)
    run = np.repeat(np.arange(len(cut.runs)), cut.runs[:, 1])
    # Units in the same new run share the old run and the number of units omitted before them.
    label = np.stack([run, np.cumsum(~keep)], axis=1)[keep]
    first = np.flatnonzero(np.r_[True, (np.diff(label, axis=0) != 0).any(axis=1)]) if len(label) else np.empty(0, int)
    runs = np.stack([first, np.diff(np.r_[first, len(label)])], axis=1).astype(np.int64)
    return UnitCut(cut.units[keep], cut.beats[keep], cut.spans[keep], runs.reshape(-1, 2))
