"""z_dan of many songs, from their music or from their dances, into one :class:`d2m.dance.table.LatentTable`.

Songs are decoded on threads and encoded together; every finished song is kept in a cache under the digest of all that
its latents depend on, so that a killed run resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m.bundle import sha256
from d2m.core.errors import D2MError
from d2m.core.gaussian import randn
from d2m.core.skeleton import FPS, SEQUENCE_UNITS, STYLE_FRAMES
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable, stack
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, song_wave
from d2m.music.front_ends import features, front_end
from d2m.nets.blocks import windows

Array = NDArray[np.float32]
#: (songs done so far, song seconds done so far) -> nothing.
Progress = Callable[[int, float], None]
_STYLE_BATCH, _NOISE_BATCH, _UNIT_BATCH = 4096, 16384, 256


@dataclass(frozen=True)
class Extraction:
    """How latents are extracted.

    window_s: length of a window in seconds, 2 or more; None for whole songs, as the study does: their latents are of
        the whole song's style, under style mode "local" as well.
    n_draws: complete draws kept of every row. n_noise: draws of the audio noise that mu averages over.
    seed: the noise behind mu is the same for all songs; that behind the draws is every song's own.
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
    """Identity of the latent space: the sha256 of the bundle's weights, or of the networks' if there is no bundle."""
    files = generator.provenance.get("files", {})
    if "weights.safetensors" in files:
        return str(files["weights.safetensors"])
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# -- music ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def encode_styles(generator: DanceGenerator, slices: Sequence[Tensor]) -> Tensor:
    """Normalised features (t, n_features) of many songs or windows -> styles (n, style), together.

    Of one, its own to the bit. Under "local" a whole song has the mean over all its 2 s windows, as under "windows".
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


def _own_generator(seed: int, *key: object) -> torch.Generator:
    digest = hashlib.sha256(json.dumps([seed, *map(str, key)]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _rows(frames: int, how: Extraction) -> list[tuple[int, int]]:
    """First and last frame of every row of a song; one shorter than a window is one row."""
    if how.window_s is None:
        return [(0, frames)]
    length = round(how.window_s * FPS)
    return [(i, i + length) for i in range(0, frames - length + 1, length)] or [(0, frames)]


@torch.no_grad()
def encode_songs(
    generator: DanceGenerator, songs: Sequence[tuple[str, str, str, NDArray[np.floating]]], how: Extraction
) -> list[LatentTable]:
    """A table per song of (name, genre, split, raw features (t, 28)); all of them in one pass of the networks."""
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
            g = _own_generator(how.seed, name, first)
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


def _meta(generator: DanceGenerator, side: str, how: Extraction, **more: Any) -> dict[str, Any]:
    return {
        "side": side, "space": space_of(generator), "front_end": generator.front_end,
        "style_mode": generator.style_mode, "window_s": how.window_s, "n_draws": how.n_draws,
        "n_noise": how.n_noise, "seed": how.seed, **more,
    }  # fmt: skip


def extract_music(
    generator: DanceGenerator,
    songs: Iterable[SongFile],
    how: Extraction,
    cache: str | Path,
    progress: Progress | None = None,
    batch: int = 16,
) -> tuple[LatentTable, list[str]]:
    """Latents of audio files, resumable.

    Args:
        cache: folder of finished songs.
        batch: songs that are decoded (on threads) and encoded together.

    Returns:
        The table, rows in the songs' order, and a line for every song that could not be read.

    Raises:
        D2MError: no song could be read, or the cache cannot be written.
    """
    songs, folder = list(songs), Path(cache)
    facts = _meta(generator, "music", how)
    normal = hashlib.sha256(
        b"".join(
            np.ascontiguousarray(x).tobytes()
            for x in (generator.normalizer.feature_mean, generator.normalizer.feature_std)
        )
    ).hexdigest()

    beside = front_end(generator.front_end).file

    def read(song: SongFile) -> tuple[Path, LatentTable | NDArray[np.float32] | D2MError]:
        try:
            content = sha256(song.path)
            if beside is not None and (file := beside(song.path)).is_file():
                content += sha256(file)
        except OSError as e:
            return folder, D2MError(f"{song.path}: cannot be read ({e.strerror}); check the path")
        key = [facts, normal, content, song.name, song.genre, song.start_s, song.end_s]
        path = folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]}.npz"
        try:
            if path.is_file():
                try:
                    return path, LatentTable.load(path)
                except D2MError:
                    pass  # a file that something else broke: extracted again
            return path, features(song_wave(song), generator.front_end, song.path, song.start_s)
        except D2MError as e:
            return path, e

    tables: list[LatentTable] = []
    bad: list[str] = []
    seconds = 0.0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for i in range(0, len(songs), batch):
            chunk = songs[i : i + batch]
            results = list(pool.map(read, chunk))
            fresh = [(s, p, x) for s, (p, x) in zip(chunk, results, strict=True) if isinstance(x, np.ndarray)]
            encoded = encode_songs(generator, [(s.name, s.genre, "", x) for s, _, x in fresh], how) if fresh else []
            done: dict[str, LatentTable] = {}
            for (song, path, _), table in zip(fresh, encoded, strict=True):
                table.save(path)
                done[song.name] = table
            for song, (_, x) in zip(chunk, results, strict=True):
                if isinstance(x, D2MError):
                    bad.append(str(x))
                    continue
                tables.append(done[song.name] if isinstance(x, np.ndarray) else x)
                seconds += float(tables[-1].end_s.max() - tables[-1].start_s.min())
            if progress is not None:
                progress(min(i + batch, len(songs)), seconds)
    if not tables:
        raise D2MError(f"none of {len(songs)} songs could be read: {bad[0] if bad else 'the list is empty'}")
    return stack(tables, {**facts, "seconds": seconds, "skipped": bad}), bad


# -- a corpus: both sides ----------------------------------------------------------------------------------------


def check_hears_alike(generator: DanceGenerator, corpus: Corpus) -> None:
    """See that a corpus holds the features that a bundle hears.

    Raises:
        D2MError: it holds those of another front end.
    """
    if corpus.front_end != generator.front_end:
        raise D2MError(
            f"{corpus.folder}: its front end is '{corpus.front_end}', the bundle needs '{generator.front_end}'; "
            f"prepare the corpus with that front end"
        )


def extract_corpus_music(
    generator: DanceGenerator,
    corpus: Corpus,
    how: Extraction,
    splits: Sequence[str] = ("train", "val", "test"),
    recordings: Sequence[int] | None = None,
    batch: int = 64,
) -> LatentTable:
    """Latents of a corpus's songs from their stored features; no decoding.

    Args:
        recordings: these, in this order, instead of all with music of the splits.
        batch: songs that are encoded together; with 1 a song's latents do not depend on the others, to the bit.

    Raises:
        D2MError: another front end, or no song of 2 s.
    """
    check_hears_alike(generator, corpus)
    if recordings is None:
        recordings = sorted(int(i) for s in splits for i in corpus.recordings_in(s, with_music=True))
    chosen = [i for i in recordings if corpus.feature_bounds[i, 1] >= STYLE_FRAMES]
    if not chosen:
        raise D2MError(f"{corpus.folder}: no song of 2 s or more in {', '.join(splits)}")
    tables: list[LatentTable] = []
    for k in range(0, len(chosen), batch):
        part = [(corpus.recordings[i], np.array(corpus.song_features(i))) for i in chosen[k : k + batch]]
        tables += encode_songs(generator, [(r.name, r.genre, r.split, x) for r, x in part], how)
    return stack(tables, _meta(generator, "music", how, corpus=corpus.folder.name))


def genre_means(generator: DanceGenerator, corpus: Corpus, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Genre -> mean noise-averaged z_dan (z_dan,) of a corpus's training songs, in the order of the corpus's genres.

    Songs weigh the same; a genre without a training song has none.

    Raises:
        D2MError: see :func:`extract_corpus_music`.
    """
    how = Extraction(n_draws=1, seed=seed)
    means = extract_corpus_music(generator, corpus, how, ("train",), batch=1).genre_means()
    return {g: means[g] for g in corpus.genres if g in means}


@torch.no_grad()
def extract_dance(
    generator: DanceGenerator,
    corpus: Corpus,
    how: Extraction,
    splits: Sequence[str] = ("train", "val", "test"),
    max_sequences: int = 32,
) -> LatentTable:
    """Latents of a corpus's real dances: the dance encoder on runs of three units, one row per recording.

    Movements enter the dance encoder as (mu, logvar), without noise; mu averages over the sequences of all views.

    Args:
        max_sequences: evenly spaced over a recording, at most.

    Raises:
        D2MError: no recording holds three units in a row.
    """
    starts = np.sort(np.concatenate([corpus.sequence_starts(s) for s in splits]))
    owner = corpus.unit_recording[starts]
    chosen = [(int(r), starts[owner == r]) for r in np.unique(owner)]
    if not chosen:
        raise D2MError(f"{corpus.folder}: no three dance units in a row in {', '.join(splits)}")
    chosen = [(r, s[np.linspace(0, len(s) - 1, min(len(s), max_sequences)).round().astype(int)]) for r, s in chosen]
    net, tables = generator.net, []
    for recording, first in chosen:
        needed, place = np.unique(first[:, None] + np.arange(SEQUENCE_UNITS), return_inverse=True)
        poses = torch.from_numpy(generator.normalizer.normalize_poses(np.asarray(corpus.units[needed])))
        movements = torch.cat(
            [net.movement_encoder(x.to(generator.device)).parameters_cat() for x in poses.split(_UNIT_BATCH)]
        )
        z = net.dance_encoder(movements[torch.from_numpy(place.reshape(-1, SEQUENCE_UNITS))])
        info = corpus.recordings[recording]
        g = _own_generator(how.seed, "dance", info.name)
        pick = torch.randint(len(first), (how.n_draws,), generator=g)
        noise = randn(how.n_draws, z.mu.shape[1], generator=g, like=z.mu)
        draws = z.mu[pick] + (0.5 * z.logvar[pick]).exp() * noise
        rows = {
            "mu": z.mu.mean(0),
            "sigma": (0.5 * z.logvar.mean(0)).exp(),
            "spread": z.mu.std(0) if len(first) > 1 else torch.zeros_like(z.mu[0]),
            "draws": draws,
        }
        tables.append(
            LatentTable(
                song=np.array([info.name]), genre=np.array([info.genre]), split=np.array([info.split]),
                start_s=np.zeros(1), end_s=np.array([info.seconds]), style=np.zeros((1, 0), np.float32),
                **{k: v.float().cpu().numpy()[None] for k, v in rows.items()},
            )
        )  # fmt: skip
    return stack(tables, _meta(generator, "dance", how, corpus=corpus.folder.name))


def song_latent(generator: DanceGenerator, x: NDArray[np.floating], n_noise: int = 64, seed: int = 0) -> Array:
    """Raw features (t, 28) of a song -> noise-averaged z_dan (d,); the same noise for every song."""
    return np.asarray(encode_songs(generator, [("", "", "", x)], Extraction(None, 1, n_noise, seed))[0].mu[0])


def wave_encoder(generator: DanceGenerator, how: Extraction) -> Callable[[Array], Array]:
    """wave (n,) at 22,050 Hz -> :func:`song_latent`."""
    return lambda wave: song_latent(generator, features(wave, generator.front_end), how.n_noise, how.seed)
