"""Sound for a video: a waveform or a song's own file, in blocks, at its own rate, mono or stereo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE

_BLOCK = 1 << 16
# Decoded by FFmpeg, as for the model's own audio: soundfile keeps the encoder's padding (0.16 s in one song) and
# writes to stderr about broken headers.
_MPEG_SUFFIXES = (".mp3", ".mp2")

Block = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Sound that can be read once or many times; ``channels`` is 1 or 2."""

    source: str | NDArray[np.float32]
    rate: int
    channels: int
    n_samples: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n_samples / self.rate

    def blocks(self, n_samples: int | None = None) -> Iterator[Block]:
        """Blocks (channels, n), float32 in [-1, 1], of ``n_samples`` in all: cut, or filled with silence.

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
        elif _soundfile_reads(self.source):
            try:
                with sf.SoundFile(self.source) as f:
                    for block in f.blocks(_BLOCK, dtype="float32", always_2d=True):
                        yield _mono_or_stereo(block.T)
            except sf.SoundFileError as e:
                raise _unreadable(self.source, e) from e
        else:
            yield from _decode(self.source)


def open_sound(audio: ArrayLike | str | os.PathLike[str] | Sound, sample_rate: int = SAMPLE_RATE) -> Sound:
    """Sound of a waveform, (n,) or (n, channels) at ``sample_rate``, or of a file at the file's own rate.

    Files are read as the model's own audio is: MPEG by FFmpeg, others by soundfile, and by FFmpeg where it
    cannot. More than two channels become their mean.

    Raises:
        D2MError: a file that is missing, a folder or no audio; a waveform of a wrong shape; no sample at all.
    """
    if isinstance(audio, Sound):
        return audio
    if not isinstance(audio, (str, os.PathLike)):
        wave = np.asarray(audio, np.float32)
        if wave.ndim not in (1, 2) or not wave.size or sample_rate <= 0:
            raise D2MError(f"audio: a waveform of shape {wave.shape} at {sample_rate} Hz; give (n,) or (n, channels)")
        planes = _mono_or_stereo(wave[None] if wave.ndim == 1 else wave.T)
        return Sound(planes, int(sample_rate), len(planes), planes.shape[1])
    path = str(Path(audio).absolute())
    if not os.path.isfile(path):
        raise D2MError(f"{audio}: no such audio file; check the path")
    if _soundfile_reads(path):
        info = sf.info(path)
        rate, channels, n = int(info.samplerate), 1 if info.channels != 2 else 2, int(info.frames)
    else:
        rate, channels, n = 0, 0, 0
        for file_rate, block in _decode_with_rate(path):
            rate, channels, n = file_rate, len(block), n + block.shape[1]
    if n == 0:
        raise D2MError(f"{audio}: holds no sound; give an audio file that plays")
    return Sound(path, rate, channels, n)


def _mono_or_stereo(planes: NDArray[np.float32]) -> Block:
    return planes if len(planes) <= 2 else planes.mean(0, keepdims=True, dtype=np.float32)


def _soundfile_reads(path: str) -> bool:
    if path.lower().endswith(_MPEG_SUFFIXES):
        return False
    try:
        return bool(sf.info(path).frames > 0)
    except (sf.SoundFileError, OSError):
        return False


def _unreadable(path: str, e: Exception) -> D2MError:
    return D2MError(f"{path}: cannot be decoded as audio ({str(e).splitlines()[0]}); convert it to wav, flac or mp3")


def _decode(path: str) -> Iterator[Block]:
    for _, block in _decode_with_rate(path):
        yield block


def _decode_with_rate(path: str) -> Iterator[tuple[int, Block]]:
    """(rate, block) of the file's first audio stream, by FFmpeg; broken packets are left out, as players do."""
    left: float = float("inf")
    try:
        with av.open(path, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise D2MError(f"{path}: holds no audio; give a file with sound")
            stream = container.streams.audio[0]
            if "mp4" in container.format.name and stream.duration and stream.time_base:
                left = round(stream.duration * stream.time_base * stream.rate)  # cuts the coder's padding
            resampler = av.AudioResampler(format="fltp", rate=stream.rate)
            for packet in container.demux(stream):
                for frame in _whole_frames(packet):
                    for even in resampler.resample(frame):
                        planes = even.to_ndarray()[:, : int(min(left, _BLOCK))]
                        left -= planes.shape[1]
                        if planes.size:
                            yield stream.rate, _mono_or_stereo(planes.astype(np.float32, copy=False))
    except (av.FFmpegError, OSError) as e:
        raise _unreadable(path, e) from e


def _whole_frames(packet: Any) -> list[Any]:
    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []
