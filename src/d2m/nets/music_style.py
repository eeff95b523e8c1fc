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
#: What "local" hears around the middle of a segment: as much as the segment lasts, 6.4 s.
LOCAL_FRAMES = SEQUENCE_FRAMES


def check_style_mode(mode: object) -> StyleMode:
    """The style mode of a config, if it is one.

    Raises:
        D2MError: it is not.
    """
    if mode not in STYLE_MODES:
        raise D2MError(f"style_mode={mode}: no such mode; choose from {', '.join(STYLE_MODES)}")
    return mode


def mean_around(per_window: Tensor, frames: int, middles: Tensor) -> Tensor:
    """Means of what a song's 2 s windows say, over the windows that lie within :data:`LOCAL_FRAMES` of its parts.

    Args:
        per_window: (w, d), a row per window of :func:`d2m.nets.blocks.window_starts`.
        frames: of the song. The context is shifted inwards at its ends; a song shorter than one is all context.
        middles: (n,) of the parts, in frames.

    Returns:
        (n, d); each row depends on its own middle alone.
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


#: ``Sizes.style_network`` -> what reads a window of features; "gru" is the paper's. The names are also in
#: :data:`d2m.nets.sizes.CHOICES`.
NETWORKS: dict[str, type[nn.Module]] = {"gru": SequenceEncoder, "statistics": StatisticsEncoder}


class MusicStyle(nn.Module):
    """Normalised features (b, t, n_features) -> style (b, style), and genre logits (b, n_genres) of it.

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
        which differs by segment only (:meth:`segment_styles`). "legacy" is the reference's: the state after the last
        frame of the whole song, which mostly tells its last seconds and drifts outside of what training saw; with
        "statistics", it is that of all frames at once.
        """
        if mode == "legacy":
            return self.style(features.unsqueeze(0))[0]
        return self.style(windows(features, STYLE_FRAMES)).mean(0)

    def segment_styles(self, features: Tensor, middles: Tensor, mode: StyleMode = "windows") -> Tensor:
        """(t, n_features) of a whole song and the middles (n,) of its segments, in frames -> (n, style).

        "local" averages the style over the song's 2 s windows that lie within 6.4 s around the middle
        (:func:`mean_around`); the other modes give every segment the song's. docs/adr/0064-style-per-segment.md.
        """
        if mode != "local":
            return self.song_style(features, mode).expand(len(middles), -1)
        return mean_around(self.style(windows(features, STYLE_FRAMES)), len(features), middles)

    def song_probabilities(self, features: Tensor) -> Tensor:
        """(t, n_features) of a whole song -> (n_genres,): the mean vote of its 2 s windows."""
        return self.forward(windows(features, STYLE_FRAMES)).softmax(-1).mean(0)

    def segment_probabilities(self, features: Tensor, middles: Tensor) -> Tensor:
        """(t, n_features) of a whole song and the middles (n,) of its segments, in frames -> (n, n_genres).

        The mean vote of the windows that ``segment_styles(..., "local")`` hears.
        """
        votes = self.forward(windows(features, STYLE_FRAMES)).softmax(-1)
        return mean_around(votes, len(features), middles)
