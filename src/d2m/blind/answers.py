"""Files of answers: which of them count, and why the others are excluded."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from d2m.blind.key import ANSWERS, Key
from d2m.core.errors import D2MError


@dataclass(frozen=True)
class Rules:
    """Rules of exclusion. failures: tolerated failed attention checks; fastest: minimum median time of a participant's
    answers, as a share of a video's length."""

    failures: int = 0
    fastest: float = 0.5


@dataclass(frozen=True)
class Answer:
    """kind: as :class:`d2m.blind.design.Trial`'s. shown: names of videos. value: "left", "right" or a genre."""

    kind: str
    shown: tuple[str, ...]
    value: str

    @property
    def chosen(self) -> str:
        """The video chosen in a comparison."""
        return self.shown[self.value == "right"]

    @property
    def other(self) -> str:
        """The video not chosen."""
        return self.shown[self.value == "left"]


@dataclass(frozen=True)
class Participant:
    """One person's answers; skipped trials are left out."""

    file: str
    session: str
    number: int | None  # as invited, None if the page drew it
    finished: str
    median_s: float
    answers: tuple[Answer, ...]

    def of(self, kind: str) -> list[Answer]:
        """Answers to trials of a kind."""
        return [a for a in self.answers if a.kind == kind]


def find_answers(answers: str) -> list[Path]:
    """A file, a folder's json files, or a glob's; sorted.

    Raises:
        D2MError: there are none.
    """
    path = Path(answers)
    if path.is_dir():
        files = sorted(path.glob("*.json"))
    elif path.exists():
        files = [path]
    else:
        files = sorted(Path(p) for p in glob.glob(answers, recursive=True))
    if not files:
        raise D2MError(f"answers={answers}: no such file, folder or glob; give the files that participants downloaded")
    return files


def read_answers(paths: Sequence[Path], key: Key, rules: Rules) -> tuple[list[Participant], dict[str, str]]:
    """Participants whose answers count, and file -> reason for its exclusion.

    Of two files with the same session or participant number, the one finished first counts.

    Raises:
        D2MError: an invalid rule.
    """
    if rules.failures < 0 or rules.fastest < 0:
        raise D2MError(f"failures={rules.failures} fastest={rules.fastest}: give numbers of at least 0")
    excluded: dict[str, str] = {}
    read: list[Participant] = []
    for path in paths:
        outcome = _participant(path, key)
        if isinstance(outcome, str):
            excluded[str(path)] = outcome
        else:
            read.append(outcome)
    kept: list[Participant] = []
    for person in sorted(read, key=lambda p: (p.finished, p.file)):
        same = next((k for k in kept if k.session == person.session), None)
        invited = next((k for k in kept if person.number is not None and k.number == person.number), None)
        if same is not None:
            excluded[person.file] = f"the same session as {same.file}"
        elif invited is not None:
            excluded[person.file] = f"the same participant number ({person.number}) as {invited.file}"
        else:
            kept.append(person)
    good = []
    for person in kept:
        checks = person.of("check")
        failed = sum(key.videos[a.chosen]["frozen"] for a in checks)
        if failed > rules.failures:
            excluded[person.file] = f"failed {failed} of {len(checks)} attention checks"
        elif person.median_s < rules.fastest * key.seconds:
            excluded[person.file] = f"too fast: {person.median_s:.1f} s a trial, of videos of {key.seconds:g} s"
        else:
            good.append(person)
    return sorted(good, key=lambda p: p.file), dict(sorted(excluded.items()))


def _participant(path: Path, key: Key) -> Participant | str:
    """A file's answers, or the reason why they cannot be used."""
    try:
        plain: Any = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] != ANSWERS:
            return f"format {plain['format']!r:.40} instead of {ANSWERS}"
        if plain["study"] != key.study:
            return f"of another study ({plain['study']!r:.40})"
        given, slot = plain["answers"], key.slots[int(plain["slot"])]
        if not plain["finished"] or len(given) < len(slot):
            return f"incomplete: {len(given)} of {len(slot)} trials"
        times = [float(g["seconds"]) for g in given]
        answers = []
        for (kind, shown), g in zip(slot, given, strict=True):
            allowed = key.genres if kind == "genre" else ("left", "right")
            if tuple(g["shown"]) != shown or (g["answer"] is not None and g["answer"] not in allowed):
                return "its trials are not those that the key names"
            if g["answer"] is not None:
                answers.append(Answer(kind, shown, g["answer"]))
        number = int(plain["participant"]) if plain["numbered"] else None
        return Participant(
            str(path), str(plain["session"]), number, str(plain["finished"]), float(np.median(times)), tuple(answers)
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return "not a readable file of answers"
