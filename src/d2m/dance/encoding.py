"""z_dan of songs and windows of songs: many together, averaged over audio noise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.core.gaussian import randn
from d2m.core.skeleton import FPS, STYLE_FRAMES
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.music.front_ends import features
from d2m.nets.blocks import windows

Array = NDArray[np.float32]
_STYLE_BATCH, _NOISE_BATCH = 4096, 16384


@dataclass(frozen=True)
class Extraction:
    """How latents are extracted.

    window_s: length of a window in seconds, at least 2; None for whole songs, as in the study, whose latents use the
        style of the whole song, with style mode "local" as well.
    n_draws: complete draws kept per row. n_noise: draws of the audio noise averaged in mu.
    seed: mu uses the same noise for all songs; complete draws use separate noise for every song.
    """

    window_s: float | None = None
    n_draws: int = 8
    n_noise: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window_s is not None and round(self.window_s * FPS) < STYLE_FRAMES:
            raise D2MError(f"window={self.window_s:g}: the style network needs windows of 2 s or more")
        if self.n_draws < 1 or self.n_noise < 1:
            raise D2MError(f"draws={self.n_draws}, noise={self.n_noise}: give at least 1 of each")


def space_of(generator: DanceGenerator) -> str:
    """Identity of the latent space: the sha256 of the bundle's weights, or of the networks if there is no bundle."""
    files = generator.provenance.get("files", {})
    if "weights.safetensors" in files:
        return str(files["weights.safetensors"])
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode_styles(generator: DanceGenerator, slices: Sequence[Tensor]) -> Tensor:
    """Normalised features (t, n_features) of many songs or windows -> styles (n, style), in one pass.

    A single one is bit-identical to its own style. With "local", a whole song has the mean over all its 2 s windows, as
    with "windows".
    """
    net = generator.net.music_style
    if generator.style_mode == "legacy" or len(slices) == 1:
        return torch.stack([net.song_style(s, generator.style_mode) for s in slices])
    parts = [windows(s, STYLE_FRAMES) for s in slices]
    owner = torch.repeat_interleave(torch.tensor([len(p) for p in parts])).to(generator.device)
    flat = torch.cat(parts)
    states = torch.cat([net.style(chunk) for chunk in flat.split(_STYLE_BATCH)])
    total = states.new_zeros(len(parts), states.shape[1]).index_add_(0, owner, states)
    return total / torch.bincount(owner)[:, None]


@torch.no_grad()
def average_noise(generator: DanceGenerator, style: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Styles (n, 30) and noise (m, 30) -> mu, sigma, spread (n, z_dan); see :mod:`d2m.dance.table`."""
    m = len(noise)
    out = []
    for chunk in style.split(max(1, _NOISE_BATCH // m)):
        rows = chunk[:, None].expand(-1, m, -1).reshape(len(chunk) * m, -1)
        z = generator.net.style_to_dance(rows, noise.repeat(len(chunk), 1)).reshape(len(chunk), m)
        spread = z.mu.std(1) if m > 1 else torch.zeros_like(z.mu[:, 0])
        out.append((z.mu.mean(1), (0.5 * z.logvar.mean(1)).exp(), spread))
    mu, sigma, spreads = (torch.cat(x) for x in zip(*out, strict=True))
    return mu, sigma, spreads


def keyed_generator(seed: int, *key: object) -> torch.Generator:
    digest = hashlib.sha256(json.dumps([seed, *map(str, key)]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _rows(frames: int, how: Extraction) -> list[tuple[int, int]]:
    """First and last frame of every row of a song; a song shorter than a window is one row."""
    if how.window_s is None:
        return [(0, frames)]
    length = round(how.window_s * FPS)
    return [(i, i + length) for i in range(0, frames - length + 1, length)] or [(0, frames)]


@torch.no_grad()
def encode_songs(
    generator: DanceGenerator, songs: Sequence[tuple[str, str, str, NDArray[np.floating]]], how: Extraction
) -> list[LatentTable]:
    """A table per song of (name, genre, split, raw features (t, n_features)), in one pass of the networks."""
    spans = [_rows(len(x), how) for *_, x in songs]
    slices = [generator.normalize_features(x)[a:b] for (*_, x), rows in zip(songs, spans, strict=True) for a, b in rows]
    style = encode_styles(generator, slices)
    net = generator.net.style_to_dance
    noise = randn(how.n_noise, net.noise_dim, generator=torch.Generator().manual_seed(how.seed), like=style)
    mu, sigma, spread = (t.float().cpu().numpy() for t in average_noise(generator, style, noise))
    tables, k = [], 0
    for (name, genre, split, _), rows in zip(songs, spans, strict=True):
        own = slice(k, k + len(rows))
        draws = []
        for i, (first, _) in enumerate(rows):
            g = keyed_generator(how.seed, name, first)
            audio = randn(how.n_draws, net.noise_dim, generator=g, like=style)
            draws.append(net(style[k + i].expand(how.n_draws, -1), audio).sample(generator=g).float().cpu().numpy())
        tables.append(
            LatentTable(
                song=np.full(len(rows), name), genre=np.full(len(rows), genre), split=np.full(len(rows), split),
                start_s=np.array([a for a, _ in rows]) / FPS, end_s=np.array([b for _, b in rows]) / FPS,
                mu=mu[own], sigma=sigma[own], spread=spread[own], draws=np.stack(draws),
                style=style[own].float().cpu().numpy(),
            )
        )  # fmt: skip
        k += len(rows)
    return tables


def song_latent(generator: DanceGenerator, x: NDArray[np.floating], n_noise: int = 64, seed: int = 0) -> Array:
    """Raw features (t, n_features) of a song -> noise-averaged z_dan (d,); every song uses the same noise."""
    return np.asarray(encode_songs(generator, [("", "", "", x)], Extraction(None, 1, n_noise, seed))[0].mu[0])


def wave_encoder(generator: DanceGenerator, how: Extraction) -> Callable[[Array], Array]:
    """wave (n,) at 22,050 Hz -> :func:`song_latent`."""
    return lambda wave: song_latent(generator, features(wave, generator.front_end), how.n_noise, how.seed)
