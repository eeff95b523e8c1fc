"""Genre from motion alone: poses in, genre logits out; no music, no z_dan, no style network.

Not in the paper. Two networks with different architectures see the same motion: the *guide*, whose gradient an
optimiser may follow, and the *judge*, which no optimiser uses and which can therefore tell whether a dance changed or
only fooled the guide (docs/adr/0045-motion-style.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from d2m.core.skeleton import POSE_DIM, UNIT_FRAMES
from d2m.nets.blocks import SequenceEncoder, windows
from d2m.nets.products import Linear
from d2m.nets.sizes import MotionSizes

#: Frame differences of normalised poses are about a quarter as large as the poses; this scales both alike.
STEP_GAIN = 4.0


def with_steps(units: Tensor) -> Tensor:
    """(b, 32, 28) -> (b, 31, 56): poses, and the differences to the next frame times :data:`STEP_GAIN`."""
    return torch.cat([units[:, :-1], STEP_GAIN * units.diff(dim=1)], dim=-1)


class ConvMotion(nn.Module):
    """Temporal convolutions on poses and differences, smooth for the sake of its gradient. (b, 32, 28) -> (b, g)."""

    def __init__(self, n_genres: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2 * POSE_DIM, hidden, 5, padding=2), nn.GroupNorm(1, hidden), nn.GELU(),
            nn.Conv1d(hidden, hidden, 5, stride=2, padding=2), nn.GroupNorm(1, hidden), nn.GELU(),
            nn.Conv1d(hidden, hidden, 5, stride=2, padding=2), nn.GELU(),
        )  # fmt: skip
        self.head = Linear(hidden, n_genres)

    def forward(self, units: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(with_steps(units).transpose(1, 2)).mean(-1))
        return out


class RecurrentMotion(nn.Module):
    """A GRU on poses and differences, whose last state is classified. (b, 32, 28) -> (b, g)."""

    def __init__(self, n_genres: int, hidden: int) -> None:
        super().__init__()
        self.body = SequenceEncoder(2 * POSE_DIM, hidden, bidirectional=True)
        self.head = Linear(2 * hidden, n_genres)

    def forward(self, units: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(with_steps(units)))
        return out


class MotionStyle(nn.Module):
    """Normalised dance units (b, 32, 28) -> genre logits (b, n_genres), by the guide and by the judge."""

    def __init__(self, sizes: MotionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.guide = ConvMotion(sizes.n_genres, sizes.hidden)
        self.judge = RecurrentMotion(sizes.n_genres, sizes.hidden)

    def forward(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 32, 28) -> logits of guide and judge, each (b, n_genres)."""
        return self.guide(units), self.judge(units)

    def guide_log_probabilities(self, poses: Tensor) -> Tensor:
        """Dances (b, t, 28), t >= 32 -> the guide's log-probabilities of every window (b, n, n_genres)."""
        x = windows(poses, UNIT_FRAMES)
        out: Tensor = self.guide(x.flatten(0, 1)).log_softmax(-1).unflatten(0, x.shape[:2])
        return out

    def dance_probabilities(self, poses: Tensor) -> Tensor:
        """Dances (b, t, 28), t >= 32 -> (b, n_genres): the judge's probabilities, averaged over windows."""
        x = windows(poses, UNIT_FRAMES)
        out: Tensor = self.judge(x.flatten(0, 1)).softmax(-1).unflatten(0, x.shape[:2]).mean(1)
        return out
