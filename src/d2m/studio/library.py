"""The files that a studio may use: the given bundles, songs, directions, latents and runs, and its own folder."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.bundle import MOTION_STYLE, read_bundle
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, check_out
from d2m.core.skeleton import SAMPLE_RATE
from d2m.dance.table import LatentTable
from d2m.data.songs import FILM_SUFFIXES, find_songs
from d2m.edits.direction import INDEX
from d2m.edits.directions import load_direction
from d2m.music.audio import AUDIO_SUFFIXES
from d2m.reports.evaluate.run import bundle_names
from d2m.studio.state import State

#: Largest dropped song, bytes; maximum number of dropped songs; of sounds cached for the page.
MAX_SONG, MAX_SONGS, MAX_SOUNDS = 400 * 2**20, 200, 8


@dataclass
class Library:
    """The files of a studio.

    bundles: folders; the first is shown. music: as for :func:`d2m.data.songs.find_songs`. latents: of songs.
    directions: a folder of direction folders. runs: a folder of training runs. out: the studio's own folder.
    """

    bundles: tuple[str, ...]
    out: Path
    music: str | None = None
    latents: str | None = None
    directions: str | None = None
    runs: str | None = None
    _facts: dict[str, Any] = field(init=False, default_factory=dict)
    _space: str = field(init=False, default="")
    _given: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Raises D2MError for a bundle or direction that cannot be read, no songs, or a folder that is not writable."""
        names = bundle_names([Path(b) for b in self.bundles])
        self._facts = {"bundles": [_bundle_facts(b, name) for b, name in zip(self.bundles, names, strict=True)]}
        self._given = _direction_facts(self.directions)
        if self.music is not None:
            find_songs(self.music)
        if self.latents is not None:
            self._space = str(LatentTable.load(self.latents).meta.get("space", ""))
        if self.runs is not None and not Path(self.runs).is_dir():
            raise D2MError(f"runs={self.runs}: no such folder; give the one that runs are written to")
        for folder in (self.out, *(self.out / name for name in ("songs", "saved", "sounds"))):
            check_out(folder)  # last: a refused command leaves nothing behind

    def songs(self) -> list[str]:
        """Paths of the given and the dropped songs."""
        given = [] if self.music is None else find_songs(self.music)
        dropped = sorted(p for p in (self.out / "songs").iterdir() if p.is_file() and not p.name.startswith("."))
        return [os.path.abspath(p) for p in (*given, *dropped)]

    def fitted(self) -> list[dict[str, Any]]:
        """The given directions, and those saved from the page."""
        saved = self.out / "directions"
        return [*self._given, *(_direction_facts(os.path.abspath(saved)) if saved.is_dir() else [])]

    def catalogue(self) -> dict[str, Any]:
        """Lists the whole library for the page."""
        songs = [{"path": p, "name": Path(p).name} for p in self.songs()]
        given = {"latents": self.latents, "latents_space": self._space, "runs": self.runs}
        return {**self._facts, **given, "directions": self.fitted(), "songs": songs, "out": os.path.abspath(self.out)}

    def check(self, state: State) -> State:
        """Check that a state uses only files of this library; returns it.

        Raises:
            D2MError: it names another file.
        """
        if state.bundle not in self.bundles:
            raise D2MError(f"bundle {state.bundle}: not one that this studio was started with; add it to bundle=[...]")
        if state.song not in self.songs():
            raise D2MError(f"song {Path(state.song).name}: not in this studio; drop it on the page")
        asked = [e for e in state.edits if "file" in e.request]
        files = {d["path"] for d in self.fitted()} if asked else set()
        for edit in state.edits:
            for key, known in (("file", files), ("latents", {self.latents})):
                if key in edit.request and edit.request[key] not in known:
                    raise D2MError(f"{key} {edit.request[key]}: not one that this studio was started with")
        return state

    def adopt(self, state: State) -> tuple[State, list[str]]:
        """Adapt a state from another folder or computer to this library; returns it and a note for each replacement.

        Raises:
            D2MError: see :meth:`check`.
        """
        notes, songs = [], self.songs()
        alike = [s for s in songs if Path(s).name == Path(state.song).name]
        if state.song not in songs and len(alike) == 1:
            state = replace(state, song=alike[0])
            notes.append(f"the song is this studio's {Path(state.song).name}")
        if state.bundle not in self.bundles and len(self.bundles) == 1:
            notes.append(f"danced with this studio's bundle instead of {state.bundle}")
            state = replace(state, bundle=self.bundles[0])
        return self.check(state), notes

    # -- songs -----------------------------------------------------------------------------------------------------

    def place_for(self, name: str) -> Path:
        """The path for a dropped song, from the plain file name.

        Raises:
            D2MError: not a valid name of a song, or too many songs.
        """
        plain = Path(name.replace("\\", "/")).name
        suffix = Path(plain).suffix.lower()
        if not plain or plain.startswith(".") or "\0" in plain or len(plain.encode()) > 200:
            raise D2MError("a song needs a name of at most 200 letters that does not begin with a dot")
        if suffix not in AUDIO_SUFFIXES and suffix not in FILM_SUFFIXES:
            raise D2MError(f"{plain}: not a song; drop wav, flac, ogg, mp3 or m4a")
        path = self.out / "songs" / plain
        if not path.exists() and sum(1 for _ in path.parent.iterdir()) >= MAX_SONGS:
            raise D2MError(f"{path.parent} holds {MAX_SONGS} songs; delete some before you drop another")
        return path

    def sound(self, wave: NDArray[np.float32]) -> str:
        """Write the decoded wave that the networks get to a wav file, so that every format plays on the same clock;
        returns its name below ``sounds``."""
        import soundfile

        name = hashlib.sha256(wave.tobytes()).hexdigest()[:24] + ".wav"
        path = self.out / "sounds" / name
        if path.is_file():
            os.utime(path)
            return name
        with atomic_path(path) as temp:
            soundfile.write(temp, np.clip(wave, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        kept = sorted((self.out / "sounds").glob("*.wav"), key=lambda p: p.stat().st_mtime)
        for old in kept[:-MAX_SOUNDS]:
            old.unlink(missing_ok=True)
        return name

    # -- the state -------------------------------------------------------------------------------------------------

    @property
    def state_path(self) -> Path:
        """Path of the page's last state."""
        return self.out / "state.json"

    def last_state(self) -> dict[str, Any] | None:
        """The page's last state, if it can still be shown."""
        try:
            return self.check(State.read(self.state_path)).plain()
        except D2MError:
            return None


def _bundle_facts(folder: str, name: str) -> dict[str, Any]:
    bundle = read_bundle(folder)
    c, path = bundle.config, Path(folder)
    return {
        "path": folder,
        "name": name,
        "genres": list(bundle.genres),
        "means": sorted(bundle.genre_means),
        "style_mode": c["style_mode"],
        "max_draws": c["max_draws"],
        "front_end": c["front_end"],
        "sizes": c["sizes"],
        "space": bundle.provenance.get("files", {}).get("weights.safetensors", ""),
        "judge": (path / MOTION_STYLE).is_file(),
    }


def _direction_facts(folder: str | None) -> list[dict[str, Any]]:
    if folder is None:
        return []
    root = Path(folder)
    if not root.is_dir():
        raise D2MError(f"directions={folder}: no such folder; give one with folders that d2m study fit wrote")
    listed = []
    for index in sorted(root.glob(f"**/{INDEX}")):
        direction, facts = load_direction(index.parent)
        plain = json.loads(json.dumps(direction.params, default=str))
        where = index.parent.relative_to(root).as_posix()
        listed.append({
            "path": str(index.parent), "name": root.name if where == "." else where, "kind": direction.name,
            "params": plain, "space": facts["space"],
        })  # fmt: skip
    return listed
