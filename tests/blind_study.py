"""A small blind study with simulated participants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from d2m.blind.build import Look, Page, build
from d2m.blind.design import Plan
from d2m.blind.key import ANSWERS, Key
from d2m.blind.material import Clip, read_results
from tests.figures import swaying

SYSTEMS = ("alphamodel", "betamodel", "gammamodel")
SONGS = {"songofnight": "quickstep", "songofday": "foxtrot"}
PLAN = Plan(participants=12, trials=6, repeats=1, checks=1, genre_trials=2)
LOOK = Look(seconds=1.0, size=64)


def write_dances(root: Path, seconds: float = 2.0) -> None:
    """A folder per system with an npz per song, and the songs' sound in ``root.parent/music``."""
    music = root.parent / "music"
    music.mkdir(parents=True)
    for k, song in enumerate(SONGS):
        wave = 0.3 * np.sin(2 * np.pi * 220 * (k + 1) * np.arange(round(8000 * seconds)) / 8000)
        soundfile.write(music / f"{song}.wav", wave, 8000)
        for j, system in enumerate(SYSTEMS):
            (root / system).mkdir(parents=True, exist_ok=True)
            poses = swaying(round(15 * seconds), 10 * j + k).astype(np.float32)
            np.savez(root / system / f"{song}.npz", poses=poses, fps=15)


def clips(root: Path) -> list[Clip]:
    return read_results(root, (), SONGS)


def write_study(root: Path, name: str = "study", plan: Plan = PLAN, seconds: float = LOOK.seconds, **page: Any) -> Key:
    """The study of :func:`write_dances` in ``root.parent/NAME``."""
    look = Look(**{**LOOK.__dict__, "music": root.parent / "music", "seconds": seconds})
    return build(clips(root), root.parent / name, None, plan, Page(**page), look, 0)


def answer(key: Key, number: int, choose: Callable[[str, list[dict[str, Any]]], Any], **changes: Any) -> dict[str, Any]:
    """A participant's file. choose: (kind, the videos' rows of the key) -> "left", "right", a genre or None."""
    slot = (number - 1) % len(key.slots)
    given = [
        {"shown": list(shown), "answer": choose(kind, [key.videos[v] for v in shown]), "seconds": 3.0, "plays": 1}
        for kind, shown in key.slots[slot]
    ]
    return {
        "format": ANSWERS, "study": key.study, "session": f"s{number}", "participant": number, "numbered": True,
        "slot": slot, "started": "2030-01-01T10:00:00Z", "finished": f"2030-01-01T11:{number:02d}:00Z",
        "answers": given, **changes,
    }  # fmt: skip


def attentive(best: Callable[[dict[str, Any]], float]) -> Callable[[str, list[dict[str, Any]]], Any]:
    """Passes checks, prefers the greater ``best``, and knows every genre."""

    def choose(kind: str, shown: list[dict[str, Any]]) -> Any:
        if kind == "genre":
            return shown[0]["genre"]
        if kind == "check":
            return "left" if shown[1]["frozen"] else "right"
        return "left" if best(shown[0]) > best(shown[1]) else "right"

    return choose


def write_answers(folder: Path, files: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
