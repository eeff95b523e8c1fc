"""Cached work on one bundle: songs are encoded once, originals generated once, edits fitted once.

Every version is computed as in :func:`d2m.dance.together.dance_to`, so that what the page shows is bit-identical to
what :func:`d2m.studio.dances.dance_of` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.dance.dancer import Dancer, HeardSong
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import Edit, accepted_noise
from d2m.edits.combined import Combined, Strengths
from d2m.edits.edit import LatentEdit
from d2m.edits.optimised_dance import OptimisedEdit
from d2m.edits.request import EditRequest, build_edit
from d2m.studio.dances import drawn_by, with_named_draws
from d2m.studio.decode import decoded, on_song, two_segments
from d2m.studio.kept import Kept
from d2m.studio.original import Original, Poses, Shown
from d2m.studio.remembered import Remembered
from d2m.studio.state import State, StateEdit
from d2m.studio.worker import Tick, never


def _optimises(edit: StateEdit) -> bool:
    return edit.request.get("name") == OptimisedEdit.name


def _file_key(song: str) -> str:
    """Cache key of a song file that changes with the file."""
    about = os.stat(song) if os.path.isfile(song) else None
    return json.dumps([song, about and about.st_mtime_ns, about and about.st_size])


@contextmanager
def _watched(generator: DanceGenerator, step: Callable[[], None]) -> Iterator[None]:
    """Call ``step`` before every decoded unit; if it raises, the dance is aborted."""
    handle = generator.net.initial_pose_encoder.register_forward_pre_hook(lambda *_: step())
    try:
        yield
    finally:
        handle.remove()


class Session:
    """One bundle with its cached dances; used by a single thread.

    Args:
        folder: of the bundle.
    """

    def __init__(self, folder: str, device: str = "cpu") -> None:
        self.folder, self.dancer = folder, Dancer.load(folder, device=device)
        self._songs: Kept[HeardSong] = Kept(4)
        self._originals: Kept[Original] = Kept(6)
        self._fitted: Kept[LatentEdit | None] = Kept(64)
        self._optimised: Kept[Remembered] = Kept(8)
        self._last: Kept[Shown] = Kept(2)

    def hear(self, song: str, tick: Tick = never) -> HeardSong:
        """A song's features and beats, computed once; again if the file has changed."""

        def listen() -> HeardSong:
            tick("listening to the song")
            return self.dancer.hear(Path(song))

        return self._songs.get(_file_key(song), listen)

    def original(self, state: State, tick: Tick = never) -> Original:
        """The unedited dance of a state."""
        heard = self.hear(state.song, tick)
        key = json.dumps({**state.plain(), "edits": [], "file": _file_key(state.song)})

        def make() -> Original:
            drawn = drawn_by(self.dancer, state)
            with self._ticking(drawn.generator, tick, "dancing"):
                dance = drawn(heard, seed=state.seed, warp=state.warp)
            noise = accepted_noise(drawn.generator, dance.versions, state.seed)
            return Original(with_named_draws(drawn, dance), self._plain(drawn.generator), noise, key)

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

    def _edit(self, edit: StateEdit, original: Original) -> Any:
        request = json.dumps(edit.request, sort_keys=True)
        fitted = self._fitted.get(request, lambda: build_edit(EditRequest.of(edit.request), self.dancer.generator))
        if isinstance(fitted, OptimisedEdit):
            key = f"{original.key} {request}"
            return self._optimised.get(key, lambda: Remembered(fitted, original))
        return fitted

    def is_quick(self, state: State) -> bool:
        """Whether the state's edits need no optimiser."""
        return not any(map(_optimises, state.edits))

    def latents(self, state: State, original: Original) -> dict[str, NDArray[np.float32]]:
        """neutral and target (n, z_dan) of a state's edits; {} if there are none."""
        versions = original.dance.versions
        base, centres = versions.z_dan["original"], versions.centres_s
        built = [(self._edit(e, original), e.amount()) for e in state.edits]
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

    def show(self, state: State, tick: Tick = never) -> Shown:
        """All versions of a state's dance, exact.

        Raises:
            D2MError: see :func:`dance_of`.
        """
        original = self.original(state, tick)
        versions = original.dance.versions
        n = 3 * len(versions.centres_s)
        # One dance per optimiser step, and those that evaluate the edit.
        steps = sum(int(e.request.get("steps", 100)) + 8 for e in state.edits if _optimises(e))
        with self._ticking(original.generator, tick, "optimising", n * steps):
            latents = self.latents(state, original)
        poses, unwarped = dict(versions.poses), dict(versions.unwarped)
        for name, z in latents.items():
            if np.array_equal(z, versions.z_dan["original"]):
                poses[name], unwarped[name] = versions.poses["original"], versions.unwarped["original"]
                continue
            with self._ticking(original.generator, tick, f"dancing the {name}", n):
                unwarped[name] = decoded(original, z)
            poses[name] = on_song(original, unwarped[name])
        return self._last.put(self._key(state), Shown(original, poses, unwarped))

    @staticmethod
    def _key(state: State) -> str:
        return json.dumps({**state.plain(), "edits": []})

    def provisional(self, state: State, seconds: float) -> tuple[int, Poses] | None:
        """A quick, inexact target around the playhead, continuing from the pose that was shown before it.

        Returns:
            First frame and poses (m, 14, 2) of the segment at the playhead and the next; None if there is no shown
                dance to continue from, or an edit needs an optimiser.
        """
        last = self._last.find(self._key(state))
        if last is None or not state.edits or not self.is_quick(state):
            return None
        z = self.latents(state, last.original).get("target")
        return None if z is None else two_segments(last, z, seconds)
