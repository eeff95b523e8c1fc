"""Systems in an evaluation: real dances, baselines without networks, and bundles.

A system is a name and a function from recordings of the corpus to their draws, one :class:`DanceToSong` each. Baselines
use only training recordings, so that no held-out movement is on both sides of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.skeleton import FPS, N_JOINTS, SEQUENCE_UNITS, UNIT_FRAMES
from d2m.dance.clock import frames_needed, put_on_beats, segments_needed
from d2m.dance.generator import DanceGenerator
from d2m.dance.stream import SongRequest, rows_together
from d2m.dance.together import dance_all
from d2m.data.corpus import Corpus
from d2m.metrics.figure import DanceToSong

Poses = NDArray[np.float32]

#: The ground truth's row.
REAL = "real"


@dataclass(frozen=True)
class System:
    """name: of its row. dances: recordings -> the draws of each, in order. key: changes whenever the dances would."""

    name: str
    dances: Callable[[Sequence[int]], Iterator[list[DanceToSong]]]
    key: str


def _each(name: str, dances: Callable[[int], list[DanceToSong]], key: str) -> System:
    """A system that dances to one song after the other."""
    return System(name, partial(map, dances), key)


def _dance(corpus: Corpus, i: int, poses: Poses, unwarped: Poses | None = None) -> DanceToSong:
    info = corpus.recordings[i]
    return DanceToSong(
        song=info.name, genre=info.genre, poses=poses, fps=FPS, music_beats=corpus.song_beats(i),
        music_features=np.asarray(corpus.song_features(i)), unwarped=unwarped,
    )  # fmt: skip


def _rng(corpus: Corpus, i: int, seed: int) -> np.random.Generator:
    """Random numbers of a song, independent of the other songs."""
    return np.random.default_rng([seed, *corpus.recordings[i].name.encode()])


def _units_of(corpus: Corpus, i: int, view: int) -> NDArray[np.int64]:
    """Numbers of a recording's dance units, seen by one camera, in order."""
    return np.flatnonzero((np.asarray(corpus.unit_recording) == i) & (np.asarray(corpus.unit_view) == view))


def _from_units(corpus: Corpus, i: int, units: NDArray[np.integer]) -> DanceToSong:
    """Concatenated units of the corpus, repeated as necessary, on the beats of recording i."""
    frames, beats = len(corpus.song_features(i)), corpus.song_beats(i)
    needed = -(-frames_needed(beats, frames) // UNIT_FRAMES)
    rows = np.resize(units, max(needed, 1))
    order = np.argsort(rows, kind="stable")  # read the memory map in order
    strip = np.empty((len(rows), UNIT_FRAMES, N_JOINTS, 2), np.float32)
    strip[order] = np.asarray(corpus.units[rows[order]]).reshape(len(rows), UNIT_FRAMES, N_JOINTS, 2)
    whole = strip.reshape(-1, N_JOINTS, 2)
    return _dance(corpus, i, put_on_beats(whole, beats, frames), whole)


def _real(corpus: Corpus, i: int) -> list[DanceToSong]:
    out = []
    for view in range(corpus.n_views(i)):
        mine = _units_of(corpus, i, view)
        # Concatenated units correspond to a generated dance before the beat warp.
        strip = np.asarray(corpus.units[mine]).reshape(-1, N_JOINTS, 2) if len(mine) else None
        out.append(_dance(corpus, i, corpus.song_poses(i, view), strip))
    return out


def _mean_pose(corpus: Corpus, i: int) -> list[DanceToSong]:
    pose = corpus.normalizer.pose_mean.reshape(1, N_JOINTS, 2)
    still = np.repeat(np.asarray(pose, np.float32), len(corpus.song_features(i)), axis=0)
    return [_dance(corpus, i, still, still)]


def _shuffled_units(corpus: Corpus, seed: int, i: int) -> list[DanceToSong]:
    """Random training units of all genres: real movement, unrelated to the music and discontinuous."""
    train = corpus.units_in("train")
    needed = -(-frames_needed(corpus.song_beats(i), len(corpus.song_features(i))) // UNIT_FRAMES)
    return [_from_units(corpus, i, _rng(corpus, i, seed).choice(train, needed))]


def _retrieval(corpus: Corpus, style: Callable[[int], NDArray[np.floating]], seed: int, i: int) -> list[DanceToSong]:
    """The dance of the training song with the nearest music style, unit by unit on this song's beats."""
    train = [int(k) for k in corpus.recordings_in("train", with_music=True)]
    train = [k for k in train if (np.asarray(corpus.unit_recording) == k).any()]
    mine = style(i)
    nearest = min(train, key=lambda k: float(np.linalg.norm(style(k) - mine)))
    view = int(_rng(corpus, i, seed).integers(corpus.n_views(nearest)))
    return [_from_units(corpus, i, _units_of(corpus, nearest, view))]


def _of_another_song(corpus: Corpus, seed: int, same: bool, i: int) -> list[DanceToSong]:
    """The real dance of another training song in its own time, truncated to the shorter one; same or other genre."""
    genre = corpus.recordings[i].genre
    others = [int(k) for g in corpus.genres if (g == genre) is same for k in corpus.recordings_in("train", g)]
    if not others:
        return []
    rng = _rng(corpus, i, seed)
    k = others[int(rng.integers(len(others)))]
    poses = corpus.song_poses(k, int(rng.integers(corpus.n_views(k))))
    return [_dance(corpus, i, np.asarray(poses[: len(corpus.song_features(i))]))]


def real(corpus: Corpus) -> System:
    """The ground truth: every camera's view of the song's own dance."""
    return _each(REAL, partial(_real, corpus), corpus.digest)


def baselines(corpus: Corpus, generator: DanceGenerator, seed: int) -> list[System]:
    """The baselines; retrieval uses the music style network of ``generator``."""
    styles: dict[int, NDArray[np.floating]] = {}

    def style(i: int) -> NDArray[np.floating]:
        if i not in styles:
            styles[i] = generator.style(corpus.song_features(i)).float().cpu().numpy()
        return styles[i]

    key = f"{corpus.digest} {seed}"
    weights = str(generator.provenance.get("files", {}).get("weights.safetensors"))
    return [
        _each("mean pose", partial(_mean_pose, corpus), key),
        _each("shuffled real units", partial(_shuffled_units, corpus, seed), key),
        _each("retrieval by style", partial(_retrieval, corpus, style, seed), f"{key} {weights}"),
        _each("real, same genre", partial(_of_another_song, corpus, seed, True), key),
        _each("real, other genre", partial(_of_another_song, corpus, seed, False), key),
    ]


def _together(
    generator: DanceGenerator, corpus: Corpus, request: Callable[[int], list[SongRequest]], draws: int,
    songs: Sequence[int],
) -> Iterator[list[DanceToSong]]:  # fmt: skip
    """Dances to songs, computed together as memory allows, with results that do not depend on the grouping."""
    rows = rows_together(generator.net.sizes)
    step = max(1, rows // draws)
    for part in (songs[k : k + step] for k in range(0, len(songs), step)):
        asked = [request(i) for i in part]
        danced = iter(dance_all(generator, [r for of_song in asked for r in of_song], rows=rows))
        for i, of_song in zip(part, asked, strict=True):
            own = [next(danced) for _ in of_song]
            yield [_dance(corpus, i, d.poses["original"], d.unwarped["original"]) for d in own]


def real_latents_system(name: str, generator: DanceGenerator, corpus: Corpus, seed: int) -> System:
    """A bundle that decodes the z_dan of the song's real dance instead of the music's, to isolate its decoders.

    If this row is close to the real one and the bundle's own is not, the music encoder is at fault, not the decoders.
    """

    @torch.no_grad()
    def request(i: int) -> list[SongRequest]:
        beats, frames = corpus.song_beats(i), len(corpus.song_features(i))
        n = segments_needed(beats, frames, warp=True)
        units = _units_of(corpus, i, 0)
        if not len(units):
            return []
        rows = np.asarray(corpus.units[np.resize(units, SEQUENCE_UNITS * n)])
        poses = torch.from_numpy(generator.normalizer.normalize_poses(rows)).to(generator.device)
        movements = generator.net.movement_encoder(poses).reshape(n, SEQUENCE_UNITS)
        z = generator.net.dance_encoder(movements.parameters_cat())
        noise = np.random.default_rng(seed).standard_normal(z.mu.shape).astype(np.float32)
        sample = z.sample(torch.from_numpy(noise).to(z.mu)).float().cpu().numpy()
        return [SongRequest(corpus.song_features(i), beats, frames, seed, z_dan=sample)]

    files = generator.provenance.get("files", {})
    return System(
        f"{name}, real z_dan", partial(_together, generator, corpus, request, 1), f"{corpus.digest} {files} {seed}"
    )


def bundle_system(name: str, generator: DanceGenerator, corpus: Corpus, draws: int, seed: int) -> System:
    """A bundle, dancing ``draws`` times to every song with seeds ``seed`` to ``seed + draws - 1``."""

    def request(i: int) -> list[SongRequest]:
        features, beats = corpus.song_features(i), corpus.song_beats(i)
        return [SongRequest(features, beats, len(features), seed + k) for k in range(draws)]

    files = generator.provenance.get("files", {})
    return System(
        name,
        partial(_together, generator, corpus, request, draws),
        f"{corpus.digest} {files} {generator.style_mode} {draws} {seed}",
    )
