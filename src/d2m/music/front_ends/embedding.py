"""Front ends `embedding:WIDTH@RATE`: precomputed frames of another model, such as MERT, MuQ or Jukebox.

A song's frames are in NAME.npy next to NAME.mp3, or in the folder given by :data:`FOLDER_VARIABLE`: a float array
(frames, WIDTH) for the whole file, whose frame i covers i / RATE to (i + 1) / RATE seconds. The name contains width and
rate, so that corpora and bundles with another embedding are refused. The model that wrote the files cannot be checked;
use only one per study. As features come from the file instead of the audio, changes of the audio (music edits,
augmentation) are refused.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS
from d2m.music.front_ends.base import FrontEnd

Floats = NDArray[np.float32]

#: A folder of NAME.npy files; if unset, they lie next to the songs.
FOLDER_VARIABLE = "D2M_EMBEDDINGS"
#: By how many seconds frames may be shorter than their song; many models omit its end.
MAX_GAP_S = 1.0
# Dance frames per block.
_BLOCK = 4096


def embedding(text: str) -> FrontEnd:
    """The front end of ``WIDTH@RATE``, such as ``768@75``.

    Raises:
        D2MError: not a width and rate.
    """
    match = re.fullmatch(r"(\d+)@(\d+(?:\.\d+)?)", text)
    width, rate = (int(match[1]), float(match[2])) if match else (0, 0.0)
    if not width or not rate:
        raise D2MError(
            f"front_end=embedding:{text}: give numbers per frame and frames per second, as in embedding:768@75"
        )

    def read(song: Path, start_s: float, length: int) -> Floats:
        path = file_of(song)
        if not path.is_file():
            raise D2MError(f"{song}: no embedding at {path}; put it there, or set {FOLDER_VARIABLE} to its folder")
        return resample(load(path, width), rate, length, start_s, str(path))

    return FrontEnd(
        f"embedding:{width}@{rate:g}", tuple(f"embedding_{k}" for k in range(width)), math.inf,
        params={"rate_hz": rate}, read=read, file=file_of,
    )  # fmt: skip


#: Name of the family, and the function that makes a front end from the rest of the name.
FAMILY = ("embedding", embedding)


def file_of(song: Path) -> Path:
    """The path of the file with a song's frames."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder).expanduser() if folder else song.parent) / f"{song.stem}.npy"


def load(path: Path, width: int) -> NDArray[np.floating]:
    """(frames, width), not read into memory.

    Raises:
        D2MError: not an array of numbers, another shape, or empty.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise D2MError(f"{path}: not a NumPy array ({str(e).splitlines()[0]}); write it with numpy.save") from e
    if not isinstance(rows, np.ndarray) or not np.issubdtype(rows.dtype, np.floating):
        raise D2MError(f"{path}: not an array of floating-point numbers; save one with numpy.save")
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise D2MError(f"{path}: has shape {rows.shape}; the front end expects (frames, {width})")
    return rows


def resample(
    rows: NDArray[np.floating], rate: float, length: int, start_s: float = 0.0, name: str = "embedding"
) -> Floats:
    """Frames at one rate to dance frames.

    Args:
        rows: (m, f), row i from i / rate to (i + 1) / rate seconds.
        length: dance frames wanted; frame k at start_s + k / 15 s.
        name: name of the data, for error messages.

    Returns:
        (length, f) float32. At 15 rows per second or more, the mean over each frame's 1/15 s, with partially covered
        rows weighted by their overlap; below that, linear interpolation between the rows' midpoints. The ends are held.

    Raises:
        D2MError: the rows end more than :data:`MAX_GAP_S` before the sound, or hold NaN or infinity.
    """
    lasts, needed = len(rows) / rate, start_s + length / FPS
    if lasts < needed - MAX_GAP_S:
        raise D2MError(
            f"{name}: {len(rows)} frames at {rate:g} per second last {lasts:.1f} s, but the song {needed:.1f} s; "
            "give the right rate, or embed the whole song"
        )
    out = np.empty((length, rows.shape[1]), np.float32)
    for first in range(0, length, _BLOCK):
        k = np.arange(first, min(first + _BLOCK, length))
        middle = (start_s + k / FPS) * rate
        half = rate / (2 * FPS)
        begin = max(min(int(middle[0] - half) - 1, len(rows) - 1), 0)
        part = np.asarray(rows[begin : max(math.ceil(middle[-1] + half) + 2, begin + 1)], np.float64)
        if not np.isfinite(part).all():
            raise D2MError(f"{name}: contains NaN or infinite numbers; embed the song again")
        out[k] = _means(part, middle - begin, half) if rate >= FPS else _between(part, middle - begin)
    return out


def _means(rows: NDArray[np.float64], middle: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """Means of the piecewise constant function of the rows over middle +- half."""
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    low, high = np.clip(middle - half, 0, len(rows)), np.clip(middle + half, 0, len(rows))
    # Frames beyond the ends take the row at the end.
    low, high = np.minimum(low, len(rows) - 1e-3), np.maximum(high, 1e-3)

    def integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
        i = np.minimum(x.astype(np.int64), len(rows) - 1)
        return np.asarray(total[i] + (x - i)[:, None] * rows[i])

    return np.asarray((integral(high) - integral(low)) / (high - low)[:, None])


def _between(rows: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(middle - 0.5, 0, len(rows) - 1)
    i = np.minimum(x.astype(np.int64), max(len(rows) - 2, 0))
    j = np.minimum(i + 1, len(rows) - 1)
    share = (x - i)[:, None]
    return np.asarray((1 - share) * rows[i] + share * rows[j])
