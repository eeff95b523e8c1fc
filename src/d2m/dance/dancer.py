"""From a song to a dance: decode it, compute features and beats, dance, save the result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.ahead import ahead
from d2m.core.errors import D2MError
from d2m.core.machine import git_revision, versions
from d2m.core.seeds import check_seed
from d2m.core.skeleton import SAMPLE_RATE, STYLE_FRAMES
from d2m.dance import files
from d2m.dance.encoding import song_latent
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import AnyEdit, SongDance, StrengthCurve, check_edit
from d2m.dance.stream import MEMORY, SongRequest, rows_for
from d2m.dance.together import dance_stream
from d2m.data.songs import SongFile, song_wave
from d2m.music.audio import load_song, n_frames
from d2m.music.beats import track
from d2m.music.front_ends import features

#: Types of songs; see :func:`hear`.
Song = str | Path | SongFile | NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class HeardSong:
    """An analysed song: wave (n,) at 22,050 Hz, and its features (t, n_features) and beats (s).

    path: of its file; None for a wave, or a part of a file.
    """

    wave: NDArray[np.float32]
    features: NDArray[np.float32]
    beats: NDArray[np.float64]
    path: Path | None = None

    @property
    def seconds(self) -> float:
        return len(self.wave) / SAMPLE_RATE

    @property
    def frames(self) -> int:
        """Number of frames of a dance to the whole song, at 15 fps."""
        return n_frames(len(self.wave))


def hear(generator: DanceGenerator, song: Song) -> HeardSong:
    """Decode a song and compute its features and beats, as the bundle needs them.

    Args:
        song: an audio file, a part of one, or a wave (n,) at 22,050 Hz, mono, full scale at 1.

    Raises:
        D2MError: unreadable, silent or shorter than 2 s; or a wave, if the front end reads files.
    """
    path, start_s = (song.path, song.start_s) if isinstance(song, SongFile) else (None, 0.0)
    if isinstance(song, SongFile):
        wave = song_wave(song)
    elif isinstance(song, str | Path):
        path, wave = Path(song), load_song(song)
    else:
        wave = np.asarray(song, np.float32)
    if wave.ndim != 1 or n_frames(len(wave)) < STYLE_FRAMES or not np.isfinite(wave).all():
        raise D2MError(f"a wave of shape {wave.shape}: give (n,) finite numbers, mono at 22,050 Hz, 2 s or more")
    heard = features(wave, generator.front_end, path, start_s)
    whole = None if isinstance(song, SongFile) else path
    return HeardSong(wave, heard, track(wave, generator.beat_tracker), whole)


@dataclass(frozen=True, eq=False)
class Dance:
    """A dance to a song; with an edit, the original, neutral and target dance. See :meth:`save`.

    song: the analysed song. versions: "original" and, with an edit, "neutral" and "target". edit, strength: as
    requested. music_style: genre -> mean probability over the song's windows; music_style_by_segment: the same around
    the centre of every segment (``versions.centres_s``). facts: of the bundle and the machine, for the json.
    """

    song: HeardSong
    versions: SongDance
    seed: int
    warp: bool
    edit: AnyEdit | None = None
    strength: float | StrengthCurve = 1.0
    music_style: Mapping[str, float] = field(default_factory=dict)
    music_style_by_segment: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _shown(self) -> str:
        return "original" if self.edit is None else "target"

    @property
    def poses(self) -> NDArray[np.float32]:
        """(t, 14, 2) pixels at 15 fps; with an edit, those of the target dance."""
        return self.versions.poses[self._shown]

    @property
    def z_dan(self) -> NDArray[np.float32]:
        """(n, z_dan), one per 96 frames of dance; with an edit, those of the target dance."""
        return self.versions.z_dan[self._shown]

    def save(self, path: str | Path) -> Path:
        """Write ``.npz`` (arrays), ``.mp4`` (a video with the song's sound) or ``.json`` (how it was made).

        Raises:
            D2MError: another suffix, or it cannot be written.
        """
        return files.save_dance(self, Path(path))


def _bytes(song: HeardSong | D2MError) -> int:
    return 0 if isinstance(song, D2MError) else song.wave.nbytes + song.features.nbytes


class Dancer:
    """Dances to songs: a :class:`d2m.dance.generator.DanceGenerator` with audio input.

        dancer = Dancer.load("bundle")
        dancer("song.ogg", seed=0).save("dance.mp4")

    Args:
        generator: the networks.
        name: of the bundle, for the files written with its dances.
    """

    def __init__(self, generator: DanceGenerator, name: str = "") -> None:
        self.generator, self.name = generator, name

    @classmethod
    def load(cls, bundle: str | Path, device: str = "cpu", style_mode: str | None = None) -> Dancer:
        """Read a bundle.

        Args:
            style_mode: "local", "windows" or "legacy" instead of the bundle's own.

        Raises:
            D2MError: a file is missing, altered or does not fit the others; no such device or style mode here.
        """
        return cls(DanceGenerator.load(bundle, device, style_mode), Path(bundle).name)

    def hear(self, song: Song) -> HeardSong:
        """See :func:`hear`. For songs that are danced to more than once."""
        return hear(self.generator, song)

    def latent(self, song: Song | HeardSong, seed: int = 0) -> NDArray[np.float32]:
        """The noise-averaged z_dan (d,) of a song, as used for directions and genre means.

        Raises:
            D2MError: see :func:`hear`.
        """
        heard = song if isinstance(song, HeardSong) else self.hear(song)
        return song_latent(self.generator, heard.features, seed=seed)

    def __call__(
        self,
        song: Song | HeardSong,
        *,
        seed: int = 0,
        edit: AnyEdit | None = None,
        strength: float | StrengthCurve = 1.0,
        warp: bool = True,
        z_dan: NDArray[np.floating] | None = None,
    ) -> Dance:
        """Dance to a whole song.

        Args:
            song: an audio file, a wave (n,) at 22,050 Hz, or the result of :meth:`hear`.
            seed: of all noise; edits with the same seed share it.
            edit: such as ``d2m.MeanShift("drive", "flow")``; if it is not fitted, the bundle's genre means are used.
            strength, warp: see :func:`d2m.dance.together.dance_to`.
            z_dan: (d,) for the whole song, or (n, d), instead of the song's own.

        Raises:
            D2MError: a song that cannot be read, an edit that needs more than genre means, or an invalid latent or
                seed.
        """
        _, dance = next(self.many([song], seed=seed, edit=edit, strength=strength, warp=warp, z_dan=z_dan, batch=1))
        if isinstance(dance, D2MError):
            raise dance
        return dance

    def many(
        self,
        songs: Sequence[Song | HeardSong],
        *,
        seed: int | Sequence[int] = 0,
        edit: AnyEdit | None = None,
        strength: float | StrengthCurve = 1.0,
        warp: bool = True,
        z_dan: NDArray[np.floating] | None = None,
        batch: int | None = None,
    ) -> Iterator[tuple[int, Dance | D2MError]]:
        """Dance to many songs together, while the next ones are read on threads.

        Args:
            songs, edit, strength, warp, z_dan: see :meth:`__call__`.
            seed: one for all songs, or one for each; songs with the same seed start with the same noise.
            batch: number of dances computed together; with 1, each is bit-identical to that of :meth:`__call__`. By
                default as many as memory allows, or 1 for fewer than six songs. See
                :func:`d2m.dance.together.dance_stream`.

        Yields:
            (number of the song, its dance or its error), in the order in which they finish.

        Raises:
            D2MError: an invalid seed, batch or edit.
        """
        seeds = [seed] * len(songs) if isinstance(seed, int) else list(seed)
        for each in seeds:
            check_seed(each, -(2**63), 2**63 - 1)  # torch's
        check_edit(edit)
        if batch is not None and batch < 1:
            raise D2MError(f"batch={batch}: give a whole number of at least 1, or None")
        return self._many(songs, seeds, edit, strength, warp, z_dan, batch)

    def _many(
        self, songs: Sequence[Song | HeardSong], seeds: Sequence[int], edit: AnyEdit | None,
        strength: float | StrengthCurve, warp: bool, z_dan: NDArray[np.floating] | None, batch: int | None,
    ) -> Iterator[tuple[int, Dance | D2MError]]:  # fmt: skip
        g, heard, bad = self.generator, dict[int, HeardSong](), deque[tuple[int, D2MError]]()
        facts = {**self._facts, "style_mode": g.style_mode, "z_dan": None if z_dan is None else "given"}
        numbers: list[int] = []  # of the songs being danced to

        def requests() -> Iterator[SongRequest]:
            for i, song in enumerate(ahead(self._try_to_hear, songs, _bytes, MEMORY)):
                if isinstance(song, D2MError):
                    bad.append((i, song))
                    continue
                heard[i] = song
                numbers.append(i)
                yield SongRequest(song.features, song.beats, song.frames, seeds[i], edit, strength, warp, z_dan)

        for k, danced in dance_stream(g, requests(), rows=rows_for(len(songs), g.net.sizes, batch)):
            while bad:
                yield bad.popleft()
            song = heard.pop(numbers[k])
            if isinstance(danced, D2MError):
                yield numbers[k], danced
                continue
            votes = [g.by_genre(v) for v in danced.music_votes_by_segment]
            whole = g.by_genre(danced.music_votes)
            yield numbers[k], Dance(song, danced, seeds[numbers[k]], warp, edit, strength, whole, votes, facts)
        yield from bad

    def _try_to_hear(self, song: Song | HeardSong) -> HeardSong | D2MError:
        try:
            return song if isinstance(song, HeardSong) else self.hear(song)
        except D2MError as e:
            return e

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return {
            "bundle": self.name,
            "bundle_weights_sha256": self.generator.provenance.get("files", {}).get("weights.safetensors"),
            "git": git_revision(),
            "versions": versions(),
        }
