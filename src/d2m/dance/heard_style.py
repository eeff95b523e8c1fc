"""Outputs of the music style network for songs: one pass over the 2 s windows of all, for all uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2m.core.skeleton import FPS, STYLE_FRAMES
from d2m.dance.lines import by_rows
from d2m.nets.blocks import windows
from d2m.nets.music_style import MusicStyle, StyleMode, mean_around

#: Windows in one call of the network; a multiple of :data:`d2m.dance.lines.ROWS`.
_WINDOWS = 4096


class HeardStyle(NamedTuple):
    """Of one song: styles (w, style) and genre probabilities (w, n_genres) of its w windows, and its length in frames.

    legacy: (style,) after the whole song, only if the style mode is "legacy".
    """

    styles: Tensor
    votes: Tensor
    frames: int
    legacy: Tensor | None = None

    def song_style(self) -> Tensor:
        """(style,), see :meth:`d2m.nets.music_style.MusicStyle.song_style`."""
        return self.styles.mean(0) if self.legacy is None else self.legacy

    def segment_styles(self, centres_s: np.ndarray | Tensor, mode: StyleMode) -> Tensor:
        """Centres (n,) in seconds -> (n, style): with "local" of the windows around each, otherwise of the song."""
        if mode == "local":
            return mean_around(self.styles, self.frames, _frames(centres_s))
        return self.song_style().expand(len(centres_s), -1)

    def song_votes(self) -> Tensor:
        """(n_genres,) probabilities averaged over the windows."""
        return self.votes.mean(0)

    def segment_votes(self, centres_s: np.ndarray | Tensor) -> Tensor:
        """(n, n_genres) probabilities averaged over the windows within 6.4 s around each centre, in any style mode."""
        return mean_around(self.votes, self.frames, _frames(centres_s))


def _frames(seconds: np.ndarray | Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(seconds, np.float64)) * FPS


def hear_styles(net: MusicStyle, songs: Sequence[Tensor], mode: StyleMode) -> list[HeardStyle]:
    """Normalised features (t, n_features), t >= 30, of whole songs, in one pass, independent of each other.

    Raises:
        ValueError: a song shorter than 30 frames.
    """
    parts = [windows(x, STYLE_FRAMES) for x in songs]
    styles = torch.cat([by_rows(net.style, x) for x in torch.cat(parts).split(_WINDOWS)])
    legacy = [net.style(x[None])[0] if mode == "legacy" else None for x in songs]
    # Copies, because the bits of a product may depend on the alignment of its rows. Probabilities are computed song by
    # song: with as few columns as genres, they depend on the number of rows.
    each = zip((x.clone() for x in styles.split([len(x) for x in parts])), songs, legacy, strict=True)
    return [HeardStyle(s, net.classifier(s).softmax(-1), len(x), whole) for s, x, whole in each]
