"""Loudness of a song and its normalisation, after ITU-R BS.1770-4 (K-weighting, 400 ms blocks, two gates)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import sosfilt

from d2m.core.skeleton import SAMPLE_RATE

#: EBU R 128's target.
TARGET_LUFS = -23.0
_BLOCK_S, _STEP_S = 0.4, 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_OFFSET = -0.691
# The two stages of the K-weighting as analogue prototypes (De Man, "Evaluation of implementations of the EBU R128
# loudness measurement", AES 2018), so that they hold at any sample rate: a high shelf and a high pass.
_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_PASS_HZ, _PASS_Q = 38.13547087602444, 0.5003270373238773


@cache
def _k_weighting(rate: int) -> NDArray[np.float64]:
    """(2, 6) second-order sections."""
    k = math.tan(math.pi * _SHELF_HZ / rate)
    high = 10 ** (_SHELF_DB / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / _SHELF_Q + k * k
    shelf = [
        (high + band * k / _SHELF_Q + k * k) / a0, 2 * (k * k - high) / a0, (high - band * k / _SHELF_Q + k * k) / a0,
        1.0, 2 * (k * k - 1) / a0, (1 - k / _SHELF_Q + k * k) / a0,
    ]  # fmt: skip
    k = math.tan(math.pi * _PASS_HZ / rate)
    a0 = 1 + k / _PASS_Q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / _PASS_Q + k * k) / a0]
    return np.array([shelf, high_pass])


def loudness(wave: ArrayLike, rate: int = SAMPLE_RATE) -> float:
    """Integrated loudness of a mono song in LUFS; -inf for silence and for less than 0.4 s.

    Args:
        wave: (n,) full scale at 1.
    """
    mono = np.asarray(wave, np.float64)
    block, step = round(_BLOCK_S * rate), round(_STEP_S * rate)
    if len(mono) < block:
        return -math.inf
    weighted = sosfilt(_k_weighting(rate), mono)
    total = np.concatenate([[0.0], np.cumsum(np.square(weighted))])
    starts = np.arange(0, len(weighted) - block + 1, step)
    power = (total[starts + block] - total[starts]) / block
    power = power[power > 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)]
    if not len(power):
        return -math.inf
    power = power[power > power.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return float(_OFFSET + 10 * np.log10(power.mean()))


def normalize_loudness(wave: ArrayLike, target: float = TARGET_LUFS, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """One gain for the whole song, so that its loudness is ``target`` LUFS; silence is unchanged.

    There is no limiter: peaks may exceed full scale, which is no problem for floating point and for the features.
    """
    mono = np.asarray(wave, np.float32)
    level = loudness(mono, rate)
    return mono if level == -math.inf else np.asarray(mono * np.float32(10 ** ((target - level) / 20)), np.float32)
