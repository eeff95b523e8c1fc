"""The latents of many songs in one file: a row per song (or window of a song), only arrays and a json.

mu      (n, d) noise-averaged z_dan: the mean over draws of the audio noise (music), over sequences (dance)
sigma   (n, d) standard deviation of the posterior, from the mean log-variance
spread  (n, d) standard deviation of the posterior's mean over that noise, or over sequences
draws   (n, k, d) complete draws, all noise included and independent between songs
style   (n, s) style of the music; (n, 0) for dances
song, genre, split (n,) strings; start_s, end_s (n,) seconds
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path

FORMAT = 1
TEXT = ("song", "genre", "split")
NUMBERS = ("start_s", "end_s", "mu", "sigma", "spread", "draws", "style")


@dataclass(frozen=True, eq=False)
class LatentTable:
    """See the module. ``meta``: side ("music" or "dance"), space (the bundle's weights sha256), front_end, seed, ..."""

    song: NDArray[np.str_]
    genre: NDArray[np.str_]
    split: NDArray[np.str_]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    mu: NDArray[np.float32]
    sigma: NDArray[np.float32]
    spread: NDArray[np.float32]
    draws: NDArray[np.float32]
    style: NDArray[np.float32]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.song)
        for name in TEXT + NUMBERS:
            if len(getattr(self, name)) != n:
                raise D2MError(
                    f"latents: {name} has {len(getattr(self, name))} rows, but song has {n}; extract them again"
                )
        if self.mu.ndim != 2 or self.draws.ndim != 3 or not np.isfinite(self.mu).all():
            raise D2MError(
                "latents: mu must be finite numbers of shape (n, d), and draws of shape (n, k, d); extract them again"
            )

    def __len__(self) -> int:
        return len(self.song)

    @property
    def genres(self) -> list[str]:
        return sorted(set(self.genre.tolist()))

    def select(self, rows: NDArray[Any]) -> Self:
        """Some rows, by number or mask."""
        arrays = {k: getattr(self, k)[rows] for k in TEXT + NUMBERS}
        return type(self)(**arrays, meta=self.meta)

    def training_rows(self) -> Self:
        """The rows that may be used for fitting: the training split, or all rows if there are no splits."""
        train = self.split == "train"
        return self.select(train) if train.any() else self

    def by_song(self) -> Self:
        """One row per song: windows averaged (mu, sigma, spread, style; the draws of the first window)."""
        names, first, of_row = np.unique(self.song, return_index=True, return_inverse=True)
        if len(names) == len(self):
            return self
        weight = 1 / np.bincount(of_row)[:, None]

        def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
            total = np.zeros((len(names), x.shape[1]))
            np.add.at(total, of_row, x)
            return (total * weight).astype(np.float32)

        arrays = {k: getattr(self, k)[first] for k in TEXT + NUMBERS}
        arrays |= {k: mean(getattr(self, k)) for k in ("mu", "sigma", "spread", "style")}
        arrays["end_s"] = np.array([self.end_s[of_row == i].max() for i in range(len(names))])
        return type(self)(**arrays, meta=self.meta)

    def genre_means(self) -> dict[str, NDArray[np.float32]]:
        """Genre -> mean mu (d,); songs have equal weight."""
        songs = self.by_song()
        return {g: songs.mu[songs.genre == g].mean(0) for g in songs.genres}

    def save(self, path: str | Path) -> Path:
        """Write one npz, atomically.

        Raises:
            D2MError: it cannot be written.
        """
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {k: getattr(self, k) for k in TEXT + NUMBERS}
        np.savez(buffer, **arrays, meta=np.array(json.dumps({"format": FORMAT, **self.meta}, sort_keys=True)))
        with atomic_path(path) as tmp:
            tmp.write_bytes(buffer.getvalue())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            D2MError: missing, unreadable or another format.
        """
        try:
            with np.load(path, allow_pickle=False) as f:
                meta = json.loads(str(f["meta"]))
                if meta.pop("format", None) != FORMAT:
                    raise D2MError(f"{path}: written in another format; extract the latents again")
                return cls(**{k: f[k] for k in TEXT + NUMBERS}, meta=meta)
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError) as e:
            raise D2MError(f"{path}: not a readable latents file; d2m study extract writes latents.npz") from e


def stack(tables: list[LatentTable], meta: dict[str, Any]) -> LatentTable:
    """Concatenate the rows of several tables."""
    return LatentTable(**{k: np.concatenate([getattr(t, k) for t in tables]) for k in TEXT + NUMBERS}, meta=meta)
