"""A studio for tests: a song that is quickly heard, its library, and a client that speaks its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from d2m.core.skeleton import SAMPLE_RATE
from d2m.studio.library import Library
from d2m.studio.wire import frames

TOKEN, HOST = "token", "127.0.0.1:8000"
Frames = list[tuple[dict[str, Any], dict[str, NDArray[Any]]]]


def write_song(path: Path, seconds: float = 16.0, seed: int = 0, bpm: float = 120.0) -> Path:
    """Clicks on every beat over noise."""
    rng = np.random.default_rng(seed)
    wave = 0.02 * rng.normal(size=round(seconds * SAMPLE_RATE))
    for beat in np.arange(0.25, seconds - 0.1, 60 / bpm):
        at = round(beat * SAMPLE_RATE)
        wave[at : at + 800] += 0.7 * np.exp(-np.arange(800) / 150) * np.sin(np.arange(800) * 0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, SAMPLE_RATE)
    return path


def library(bundle: Path, folder: Path, *more: Path, **options: str) -> Library:
    """Two songs, and these bundles."""
    write_song(folder / "songs" / "a.wav")
    write_song(folder / "songs" / "b & c.wav", 9.0, seed=1, bpm=100)
    return Library((str(bundle), *map(str, more)), folder / "out", str(folder / "songs"), **options)


def state(at: Library, *edits: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"format": 1, "bundle": at.bundles[0], "song": at.songs()[0], "edits": list(edits), **values}


def shift(strength: Any = 1.0, source: str = "drive", target: str = "flow") -> dict[str, Any]:
    return {"name": "mean_shift", "source": source, "target": target, "strength": strength}


class Client:
    """A page, as far as the server sees it."""

    def __init__(self, at: Library) -> None:
        from starlette.testclient import TestClient

        from d2m.studio.app import make_app

        self.http = TestClient(make_app(at, TOKEN, frozenset({HOST})), base_url=f"http://{HOST}")

    def ask(self, what: str, asked: dict[str, Any], tab: str = "a", **more: Any) -> Frames:
        """The frames of an answer; a refusal is an "error" frame."""
        answer = self.http.post(f"/{TOKEN}/api/{what}", json={"state": asked, "tab": tab, **more})
        if answer.status_code == 400:
            return [({"kind": "error", **answer.json()}, {})]
        assert answer.status_code == 200
        return list(frames(answer.content))

    def dance(self, asked: dict[str, Any], **more: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The exact dance."""
        *_, last = self.ask("dance", asked, **more)
        assert last[0]["kind"] == "dance", last[0]
        return last
