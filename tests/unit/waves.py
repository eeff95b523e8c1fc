"""Waves that tests of sound and of features share."""

from __future__ import annotations

import numpy as np

from d2m.core.skeleton import SAMPLE_RATE


def tone(seconds: float = 3.0, rate: int = 44100, hz: float = 440.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def music(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Tones that come and go over noise, at 22,050 Hz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (110.0, 330.0, 1500.0, 5000.0))
    return (0.1 * chord * (1 + np.sin(2 * np.pi * 1.7 * t)) + 0.02 * rng.standard_normal(len(t))).astype("f4")
