"""Sound for a video: a waveform or a song's own file, in blocks, at its own rate, mono or stereo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.containers import Blocks, Plan
from d2m.music.decode import blocks, decode

_BLOCK = 1 << 16

Block = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Sound that can be read once or many times; ``channels`` is 1 or 2. plan: how a file is decoded."""

    source: Path | NDArray[np.float32]
    rate: int
    channels: int
    n_samples: int
    plan: Plan | None = None

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n_samples / self.rate

    def blocks(self, n_samples: int | None = None) -> Iterator[Block]:
        """Blocks (channels, n), float32 in [-1, 1], with ``n_samples`` in total: truncated, or padded with silence.

        Raises:
            D2MError: the file can no longer be decoded.
        """
        left = self.n_samples if n_samples is None else n_samples
        for block in self._raw():
            if left <= 0:
                return
            block = np.clip(np.nan_to_num(block[:, :left]), -1, 1)
            left -= block.shape[1]
            yield np.ascontiguousarray(block)
        while left > 0:
            yield np.zeros((self.channels, min(left, _BLOCK)), np.float32)
            left -= _BLOCK

    def _raw(self) -> Iterator[Block]:
        if isinstance(self.source, np.ndarray):
            for i in range(0, self.n_samples, _BLOCK):
                yield self.source[:, i : i + _BLOCK]
        elif self.plan is not None:
            for _, planes in blocks(self.source, self.plan):
                yield _mono_or_stereo(planes)


def open_sound(audio: ArrayLike | str | os.PathLike[str] | Sound, sample_rate: int = SAMPLE_RATE) -> Sound:
    """Sound of a waveform, (n,) or (n, channels) at ``sample_rate``, or of a file at the file's own rate.

    Files are decoded like the model's input (:mod:`d2m.music.decode`), once in full. More than two channels are
    averaged.

    Raises:
        D2MError: a file that cannot be decoded to its end; a waveform with an invalid shape; no samples.
    """
    if isinstance(audio, Sound):
        return audio
    if not isinstance(audio, (str, os.PathLike)):
        wave = np.asarray(audio, np.float32)
        if wave.ndim not in (1, 2) or not wave.size or sample_rate <= 0:
            raise D2MError(f"audio: a waveform of shape {wave.shape} at {sample_rate} Hz; give (n,) or (n, channels)")
        planes = _mono_or_stereo(wave[None] if wave.ndim == 1 else wave.T)
        return Sound(planes, int(sample_rate), len(planes), planes.shape[1])
    file = Path(audio).absolute()
    plan, (rate, channels, n) = decode(file, _measure)
    if n == 0:
        raise D2MError(f"{file}: contains no sound; give a playable audio file")
    return Sound(file, rate, channels, n, plan)


def _measure(read: Blocks) -> tuple[int, int, int]:
    rate, channels, n = 0, 0, 0
    for rate, planes in read:  # noqa: B007
        channels, n = 2 if len(planes) == 2 else 1, n + planes.shape[1]
    return rate, channels, n


def _mono_or_stereo(planes: NDArray[np.float32]) -> Block:
    return planes if len(planes) <= 2 else planes.mean(0, keepdims=True, dtype=np.float32)
