"""The music style network: a classifier of 2 s windows of music whose hidden state is "the style" of the music.

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.3 and its appendix.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from d2m.core.errors import D2MError
from d2m.core.skeleton import SEQUENCE_FRAMES, STYLE_FRAMES
from d2m.nets.blocks import SequenceEncoder, StatisticsEncoder, window_starts, windows
from d2m.nets.products import Linear

StyleMode = Literal["windows", "legacy", "local"]
STYLE_MODES: tuple[StyleMode, ...] = get_args(StyleMode)
#: Frames around the middle of a segment that "local" uses: as many as the segment has (6.4 s).
LOCAL_FRAMES = SEQUENCE_FRAMES


def check_style_mode(mode: object) -> StyleMode:
    """Validate the name of a style mode.

    Raises:
        D2MError: an unknown style mode.
    """
    if mode not in STYLE_MODES:
        raise D2MError(f"style_mode={mode}: no such mode; choose from {', '.join(STYLE_MODES)}")
    return mode


def mean_around(per_window: Tensor, frames: int, middles: Tensor) -> Tensor:
    """Means of a song's outputs per 2 s window, over the windows within :data:`LOCAL_FRAMES` around each position.

    Args:
        per_window: (w, d), a row per window of :func:`d2m.nets.blocks.window_starts`.
        frames: length of the song. At its ends the context is shifted inwards; a shorter song is used as a whole.
        middles: (n,) positions in frames.

    Returns:
        (n, d); each row depends on its own position only.
    """
    span = min(LOCAL_FRAMES, frames)
    begin = (middles - span / 2).round().long().clamp(0, frames - span).to(per_window.device)
    starts = window_starts(frames, STYLE_FRAMES, per_window.device)
    first = torch.searchsorted(starts, begin)
    stop = torch.searchsorted(starts, begin + span - STYLE_FRAMES, right=True)
    rows = first[:, None] + torch.arange(int((stop - first).max()), device=starts.device)
    inside = rows < stop[:, None]
    picked = per_window[rows.clamp(max=len(starts) - 1)].masked_fill(~inside[..., None], 0)
    return picked.sum(1) / inside.sum(1, keepdim=True)


#: ``Sizes.style_network`` -> encoder of a window of features; "gru" is the paper's. The names are also in
#: :data:`d2m.nets.sizes.CHOICES`.
NETWORKS: dict[str, type[nn.Module]] = {"gru": SequenceEncoder, "statistics": StatisticsEncoder}


class MusicStyle(nn.Module):
    """Normalised features (b, t, n_features) -> style (b, style), and from it genre logits (b, n_genres).

    ``network`` is one of :data:`NETWORKS` (docs/adr/0068-a-style-that-hears.md).
    """

    def __init__(self, n_genres: int, n_features: int, style: int, network: str = "gru") -> None:
        super().__init__()
        self.body = NETWORKS[network](n_features, style)
        self.classifier = nn.Sequential(Linear(style, style), nn.ReLU(), Linear(style, n_genres))

    def style(self, features: Tensor) -> Tensor:
        """(b, t, n_features) -> (b, style): the state after the last frame (paper), or statistics of all frames."""
        out: Tensor = self.body(features)
        return out

    def window_style(self, features: Tensor) -> Tensor:
        """(b, t, n_features), t >= 30 -> (b, style): the mean style of its 2 s windows."""
        parts = windows(features, STYLE_FRAMES)
        each: Tensor = self.style(parts.flatten(0, 1)).unflatten(0, parts.shape[:2])
        return each.mean(1)

    def forward(self, features: Tensor) -> Tensor:
        """(b, t, n_features) -> logits (b, n_genres)."""
        out: Tensor = self.classifier(self.style(features))
        return out

    def song_style(self, features: Tensor, mode: StyleMode = "windows") -> Tensor:
        """(t, n_features) of a whole song -> (style,).

        "windows" averages the style over 2 s windows, the length that the network was trained on; so does "local",
        which only differs per segment (:meth:`segment_styles`). "legacy" is the reference's: the state after the last
        frame of the whole song, which mostly reflects its last seconds and may leave the training distribution; with
        the network "statistics", it uses the statistics of all frames.
        """
        if mode == "legacy":
            return self.style(features.unsqueeze(0))[0]
        return self.style(windows(features, STYLE_FRAMES)).mean(0)

    def segment_styles(self, features: Tensor, middles: Tensor, mode: StyleMode = "windows") -> Tensor:
        """(t, n_features) of a whole song and the middles (n,) of its segments, in frames -> (n, style).

        "local" averages the style over the song's 2 s windows that lie within 6.4 s around the middle
        (:func:`mean_around`); the other modes give every segment the song's style. docs/adr/0064-style-per-segment.md.
        """
        if mode != "local":
            return self.song_style(features, mode).expand(len(middles), -1)
        return mean_around(self.style(windows(features, STYLE_FRAMES)), len(features), middles)

    def song_probabilities(self, features: Tensor) -> Tensor:
        """(t, n_features) of a whole song -> (n_genres,): probabilities averaged over its 2 s windows."""
        return self.forward(windows(features, STYLE_FRAMES)).softmax(-1).mean(0)

    def segment_probabilities(self, features: Tensor, middles: Tensor) -> Tensor:
        """(t, n_features) of a whole song and the middles (n,) of its segments, in frames -> (n, n_genres).

        Probabilities averaged over the windows that ``segment_styles(..., "local")`` uses.
        """
        votes = self.forward(windows(features, STYLE_FRAMES)).softmax(-1)
        return mean_around(votes, len(features), middles)
