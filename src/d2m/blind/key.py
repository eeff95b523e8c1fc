"""The key of a study: the secret behind its names and the contents of its videos; kept apart from the page."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2m.blind.design import Shown, Slot, Trial
from d2m.blind.material import Clip
from d2m.core.errors import D2MError
from d2m.core.files import write_json

FORMAT = "d2m-blind-key-1"
ANSWERS = "d2m-blind-answers-1"


def new_secret() -> bytes:
    """32 random bytes."""
    return os.urandom(32)


def keyed(secret: bytes, *parts: object) -> bytes:
    """HMAC-SHA256 of some parts under the secret, without which they cannot be recovered."""
    return hmac.new(secret, json.dumps([str(p) for p in parts]).encode(), hashlib.sha256).digest()


def token(secret: bytes, seed: int, clip: Clip, frozen: bool) -> str:
    """The name of a clip's video on the page, 24 hexadecimal digits."""
    return keyed(secret, "video", seed, clip.system, clip.song, frozen).hex()[:24]


def generator(secret: bytes, seed: int) -> np.random.Generator:
    """The generator of the design, which includes the secret, as a guessable seed alone would reveal the design."""
    return np.random.default_rng(int.from_bytes(keyed(secret, "design", seed), "big"))


@dataclass(frozen=True)
class Key:
    """The information that :mod:`d2m.blind.score` needs to read answers.

    study: the page's id. secret, seed: reproduce it. question, genres, seconds: as on the page. videos: name on
    the page -> {system, song, genre, frozen}. slots: of every participant, its trials as [kind, names shown].
    """

    study: str
    secret: bytes
    seed: int
    question: str
    genres: tuple[str, ...]
    seconds: float
    videos: dict[str, dict[str, Any]]
    slots: list[list[tuple[str, tuple[str, ...]]]]

    @property
    def systems(self) -> list[str]:
        """All systems, sorted."""
        return sorted({v["system"] for v in self.videos.values()})

    def write(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            D2MError: it cannot be written.
        """
        plain = {**self.__dict__, "format": FORMAT, "secret": self.secret.hex()}
        write_json(path, plain)

    @classmethod
    def read(cls, path: Path) -> Key:
        """Raises D2MError if it is missing or invalid."""
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            if plain.pop("format") != FORMAT:
                raise ValueError("another format")
            plain["secret"] = bytes.fromhex(plain["secret"])
            plain["genres"] = tuple(plain["genres"])
            plain["slots"] = [[(kind, tuple(shown)) for kind, shown in slot] for slot in plain["slots"]]
            return cls(**plain)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise D2MError(f"key={path}: not a study's key; d2m blind build writes it beside the study's folder") from e


def named(slots: list[Slot], names: dict[Shown, str]) -> list[list[tuple[str, tuple[str, ...]]]]:
    """Slots with names of videos instead of dances."""

    def one(trial: Trial) -> tuple[str, tuple[str, ...]]:
        return trial.kind, tuple(names[s] for s in trial.shown)

    return [[one(t) for t in slot.trials] for slot in slots]
