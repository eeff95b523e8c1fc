"""The dances of one bundle, kept between requests: songs heard once, originals danced once, edits fitted once.

What is computed here is computed as :func:`d2m.dance.together.dance_to` does it, version by version, so that what
the page shows is what :func:`dance_of` writes, to the bit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.skeleton import FPS, SEQUENCE_FRAMES
from d2m.dance.clock import put_on_beats
from d2m.dance.dancer import Dance, Dancer, HeardSong, Song
from d2m.dance.generator import DanceGenerator
from d2m.dance.noise import DanceNoise
from d2m.dance.pinned import PinnedDraws
from d2m.dance.song_dance import Edit, accepted_noise
from d2m.edits.combined import Combined, Strengths
from d2m.edits.edit import LatentEdit
from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.request import EditRequest, build_edit
from d2m.edits.strength import blend
from d2m.studio.kept import Kept
from d2m.studio.state import State, StateEdit

Poses = NDArray[np.float32]
#: Segments that are danced for a provisional picture: the one at the playhead and the next.
AHEAD = 2


class Tick(Protocol):
    """Called again and again while something takes long; raises to end it."""

    def __call__(self, doing: str = "", share: float | None = None) -> None: ...


def _never(doing: str = "", share: float | None = None) -> None:
    """A :class:`Tick` that goes on."""


def _drawn(dancer: Dancer, state: State) -> Dancer:
    """The dancer with the state's draws and style mode."""
    g = dancer.generator
    if state.style_mode is not None:
        g = replace(g, style_mode=state.style_mode)  # type: ignore[arg-type]
    if state.draws:
        g = PinnedDraws.of(g, state.draws)
    return dancer if g is dancer.generator else Dancer(g, dancer.name)


def _named_draws(dancer: Dancer, dance: Dance) -> Dance:
    """The dance with its draws' own numbers."""
    g = dancer.generator
    if not isinstance(g, PinnedDraws):
        return dance
    return replace(dance, versions=replace(dance.versions, draws=g.chosen(dance.versions.draws)))


def dance_of(dancer: Dancer, state: State, song: Song | HeardSong | None = None) -> Dance:
    """The dance that a state describes.

    Args:
        dancer: of the state's bundle. song: instead of the state's.

    Raises:
        D2MError: a song that cannot be read, an edit or draw that the bundle does not have.
    """
    edit, strength = state.edit(dancer.generator)
    drawn = _drawn(dancer, state)
    song = state.song if song is None else song
    dance = drawn(song, seed=state.seed, warp=state.warp, edit=edit, strength=strength)  # type: ignore[arg-type]
    return _named_draws(drawn, dance)


@dataclass(frozen=True, eq=False)
class Original:
    """An unedited dance with what its edits share: noise (1, n, 1) of the accepted draws."""

    dance: Dance
    generator: DanceGenerator
    noise: DanceNoise
    key: str

    def frames_of(self, segment: int, count: int) -> tuple[int, int]:
        """First and last + 1 frame of the song in which segments are shown, about: half-way between their middles."""
        centres = self.dance.versions.centres_s
        edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [self.dance.song.frames / FPS]])
        last = min(segment + count, len(centres))
        return round(edges[segment] * FPS), min(round(edges[last] * FPS), self.dance.song.frames)

    def segment_at(self, seconds: float) -> int:
        """The segment that is shown then, about."""
        return int(np.abs(self.dance.versions.centres_s - seconds).argmin())


class _Remembered:
    """An optimised edit that optimises once and only blends afterwards, with the bits of optimising again."""

    def __init__(self, edit: OptimisedEdit, original: Original) -> None:
        self.of_dance = edit.for_dance(original.generator, original.noise)
        self.best: NDArray[np.floating] | None = None

    def neutral(self, z: NDArray[np.floating], strength: Any) -> NDArray[np.floating]:
        return self.of_dance.neutral(z, strength)

    def transform(self, z: NDArray[np.floating], strength: Any) -> NDArray[np.floating]:
        s = np.asarray(strength, np.float64)
        if not s.any():
            return z
        if self.best is None:
            self.best = self.of_dance.transform(z, 1.0)
        whole = (s == 1)[..., None] if s.ndim else s == 1
        return np.where(whole, self.best, blend(z, self.best - z, s))


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page draws: poses of every version on the song's time, and as decoded."""

    original: Original
    poses: dict[str, Poses]
    unwarped: dict[str, Poses]


def _optimises(edit: StateEdit) -> bool:
    return edit.request.get("name") == OptimisedEdit.name


def _file_key(song: str) -> str:
    """Of a song as it is now."""
    about = os.stat(song) if os.path.isfile(song) else None
    return json.dumps([song, about and about.st_mtime_ns, about and about.st_size])


@contextmanager
def _watched(generator: DanceGenerator, step: Callable[[], None]) -> Iterator[None]:
    """``step`` before every decoded unit; what it raises ends the dance."""
    handle = generator.net.unit_decoder.register_forward_pre_hook(lambda *_: step())
    try:
        yield
    finally:
        handle.remove()


class Session:
    """One bundle and what was made with it; used by one thread.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: str, device: str = "cpu") -> None:
        self.folder, self.dancer = folder, Dancer.load(folder, device=device)
        self._songs: Kept[HeardSong] = Kept(4)
        self._originals: Kept[Original] = Kept(6)
        self._fitted: Kept[LatentEdit | None] = Kept(64)
        self._optimised: Kept[_Remembered] = Kept(8)
        self._last: Kept[Shown] = Kept(2)

    def hear(self, song: str, tick: Tick = _never) -> HeardSong:
        """A song, once; a file that was changed since is heard again."""

        def listen() -> HeardSong:
            tick("listening to the song")
            return self.dancer.hear(Path(song))

        return self._songs.get(_file_key(song), listen)

    def original(self, state: State, tick: Tick = _never) -> Original:
        """The unedited dance of a state."""
        heard = self.hear(state.song, tick)
        key = json.dumps({**state.plain(), "edits": [], "file": _file_key(state.song)})

        def make() -> Original:
            drawn = _drawn(self.dancer, state)
            with self._ticking(drawn.generator, tick, "dancing"):
                dance = drawn(heard, seed=state.seed, warp=state.warp)
            noise = accepted_noise(drawn.generator, dance.versions, state.seed)
            return Original(_named_draws(drawn, dance), self._plain(drawn.generator), noise, key)

        return self._originals.get(key, make)

    def _plain(self, generator: DanceGenerator) -> DanceGenerator:
        return replace(self.dancer.generator, style_mode=generator.style_mode)

    @contextmanager
    def _ticking(self, generator: DanceGenerator, tick: Tick, doing: str, units: int = 0) -> Iterator[None]:
        done = 0

        def step() -> None:
            nonlocal done
            tick(doing, min(done / units, 1.0) if units else None)
            done += 1

        with _watched(generator, step):
            yield

    def _edit(self, edit: StateEdit, original: Original, state: State) -> Any:
        request = json.dumps(edit.request, sort_keys=True)
        fitted = self._fitted.get(request, lambda: build_edit(EditRequest.of(edit.request), self.dancer.generator))
        if isinstance(fitted, OptimisedEdit):
            key = f"{original.key} {request}"
            return self._optimised.get(key, lambda: _Remembered(fitted, original))
        return fitted

    def is_quick(self, state: State) -> bool:
        """Whether the state's edits need no optimiser."""
        return not any(map(_optimises, state.edits))

    def latents(self, state: State, original: Original) -> dict[str, NDArray[np.float32]]:
        """neutral and target (n, z_dan) of a state's edits; {} if there are none."""
        versions = original.dance.versions
        base, centres = versions.z_dan["original"], versions.centres_s
        built = [(self._edit(e, original, state), e.amount()) for e in state.edits]
        parts = [(edit, amount) for edit, amount in built if edit is not None]
        if not parts:
            return {}
        bound: Edit
        amount: Any
        if len(parts) > 1:
            bound = Combined.bind([edit for edit, _ in parts], original.generator, original.noise)
            amount = Strengths([own for _, own in parts]).at(centres)
        else:
            (edit, own) = parts[0]
            bound = edit.for_dance(original.generator, original.noise) if isinstance(edit, LatentEdit) else edit
            amount = own if isinstance(own, float) else own.at(centres)
        return {"neutral": bound.neutral(base, amount), "target": bound.transform(base, amount)}

    def show(self, state: State, tick: Tick = _never) -> Shown:
        """All versions of a state's dance, exact.

        Raises:
            D2MError: see :func:`dance_of`.
        """
        original = self.original(state, tick)
        versions = original.dance.versions
        n = 3 * len(versions.centres_s)
        # A dance for every step, and those that the edit is judged by.
        steps = sum(int(e.request.get("steps", 100)) + 8 for e in state.edits if _optimises(e))
        with self._ticking(original.generator, tick, "optimising", n * steps):
            latents = self.latents(state, original)
        poses, unwarped = dict(versions.poses), dict(versions.unwarped)
        for name, z in latents.items():
            if np.array_equal(z, versions.z_dan["original"]):
                poses[name], unwarped[name] = versions.poses["original"], versions.unwarped["original"]
                continue
            with self._ticking(original.generator, tick, f"dancing the {name}", n):
                unwarped[name] = self._decode(original, z)
            poses[name] = self._on_song(original, unwarped[name])
        return self._last.put(self._key(state), Shown(original, poses, unwarped))

    @staticmethod
    def _key(state: State) -> str:
        return json.dumps({**state.plain(), "edits": []})

    @torch.no_grad()
    def _decode(
        self, original: Original, z: NDArray[np.floating], segment: int = 0, first_pose: Poses | None = None
    ) -> Poses:
        """Latents of segments from ``segment`` on -> unwarped poses (m, 14, 2) px, after ``first_pose`` (14, 2) px."""
        g, n = original.generator, original.noise
        own = slice(segment, segment + len(z))
        noise = DanceNoise(n.audio[:, own], n.z_dan[:, own], n.z_mov[:, own], n.z_ini[:, own])
        rows = torch.from_numpy(np.asarray(z)).to(next(g.net.parameters()))[None, :, None]
        start = None
        if first_pose is not None:
            pixels = torch.from_numpy(first_pose.reshape(1, -1)).to(rows)
            start = g.normalizer.normalize_poses(pixels)
        danced = g.choreograph(rows, noise, first_pose=start).poses[0]
        whole: Poses = g.to_pixels(danced).float().cpu().numpy()
        source = len(original.dance.versions.unwarped["original"])
        return whole[: source - SEQUENCE_FRAMES * segment]

    def _on_song(self, original: Original, unwarped: Poses) -> Poses:
        song = original.dance.song
        return put_on_beats(unwarped, song.beats, song.frames) if original.dance.warp else unwarped[: song.frames]

    def provisional(self, state: State, seconds: float) -> tuple[int, Poses] | None:
        """The target about the playhead, from the last pose that was shown before it: quick, not exact.

        Returns:
            First frame and poses (m, 14, 2) of the segment at the playhead and the next; None if nothing was shown
            yet that it could go on from, or an optimiser is asked for.
        """
        last = self._last.find(self._key(state))
        if last is None or not state.edits or not self.is_quick(state):
            return None
        original = last.original
        z = self.latents(state, original).get("target")
        if z is None:
            return None
        before = last.unwarped.get("target", last.unwarped["original"])
        s = original.segment_at(seconds)
        first = None if s == 0 else before[SEQUENCE_FRAMES * s - 1]
        new = self._decode(original, z[s : s + AHEAD], s, first)
        unwarped = before.copy()
        unwarped[SEQUENCE_FRAMES * s : SEQUENCE_FRAMES * s + len(new)] = new
        a, b = original.frames_of(s, AHEAD)
        return a, self._on_song(original, unwarped)[a:b]
