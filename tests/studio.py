"""A studio for tests: songs that decode quickly, its further options, and a client that reads its frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from d2m.bundle import read_bundle, write_bundle
from d2m.core.skeleton import SAMPLE_RATE
from d2m.dance.extraction import space_of
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.nets.motion_style import MotionStyle
from d2m.nets.sizes import MotionSizes
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


def judged(bundle: Path, folder: Path) -> Path:
    """The bundle with a random motion classifier, loud enough to have an opinion."""
    plain = read_bundle(bundle)
    sizes = MotionSizes(len(plain.genres), 8)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        judge = MotionStyle(sizes)
    facts = {"sizes": sizes.to_dict(), "held_out": {"balanced_accuracy": 0.5}}
    return write_bundle(
        folder, config={**plain.config, "motion_style": facts}, state=plain.state, normalizer=plain.normalizer,
        genres=plain.genres, genre_means=plain.genre_means, provenance={"git": "test"}, card="# test\n",
        motion_style={k: 2 * v for k, v in judge.state_dict().items()},
    )  # fmt: skip


def write_latents(path: Path, bundle: Path) -> Path:
    """Latents of twelve songs in the bundle's space, four of each genre; the first is called as the first song."""
    rng = np.random.default_rng(0)
    genre = np.repeat(["drive", "flow", "groove"], 4)
    mu = (rng.normal(size=(12, 8)) + 4 * np.eye(8)[np.repeat([0, 1, 2], 4)]).astype(np.float32)
    LatentTable(
        song=np.array(["a", *(f"s{i}" for i in range(1, 12))]), genre=genre, split=np.full(12, "train"),
        start_s=np.zeros(12), end_s=np.ones(12), mu=mu, sigma=np.ones_like(mu), spread=np.ones_like(mu),
        draws=mu[:, None], style=np.zeros((12, 0), np.float32),
        meta={"side": "music", "space": space_of(DanceGenerator.load(bundle))},
    ).save(path)  # fmt: skip
    return path


def write_runs(folder: Path) -> Path:
    """Two runs with a curve each."""
    for name, rate in (("one", 0.1), ("two", 0.2)):
        run = folder / name
        (run / "csv" / "du_vae").mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"stages": ["du_vae"], "state": "done"}))
        (run / "config.json").write_text(json.dumps({"rate": rate, "seed": 0}))
        (run / "csv" / "du_vae" / "metrics.csv").write_text(
            f"batch,val/cross,val/recon\n0,1,{rate}\n5,,\n9,1,{2 * rate}\n"
        )
    return folder


def write_report(path: Path, bundle: Path, value: float = 0.8, name: str = "run") -> Path:
    """A report of d2m evaluate of one bundle and the real dances, a card with one figure."""

    def figure(v: float) -> dict[str, Any]:
        more = {"chance": 0.3, "z": 5.0, "better": "higher", "unit": "share"}
        return {"value": v, "low": v - 0.05, "high": v + 0.05, **more}

    weights = read_bundle(bundle).provenance["files"]["weights.safetensors"]
    rows = {"real": {"beat_hit": figure(0.9)}, name: {"beat_hit": figure(value)}}
    report = {
        "bundles": {name: {"sha256": weights}}, "cards": {"d2m": {"rows": rows}}, "songs": ["x", "y"], "corpus": "c",
        "splits": ["test"], "draws": 3, "seed": 0,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))
    return path


class Client:
    """A page, as far as the server sees it."""

    def __init__(self, at: Library) -> None:
        from starlette.testclient import TestClient

        from d2m.studio.app import make_app

        self.library = at
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
