"""Instruments: short float64 one-shots and sustained tones at 22.05 kHz, from sines and noise."""

from __future__ import annotations

import numpy as np
from scipy import signal

from d2m.core.skeleton import SAMPLE_RATE

TABLE = 4096


def time_axis(seconds: float) -> np.ndarray:
    """Sample times (n,) of a sound of `seconds`."""
    return np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def midi_hz(note: float | np.ndarray) -> np.ndarray:
    """Frequency in Hz of MIDI note numbers (69 is 440 Hz)."""
    return np.asarray(440.0 * 2.0 ** ((np.asarray(note, dtype=np.float64) - 69) / 12))


def filtered(wave: np.ndarray, kind: str, hz: float | tuple[float, float], order: int = 2) -> np.ndarray:
    """Butterworth low-, high- or band-pass of a wave (n,)."""
    return np.asarray(signal.sosfilt(signal.butter(order, hz, kind, fs=SAMPLE_RATE, output="sos"), wave))


def _faded(wave: np.ndarray, seconds: float = 0.005) -> np.ndarray:
    """The wave with a short fade at its end, so that it stops without a click."""
    n = min(len(wave), int(seconds * SAMPLE_RATE))
    wave[len(wave) - n :] *= np.linspace(1, 0, n)
    return wave


def kick(rng: np.random.Generator, hz: float, decay_s: float, click: float) -> np.ndarray:
    """A drum whose pitch falls from 3.5 hz to hz, with a short noisy click in front."""
    t = time_axis(min(6 * decay_s, 0.7))
    phase = 2 * np.pi * (hz * t + 2.5 * hz * 0.03 * (1 - np.exp(-t / 0.03)))
    noise = rng.standard_normal(len(t)) * np.exp(-t / 0.004)
    return _faded(np.sin(phase) * np.exp(-t / decay_s) + click * noise)


def snare(rng: np.random.Generator, tone_hz: float, decay_s: float, brightness_hz: float) -> np.ndarray:
    """A tuned drum with a rattle of noise."""
    t = time_axis(min(6 * decay_s, 0.6))
    rattle = filtered(rng.standard_normal(len(t)), "bandpass", (0.25 * brightness_hz, brightness_hz))
    tone = np.sin(2 * np.pi * tone_hz * t) * np.exp(-t / (0.5 * decay_s))
    return _faded(0.5 * tone + 0.8 * rattle * np.exp(-t / decay_s))


def clap(rng: np.random.Generator, decay_s: float) -> np.ndarray:
    """Four bursts of noise, the last one ringing."""
    t = time_axis(0.35)
    envelope = sum(np.where(t >= d, np.exp(-np.maximum(t - d, 0) / 0.004), 0) for d in (0.0, 0.009, 0.017))
    envelope = envelope + np.where(t >= 0.025, np.exp(-np.maximum(t - 0.025, 0) / decay_s), 0)
    return _faded(filtered(rng.standard_normal(len(t)), "bandpass", (900, 4500)) * envelope)


def hat(rng: np.random.Generator, decay_s: float, low_hz: float) -> np.ndarray:
    """A cymbal: high-passed noise."""
    t = time_axis(min(7 * decay_s, 0.5))
    return _faded(filtered(rng.standard_normal(len(t)), "highpass", low_hz) * np.exp(-t / decay_s))


def shaker(rng: np.random.Generator, length_s: float) -> np.ndarray:
    """A soft swish of noise that swells and falls."""
    t = time_axis(length_s)
    swell = np.sin(np.pi * np.minimum(t / length_s, 1) ** 0.5) ** 2
    return _faded(filtered(rng.standard_normal(len(t)), "bandpass", (3500, 8000)) * swell)


def pluck(hz: float, decay_s: float, brightness: float, attack_s: float) -> np.ndarray:
    """A struck, plucked or bowed string: eight partials, the higher ones weaker and shorter."""
    t = time_axis(min(4 * decay_s, 2.5))
    n_partials = max(1, min(8, int(0.45 * SAMPLE_RATE / hz)))
    level = brightness ** np.arange(n_partials) / np.sqrt(np.arange(1, n_partials + 1))
    # Each partial is the previous one, rotated and damped further: a polynomial in `step`.
    turn = np.exp(2j * np.pi * hz * t)
    step = turn * np.exp(-0.35 * t / decay_s)
    wave = np.full(len(t), level[-1], dtype=np.complex128)
    for k in range(n_partials - 2, -1, -1):
        wave = wave * step + level[k]
    struck = (wave * turn).imag * np.exp(-t / decay_s)
    return _faded(struck * np.minimum(t / attack_s, 1) / level.sum(), 0.02)


def bass(hz: float, length_s: float, drive: float) -> np.ndarray:
    """A bass note: five partials, warmer or rougher by `drive` (0..1), with a soft end."""
    t = time_axis(length_s + 0.06)
    k = np.arange(1, 6)
    level = (0.25 + 0.5 * drive) ** (k - 1)
    wave = (level[:, None] * np.sin(2 * np.pi * hz * k[:, None] * t)).sum(0) / level.sum()
    wave = np.tanh((1 + 2 * drive) * wave * np.exp(-t / (1.5 * length_s + 0.1)))
    release = np.clip((length_s + 0.06 - t) / 0.06, 0, 1)
    return np.asarray(wave * np.minimum(t / 0.006, 1) * release)


def wavetable(n_partials: int, slope: float) -> np.ndarray:
    """One period (TABLE,) of a tone whose k-th partial has level k ** -slope."""
    k = np.arange(1, n_partials + 1)
    phase = 2 * np.pi * np.arange(TABLE) / TABLE
    wave = (k[:, None] ** -slope * np.sin(k[:, None] * phase)).sum(0)
    return np.asarray(wave / np.abs(wave).max())


def tone(table: np.ndarray, hz: float, n: int, detune_cents: float, phase: float) -> np.ndarray:
    """`n` samples of two slightly detuned copies of a wavetable, the second a little out of phase."""
    index = np.arange(n)
    spread = 2 ** (detune_cents / 2400)
    out = np.zeros(n)
    for factor, start in ((spread, phase), (1 / spread, phase + 0.37)):
        step = hz * factor / SAMPLE_RATE
        out += table[((index * step + start) * TABLE).astype(np.int64) & (TABLE - 1)]
    return 0.5 * out


def reverb(wave: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """The reverberation of a wave (n,): an exponentially decaying, darkening tail (60 dB in `seconds`)."""
    t = time_axis(seconds)
    noise = rng.standard_normal(len(t))
    tail = (0.5 * noise + filtered(noise, "lowpass", 2500)) * 10 ** (-3 * t / seconds)
    tail[: int(0.008 * SAMPLE_RATE)] = 0
    tail /= np.sqrt((tail**2).sum())
    return np.asarray(signal.oaconvolve(wave, tail)[: len(wave)])
