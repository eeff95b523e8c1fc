"""z_dan of many songs, from their music or from their dances, into one :class:`d2m.dance.table.LatentTable`.

Songs are decoded on threads and encoded together; finished songs are cached under a digest of everything
that their latents depend on, so that a killed run resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.bundle import sha256
from d2m.core.errors import D2MError
from d2m.core.gaussian import randn
from d2m.core.skeleton import SEQUENCE_UNITS, STYLE_FRAMES
from d2m.dance.encoding import Extraction, encode_songs, keyed_generator, space_of
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable, stack
from d2m.data.corpus import Corpus
from d2m.data.songs import SongFile, song_wave
from d2m.music.front_ends import features, front_end

#: (songs done so far, song seconds done so far) -> nothing.
Progress = Callable[[int, float], None]
_UNIT_BATCH = 256


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
        batch: number of songs decoded (on threads) and encoded together.

    Returns:
        The table, with rows in the order of the songs, and a line for every song that could not be read.

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
                    pass  # a damaged file: extract the song again
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


def check_hears_alike(generator: DanceGenerator, corpus: Corpus) -> None:
    """Check that a corpus has the features that a bundle needs.

    Raises:
        D2MError: its features are from another front end.
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
        recordings: use these, in this order, instead of all recordings with music in the splits.
        batch: number of songs encoded together; with 1, a song's latents do not depend on the others, to the bit.

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

    Songs have equal weight; genres without training songs are omitted.

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

    The dance encoder receives movements as (mu, logvar), without noise; mu averages over the sequences of all views.

    Args:
        max_sequences: maximum per recording, evenly spaced.

    Raises:
        D2MError: no recording has three consecutive units.
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
        g = keyed_generator(how.seed, "dance", info.name)
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
