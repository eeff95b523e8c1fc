"""A song danced plainly: the 2019 release's calls, or only those that are needed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m.dance.generator import DanceGenerator
from d2m.nets.sizes import Sizes
from experiments.throughput.plain_networks import Composed, sample

#: Frames of a call: three units.
CALL = 96


class PlainDancer:
    """Features of a song (t, f) -> poses in pixels (t, 14, 2), without redraws and without the warp.

    As released: int(t / 32) + 1 calls of 96 frames, in each the style of the whole song, and each first sample of
    z_dan thrown away with the poses that it gave. Needed: ceil(t / 96) calls, one style, one draw.
    """

    def __init__(self, generator: DanceGenerator) -> None:
        sizes: Sizes = generator.net.sizes
        self.net = Composed(sizes).eval().requires_grad_(False)
        self.net.load_state_dict(generator.net.state_dict(), strict=True)
        self.sizes, self.normalizer = sizes, generator.normalizer

    def style(self, features: Tensor) -> Tensor:
        return self.net.music_style.body(features[None])  # type: ignore[no-any-return]

    def call(self, style: Tensor, pose: Tensor) -> Tensor:
        """96 frames from a pose (1, 28), normalised."""
        s, net = self.sizes, self.net
        z_dan = sample(net.style_to_dance(torch.cat([style, torch.randn(1, s.style)], dim=1)), torch.randn(1, s.z_dan))
        mov = sample(net.dance_decoder(z_dan), torch.randn(1, 3, s.z_mov))
        units = []
        for k in range(3):
            z_ini = sample(net.initial_pose_encoder(pose), torch.randn(1, s.z_ini))
            units.append(net.unit_decoder(z_ini, mov[:, k]))
            pose = units[-1][:, -1]
        return torch.cat(units, dim=1)

    @torch.no_grad()
    def dance(self, features: NDArray[np.floating], as_released: bool) -> NDArray[np.float32]:
        x = self.normalizer.normalize_features(torch.from_numpy(np.asarray(features, np.float32)))
        n = int(len(x) / 32) + 1 if as_released else -(-len(x) // CALL)
        style, pose, parts = self.style(x), torch.zeros(1, 28), []
        for _ in range(n):
            if as_released:
                style = self.style(x)
                self.call(style, pose)
            parts.append(self.call(style, pose))
            pose = parts[-1][:, -1]
        poses = self.normalizer.denormalize_poses(torch.cat(parts, dim=1)[0, : len(x)])
        return poses.view(-1, 14, 2).numpy()  # type: ignore[no-any-return]
