"""Smoothing, resampling and scaling of poses: pure functions of arrays (t, j, c), 2-D or 3-D, without gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import convolve1d
from scipy.signal import firwin, kaiser_atten, kaiser_beta, savgol_filter

from d2m.core.skeleton import FPS, LEFT_HIP, RIGHT_HIP
from d2m.motion.camera import TORSO_CM
from d2m.motion.kinematics import torso_length

Floats = NDArray[np.float64]
Array = NDArray[np.floating]

#: A torso on the picture after :func:`normalise_scale`: 1 pixel is about 1 cm of an adult.
TORSO_PX = TORSO_CM  # 1 px = 1 cm
_PASS_HZ, _STOP_HZ, _RIPPLE_DB = 5.0, 8.0, 60.0


def savitzky_golay(joints: Array, fps: float, window_s: float = 0.2, order: int = 3) -> Floats:
    """Least-squares polynomial over a moving window (Savitzky and Golay 1964); keeps polynomials of ``order``.

    Returned unchanged if the window holds no more frames than the polynomial has coefficients.
    """
    window = 2 * round(0.5 * window_s * fps) + 1
    if window <= order + 1 or len(joints) < window:
        return np.array(joints, np.float64)
    return np.asarray(savgol_filter(np.asarray(joints, np.float64), window, order, axis=0, mode="interp"), np.float64)


def one_euro(
    joints: Array, fps: float, min_cutoff_hz: float = 1.5, beta: float = 0.05, slope_hz: float = 1.0
) -> Floats:
    """The 1-euro filter (Casiez et al., CHI 2012), run forwards and backwards and averaged, so that there is no lag.

    The cutoff is ``min_cutoff_hz + beta * speed``: slow joints are smoothed strongly, fast ones little. Speed is in
    units of the input per second; with pixels of a 50-pixel torso, 0.05 opens the filter to 10 Hz at 170 px/s.
    """
    x = np.asarray(joints, np.float64)
    ahead = _one_euro(x, fps, min_cutoff_hz, beta, slope_hz)
    back = _one_euro(x[::-1], fps, min_cutoff_hz, beta, slope_hz)[::-1]
    return 0.5 * (ahead + back)


def _one_euro(x: Floats, fps: float, min_cutoff: float, beta: float, slope_hz: float) -> Floats:
    def weight(cutoff: Floats | float) -> Floats | float:
        r = 2 * np.pi * cutoff / fps
        return r / (r + 1)

    out = np.empty_like(x)
    out[:1] = x[:1]
    slope = np.zeros_like(x[0])
    for k in range(1, len(x)):  # recursive by nature
        slope = slope + weight(slope_hz) * ((x[k] - x[k - 1]) * fps - slope)
        a = weight(min_cutoff + beta * np.linalg.norm(slope, axis=-1, keepdims=True))
        out[k] = out[k - 1] + a * (x[k] - out[k - 1])
    return out


def to_fps(joints: Array, fps: float, target: float = FPS) -> Floats:
    """Resample to another frame rate without aliasing: frame k of the result is at k / target seconds.

    For a lower rate, a zero-phase Kaiser FIR low-pass (at 15 fps: flat to 5 Hz, 60 dB down from 8 Hz) precedes a cubic
    spline. For a higher rate there is only the spline; at the target rate nothing changes.

    Args:
        joints: (t, ...), finite.

    Returns:
        (round(t / fps * target), ...), at least one frame.
    """
    x = np.array(joints, np.float64)
    if abs(fps - target) < 1e-6 or len(x) < 2:
        return x
    n = max(1, int(np.floor(len(x) / fps * target + 0.5)))
    if fps > target * 1.02:
        x = _low_pass(x, fps, target)
    times = np.minimum(np.arange(n) * (fps / target), len(x) - 1)
    return np.asarray(CubicSpline(np.arange(len(x)), x)(times), np.float64)


def _low_pass(x: Floats, fps: float, target: float) -> Floats:
    low, high = _PASS_HZ * target / FPS, min(_STOP_HZ * target / FPS, 0.499 * fps)
    if high <= low * 1.02:
        return x
    taps = int(np.ceil((_RIPPLE_DB - 7.95) / (2.285 * 2 * np.pi * (high - low) / fps))) | 1
    # Short clips: an odd extension is at most as long as the clip, which limits the filter's length.
    taps = min(taps, 2 * (len(x) - 1) - 1)
    if taps < 3:
        return x
    attenuation = min(_RIPPLE_DB, float(kaiser_atten(taps, (high - low) / (0.5 * fps))))
    kernel = firwin(taps, 0.5 * (low + high), window=("kaiser", kaiser_beta(attenuation)), fs=fps)
    pad = taps // 2
    # Odd reflection: a joint in steady motion continues beyond the end.
    before, after = 2 * x[:1] - x[pad:0:-1], 2 * x[-1:] - x[-2 : -pad - 2 : -1]
    return np.asarray(convolve1d(np.concatenate([before, x, after]), kernel, axis=0)[pad:-pad], np.float64)


def normalise_scale(joints: Array, torso: float = TORSO_PX) -> tuple[Floats, float]:
    """Scale to a torso of length ``torso``, and move the median hip midpoint to the origin.

    Kinetic energy then no longer depends on the distance to the camera. One factor and one shift are used for the whole
    clip, so that movement towards the camera and across the picture is preserved.

    Returns:
        The joints, and the factor.

    Raises:
        ValueError: the torso's length is zero or not finite.
    """
    x = np.asarray(joints, np.float64)
    length = torso_length(x)
    if not np.isfinite(length) or length <= 0:
        raise ValueError(f"a torso of length {length}")
    origin = np.nanmedian(0.5 * (x[:, RIGHT_HIP] + x[:, LEFT_HIP]), axis=0)
    return (x - origin) * (torso / length), torso / length
