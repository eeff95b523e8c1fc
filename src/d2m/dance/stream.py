"""Batched generation: many songs and their versions as rows of one stream, run by :mod:`d2m.dance.together`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SAMPLE_RATE, SEQUENCE_FRAMES, STYLE_FRAMES, UNIT_FRAMES
from d2m.dance.clock import Clock, segments_needed
from d2m.dance.generator import DanceGenerator
from d2m.dance.heard_style import HeardStyle
from d2m.dance.lines import ROWS, Choreography, Line, advance
from d2m.dance.noise import DanceNoise, one_after_the_other, pick_draws
from d2m.dance.song_dance import AnyEdit, DanceEdit, SongDance, StrengthCurve, check_edit, fit_z_dan
from d2m.nets.sizes import Sizes

#: Approximate bytes for the songs of a stream and their unrolling; the longer the songs, the fewer run together.
MEMORY = 512 * 2**20
#: Number of rows beyond which the cost per row hardly falls.
MAX_ROWS = 64
#: Smallest number of songs for which batching is cheaper than one by one (:func:`rows_for`).
FEW = 6


@dataclass(frozen=True, eq=False)
class SongRequest:
    """A requested dance.

    Args:
        features: raw features (t, n_features), t >= 30, of the whole song. The generator's style mode determines the
            style of every segment of 96 frames: under "local", that of the music around its middle.
        music_beats: seconds, increasing.
        n_frames: length of the dance at 15 fps.
        seed: of all noise; two edits of a song with the same seed share it.
        edit, strength: also generate the neutral and the target dance. Draws are accepted on the original; the edits
            reuse them. Strength 0 gives the original, bit-identical. A schedule is evaluated in the middle of every
            segment of 96 frames.
        warp: time-warp the dance's beats (frames 3 + 8 k) onto the music's.
        z_dan: latents instead of the song's own, see :func:`d2m.dance.song_dance.fit_z_dan`.
    """

    features: NDArray[np.floating]
    music_beats: NDArray[np.float64]
    n_frames: int
    seed: int
    edit: AnyEdit | None = None
    strength: float | StrengthCurve = 1.0
    warp: bool = True
    z_dan: NDArray[np.floating] | None = None


def rows_together(sizes: Sizes) -> int:
    """How many dances are unrolled together: as many as fit in a quarter of :data:`MEMORY`, from 8 to
    :data:`MAX_ROWS`."""
    row = 4 * UNIT_FRAMES * 12 * sizes.unit_hidden  # gates, states and the head's layers of a unit
    return max(ROWS, min(MAX_ROWS, MEMORY // 4 // row // ROWS * ROWS))


def rows_for(songs: int, sizes: Sizes, batch: int | None = None) -> int:
    """Number of rows for this many songs, unless given by ``batch``; for few songs padding would cost more than it
    saves."""
    return batch or (1 if songs < FEW else rows_together(sizes))


def song_bytes(n_frames: int, sizes: Sizes, draws: int) -> int:
    """Approximate bytes of a song of ``n_frames`` while in the stream: wave, features, noise, latents and poses."""
    segment = 4 * draws * (sizes.style + 2 * sizes.z_dan + 3 * (sizes.z_mov + sizes.z_ini))
    return n_frames * (4 * SAMPLE_RATE // FPS + 8 * sizes.n_features + segment // SEQUENCE_FRAMES + 2048)


@dataclass(eq=False)
class _Song:
    """A song in progress: features encoded, then the original generated, then its edits."""

    index: int
    request: SongRequest
    clock: Clock
    centres: NDArray[np.float64]
    noise: DanceNoise
    heard: HeardStyle
    base: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    facts: dict[str, Any] = field(default_factory=dict)
    latents: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    danced: dict[str, Choreography] = field(default_factory=dict)


class Stream:
    """Lines (one version of one song each), at most ``rows`` at once; a song leaves when all its versions are done."""

    def __init__(self, generator: DanceGenerator, rows: int) -> None:
        self.generator, self.rows = generator, rows
        self.lines: dict[Line, tuple[_Song, str]] = {}
        self.waiting: deque[tuple[Line, _Song, str]] = deque()
        self.songs: set[_Song] = set()

    @property
    def bytes_held(self) -> int:
        g = self.generator
        return sum(song_bytes(s.request.n_frames, g.net.sizes, g.max_draws) for s in self.songs)

    def admit(self, arrived: Sequence[tuple[int, SongRequest]]) -> Iterator[tuple[int, D2MError]]:
        """Encode these songs' music in one batch and begin their originals; yields (index, error) of invalid
        requests."""
        g, good = self.generator, []
        for index, r in arrived:
            try:
                good.append((index, _checked(r, g.net.sizes.z_dan)))
            except D2MError as e:
                yield index, e
        songs = []
        for (index, r), style in zip(good, g.heard_styles([r.features for _, r in good]), strict=True):
            clock = Clock.make(r.music_beats, r.n_frames, r.warp)
            n = -(-clock.n_source // SEQUENCE_FRAMES)
            noise = g.draw_noise(n, torch.Generator().manual_seed(r.seed))
            songs.append(_Song(index, r, clock, clock.segment_centres_s(n), noise, style))
        for s, z in zip(songs, self._latents(songs), strict=True):
            self.waiting.append((Line(z, s.noise.to(g.device), g.motion_threshold), s, "original"))
        self.songs |= set(songs)

    def _latents(self, songs: Sequence[_Song]) -> list[Tensor]:
        """The songs' z_dan, (n, k, z_dan) each: given by the request, or computed from the music."""
        g, own = self.generator, [s for s in songs if s.request.z_dan is None]
        encoded: dict[_Song, Tensor] = {}
        if own:
            styles = torch.cat([s.heard.segment_styles(s.centres, g.style_mode) for s in own])
            z = g.encode_style(styles[None], one_after_the_other([s.noise for s in own])).sample[0]
            encoded = dict(zip(own, z.split([len(s.centres) for s in own]), strict=True))

        def given(s: _Song) -> Tensor:
            z = torch.from_numpy(np.asarray(s.request.z_dan)).to(next(g.net.parameters()))
            return z[:, None].expand(-1, s.noise.audio.shape[2], -1)

        return [encoded[s] if s in encoded else given(s) for s in songs]

    def step(self) -> Iterator[tuple[int, SongDance | D2MError]]:
        """Generate one segment of every line; yields the finished songs."""
        while self.waiting and len(self.lines) < self.rows:
            line, song, name = self.waiting.popleft()
            self.lines[line] = song, name
        advance(self.generator.net, list(self.lines), alone=self.rows == 1)
        for line, (song, name) in list(self.lines.items()):
            if line.unfinished:
                continue
            del self.lines[line]
            song.danced[name] = line.danced()
            try:
                if name == "original":
                    self._edit(song, line)
                if song.danced.keys() == song.latents.keys():
                    yield song.index, self._finished(song)
                    self.songs.remove(song)
            except D2MError as e:
                self.songs.remove(song)
                yield song.index, e

    def _edit(self, song: _Song, line: Line) -> None:
        """Record the accepted latents and, if there is an edit, begin the lines of the edited versions."""
        g, r = self.generator, song.request
        draws = song.danced["original"].draws[None]
        base = pick_draws(line.z_dan[None], draws.to(line.z_dan.device))[0, :, 0].cpu().numpy()
        song.latents = {"original": base}
        if r.edit is None:
            return
        noise = song.noise.pick(draws)
        edit = r.edit.for_dance(g, noise) if isinstance(r.edit, DanceEdit) else r.edit
        amount = r.strength if isinstance(r.strength, int | float) else r.strength.at(song.centres)
        song.latents |= {"neutral": edit.neutral(base, amount), "target": edit.transform(base, amount)}
        song.facts = getattr(edit, "facts", {})
        for name in ("neutral", "target"):
            z = np.asarray(song.latents[name])
            if np.array_equal(z, base):  # on every device, strength 0 must equal the original
                song.danced[name] = song.danced["original"]
            else:
                rows = torch.from_numpy(z).to(device=g.device, dtype=line.z_dan.dtype)[:, None]
                self.waiting.append((Line(rows, noise.to(g.device)), song, name))

    def _finished(self, song: _Song) -> SongDance:
        clock, original = song.clock, song.danced["original"]
        pixels: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}  # key: choreography, shared by versions
        for danced in song.danced.values():
            if id(danced) not in pixels:
                decoded = self.generator.to_pixels(danced.poses[: clock.n_source]).float().cpu().numpy()
                pixels[id(danced)] = clock.apply(decoded), decoded
        shown = {name: pixels[id(song.danced[name])] for name in song.latents}
        return SongDance(
            poses={k: poses for k, (poses, _) in shown.items()},
            unwarped={k: unwarped for k, (_, unwarped) in shown.items()},
            z_dan={k: z.astype(np.float32) for k, z in song.latents.items()},
            music_beats=np.asarray(song.request.music_beats, np.float64),
            dance_beats=clock.beats_s(),
            draws=original.draws.numpy(),
            accepted=original.accepted.numpy(),
            centres_s=song.centres,
            music_votes=song.heard.song_votes().float().cpu().numpy(),
            music_votes_by_segment=song.heard.segment_votes(song.centres).float().cpu().numpy(),
            edit_facts=song.facts,
        )


def _checked(r: SongRequest, width: int) -> SongRequest:
    """The validated request, with z_dan of shape (n, z_dan).

    Raises:
        D2MError: features of less than 2 s, a z_dan of the wrong shape, or an invalid edit.
    """
    check_edit(r.edit)
    if len(r.features) < STYLE_FRAMES:
        raise D2MError(f"features of {len(r.features)} frames: give a song of 2 s or more")
    if r.z_dan is None:
        return r
    return replace(r, z_dan=fit_z_dan(r.z_dan, segments_needed(r.music_beats, r.n_frames, r.warp), width))
