"""The music style network: a genre classifier whose last hidden state is "the style" of the music.

Lee et al., "Dancing to Music", NeurIPS 2019, section 3.3 and its appendix.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from d2m.core.skeleton import STYLE_FRAMES
from d2m.nets.blocks import SequenceEncoder, windows

StyleMode = Literal["windows", "legacy"]


class MusicStyle(nn.Module):
    """Normalised features (b, t, n_features) -> style (b, style) and genre logits (b, n_genres)."""

    def __init__(self, n_genres: int, n_features: int, style: int) -> None:
        super().__init__()
        self.body = SequenceEncoder(n_features, style)
        self.classifier = nn.Sequential(nn.Linear(style, style), nn.ReLU(), nn.Linear(style, n_genres))

    def style(self, features: Tensor) -> Tensor:
        """(b, t, n_features) -> (b, style): the state after the last frame."""
        out: Tensor = self.body(features)
        return out

    def forward(self, features: Tensor) -> Tensor:
        """(b, t, n_features) -> logits (b, n_genres)."""
        out: Tensor = self.classifier(self.style(features))
        return out

    def song_style(self, features: Tensor, mode: StyleMode = "windows") -> Tensor:
        """(t, n_features) of a whole song -> (style,).

        "windows", the default, averages the style over 2 s windows, the length that the network was trained on.
        "legacy" is the reference's: the state after the last frame of the whole song, which mostly tells its last
        seconds and drifts outside of what training saw.
        """
        if mode == "legacy":
            return self.style(features.unsqueeze(0))[0]
        return self.style(windows(features, STYLE_FRAMES)).mean(0)

    def song_probabilities(self, features: Tensor) -> Tensor:
        """(t, n_features) of a whole song -> (n_genres,): the mean vote of its 2 s windows."""
        return self.forward(windows(features, STYLE_FRAMES)).softmax(-1).mean(0)
