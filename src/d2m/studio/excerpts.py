"""Short excerpts of songs, played while the pointer hovers over them."""

from __future__ import annotations

import io
import json
import os

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.music.audio import load_song
from d2m.studio.kept import Kept
from d2m.studio.library import Library

#: Length, fade at both ends (both in seconds), and how many are cached (a quarter of a megabyte each).
SECONDS, FADE_S, MAX_EXCERPTS = 6.0, 0.15, 32


def loudest(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """The window of :data:`SECONDS` with the most energy, faded in and out: most likely the chorus."""
    n = min(round(SECONDS * SAMPLE_RATE), len(wave))
    step = SAMPLE_RATE // 2
    power = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    starts = np.arange(0, len(wave) - n + 1, step)
    energy = power[starts + n] - power[starts]
    best = starts[energy >= (1 - 1e-6) * energy.max()]
    first = int(best[len(best) // 2])  # if there are several, the middle one
    part = wave[first : first + n].copy()
    fade = np.linspace(0, 1, min(round(FADE_S * SAMPLE_RATE), n // 2), dtype=np.float32)
    part[: len(fade)] *= fade
    part[n - len(fade) :] *= fade[::-1]
    return part


class Excerpts:
    """Excerpts of a library's songs, as wav files in memory."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._kept: Kept[bytes] = Kept(MAX_EXCERPTS)

    def wav(self, song: str) -> bytes:
        """A song's excerpt.

        Raises:
            D2MError: not a song of the library, or one that cannot be read.
        """
        import soundfile

        if song not in self.library.songs():
            raise D2MError(f"song {os.path.basename(song)}: not in this studio; drop it on the page")

        def make() -> bytes:
            file = io.BytesIO()
            part = np.clip(loudest(load_song(song)), -1, 1)
            soundfile.write(file, part, SAMPLE_RATE, format="WAV", subtype="PCM_16")
            return file.getvalue()

        return self._kept.get(json.dumps([song, os.stat(song).st_mtime_ns]), make)
