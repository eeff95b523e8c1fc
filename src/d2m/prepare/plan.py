"""The plan of an output folder: one line per recording, with the key of its part. Paths are relative to ``raw``.

A shard writes its lines to ``shards/003-of-008.json``; the whole is ``plan.json``, published with the corpus.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError
from d2m.data.manifest import MANIFEST, Recording
from d2m.data.splits import assign_splits
from d2m.prepare.discover import Discovery
from d2m.prepare.parts import MISSING, Hashes, part_key
from d2m.prepare.process import CODE_VERSION, Options
from d2m.prepare.sources.coco17 import split_camera

SHARDS, PLAN = "shards", "plan.json"
_SHARD = re.compile(r"^(\d+)/(\d+)$")


@dataclass(frozen=True)
class SplitOptions:
    """Arguments of :func:`d2m.data.splits.assign_splits`."""

    seed: int = 0
    val_fraction: float = 0.15
    test_fraction: float = 0.15

    def __post_init__(self) -> None:
        assign_splits([], [], self.seed, self.val_fraction, self.test_fraction)  # refuse bad fractions before the work


@dataclass(frozen=True)
class Line:
    """One recording.

    key: of its part; "" if it was refused unprocessed, for ``reason``. audio_sha256, pose_sha256: of its files, or "".
    pose_start_s, pose_end_s: the part of the poses to use, in seconds.
    """

    name: str
    genre: str
    group: str
    start_s: float
    audio: str
    licence: str
    key: str
    reason: str = ""
    audio_sha256: str = ""
    pose_sha256: str = ""
    pose_start_s: float = 0.0
    pose_end_s: float | None = None


#: Fields of a line that are no part of a plan's digest, and their defaults.
_NO_INPUT: dict[str, Any] = {"audio_sha256": "", "pose_sha256": "", "pose_start_s": 0.0, "pose_end_s": None}


@dataclass(frozen=True)
class Plan:
    """code: version of the code that prepares the plan. options, splits: as plain JSON.

    default_genre: for recordings without a genre from elsewhere.
    """

    options: dict[str, Any]
    splits: dict[str, Any]
    default_genre: str
    lines: tuple[Line, ...]
    code: int = CODE_VERSION

    def text(self) -> str:
        """The file's text; equal plans have equal texts."""
        head = {"code": self.code, "options": self.options, "splits": self.splits, "default_genre": self.default_genre}
        plain = ({k: v for k, v in asdict(line).items() if v or k not in _NO_INPUT} for line in self.lines)
        lines = ",\n".join(json.dumps(line, ensure_ascii=False) for line in plain)
        return f'{{"plan": {json.dumps(head)},\n"lines": [\n{lines}\n]}}\n'

    @property
    def digest(self) -> str:
        """Hex digest: the same for the same contents and options, in any folder.

        Excludes what the parts' keys cover anyway, so that corpora of older plans keep their names.
        """
        lines = tuple(replace(line, **_NO_INPUT) for line in self.lines)
        return hashlib.sha256(replace(self, lines=lines).text().encode()).hexdigest()


def read_plan(path: Path) -> Plan:
    """Read what :meth:`Plan.text` wrote.

    Raises:
        D2MError: unreadable.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Plan(**data["plan"], lines=tuple(Line(**line) for line in data["lines"]))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise D2MError(f"{path}: not a readable plan ({e}); run d2m prepare again") from e


def parse_shard(shard: str | None) -> tuple[int, int]:
    """``"3/8"`` -> (3, 8), the fourth of eight; None is (0, 1).

    Raises:
        D2MError: anything else.
    """
    if shard is None:
        return 0, 1
    match = _SHARD.match(str(shard))
    if not match or not int(match[1]) < int(match[2]):
        raise D2MError(f"shard={shard}: give NUMBER/COUNT, 0/8 to 7/8 for eight shards")
    return int(match[1]), int(match[2])


def make_plan(
    raw: Path,
    discovery: Discovery,
    options: Options,
    splits: SplitOptions,
    hashes: Hashes,
    shard: tuple[int, int] = (0, 1),
) -> tuple[Plan, list[tuple[Recording, str]]]:
    """The plan of a shard: recordings ``number``, ``number + count``, ...; and its jobs (recording, key).

    Raises:
        D2MError: an invalid statement in the manifest.
    """
    number, count = shard
    lines: list[Line] = []
    jobs: list[tuple[Recording, str]] = []
    everything = [*((r, "") for r in discovery.recordings), *discovery.refused]
    for recording, reason in everything[number::count]:
        try:
            own = options.of(recording)
            begins = recording.beginning(own.stated.audio_offset or 0.0).audio_start_s
        except D2MError as e:
            raise D2MError(f"{raw / MANIFEST}: {recording.name}: {e}") from e
        key = "" if reason else part_key(recording, own, hashes)
        audio = os.path.relpath(recording.audio, raw) if recording.audio else ""
        sound = hashes.of(recording.audio) if key and recording.audio else ""
        poses = hashes.of(split_camera(recording.pose)[0]) if key else ""
        sound, poses = ("" if digest == MISSING else digest for digest in (sound, poses))
        lines.append(
            Line(recording.name, recording.genre, recording.group, begins, audio, recording.licence, key,
                 reason, sound, poses, recording.start_s, recording.end_s)
        )  # fmt: skip
        if key:
            jobs.append((recording, key))
    default = raw.name if any(not r.genre for r, _ in everything) else ""
    return Plan(options.plain(), asdict(splits), default, tuple(lines)), jobs


def shard_path(out: Path, shard: tuple[int, int]) -> Path:
    """The file to which a shard writes its lines."""
    return out / SHARDS / f"{shard[0]:03d}-of-{shard[1]:03d}.json"


def join_shards(out: Path) -> Plan:
    """The whole plan from those of all shards, in the order that one shard alone would have.

    Raises:
        D2MError: no shards, a missing one, or shards with different options.
    """
    files = sorted((out / SHARDS).glob("*-of-*.json"))
    if not files:
        raise D2MError(f"{out}: no shards to merge; first run shard=0/N to shard=N-1/N with this out")
    counts = {int(f.stem.split("-of-")[1]) for f in files}
    if len(counts) > 1:
        raise D2MError(
            f"{out / SHARDS}: shards of different counts {sorted(counts)}; remove the folder and run one set again"
        )
    count = counts.pop()
    missing = [i for i in range(count) if not shard_path(out, (i, count)).is_file()]
    if missing:
        raise D2MError(f"{out}: shard {missing[0]}/{count} has not finished ({len(missing)} missing); run it first")
    plans: Sequence[Plan] = [read_plan(shard_path(out, (i, count))) for i in range(count)]
    heads = {json.dumps([p.code, p.options, p.splits, p.default_genre], sort_keys=True) for p in plans}
    if len(heads) > 1:
        raise D2MError(f"{out / SHARDS}: shards with different options; run them all again with the same ones")
    lines: list[Line] = []
    for i in range(max(len(p.lines) for p in plans)):
        lines += [p.lines[i] for p in plans if i < len(p.lines)]
    return Plan(plans[0].options, plans[0].splits, plans[0].default_genre, tuple(lines), plans[0].code)
