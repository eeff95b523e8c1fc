"""Dancing and measuring: the anchors of a corpus, then song by song, each kept as a file so that a run can continue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.files import write_json
from d2m.core.skeleton import FPS
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance
from d2m.dance.together import dance_again, dance_to
from d2m.data.corpus import Corpus
from d2m.edits.strength import blend
from d2m.reports.edit_scores import GenreReference, content_of
from d2m.reports.held_out import real_scale
from d2m.reports.judges import Judges
from experiments.edit_benchmark.attributes import BothAxes, pulse_count
from experiments.edit_benchmark.edits import NO_EDIT, REAL, PairEdits, Row, edit_rows, song_latents
from experiments.edit_benchmark.measure import measure_dance

#: Rows of a song's file: directions of attributes, which have no target.
ATTRIBUTE = "attribute: "


@dataclass(frozen=True)
class Options:
    """seconds: of every dance. strengths: of arithmetic, in lengths of the mean shift. controls: random directions.
    permuted: refits with shuffled genres. steps: of the optimiser. seed: of all choices and noise."""

    seconds: float
    strengths: tuple[float, ...]
    controls: int
    permuted: int
    steps: int
    seed: int

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)


@dataclass(frozen=True, eq=False)
class Original:
    """A held-out song and the unedited dance to it. Every song has a noise of its own."""

    number: int
    name: str
    genre: str
    seed: int
    dance: SongDance
    scale: float
    beats: float

    @property
    def poses(self) -> NDArray[np.float32]:
        return self.dance.poses["original"]


def original(generator: DanceGenerator, corpus: Corpus, i: int, o: Options) -> Original:
    """Dance to a recording's first seconds."""
    features, beats = corpus.song_features(i), corpus.song_beats(i)
    frames, seed = min(len(features), o.frames), 1000 * (o.seed + 1) + i
    dance = dance_to(generator, features, beats, frames, seed=seed)
    info = corpus.recordings[i]
    return Original(i, info.name, info.genre, seed, dance, real_scale(corpus, i), pulse_count(beats, frames / FPS))


def foreign_content(originals: Sequence[Original], others: int, seed: int) -> list[dict[str, Any]]:
    """The zero of the axis content: unedited dances to other songs (``others`` of each), read as if they were edits."""
    rows = []
    for k, one in enumerate(originals):
        rest = np.delete(np.arange(len(originals)), k)
        for j in np.random.default_rng([seed, k]).permutation(rest)[:others]:
            rows.append({"song": one.name, "content": content_of(originals[int(j)].poses, one.poses)})
    return rows


@dataclass(frozen=True, eq=False)
class Bench:
    """All that a song's dances are made of and measured with."""

    generator: DanceGenerator
    corpus: Corpus
    judges: Judges
    references: Mapping[str, GenreReference]
    pairs: Mapping[tuple[str, str], PairEdits]
    axes: BothAxes
    options: Options

    def measure_song(self, one: Original, real: Sequence[int]) -> list[dict[str, Any]]:
        """All rows of a song: every edit towards every other genre, no edit, a real dance, attributes' directions."""
        rng, corpus, o = np.random.default_rng([self.options.seed, one.number]), self.corpus, self.options
        z = one.dance.z_dan["original"]
        targets = [b for a, b in self.pairs if a == one.genre]
        edits: list[Row] = []
        for target in targets:
            pair = self.pairs[one.genre, target]
            teachers = corpus.recordings_in("train", target, with_music=True)
            teacher = corpus.song_features(int(rng.choice(teachers)))
            other = song_latents(self.generator, teacher, one.dance, one.seed)
            edits += edit_rows(self.generator, one.dance, one.seed, pair, o.strengths, other)
            edits.append(Row(NO_EDIT, target, 0, 0, 0.0, 0.0, z))
        length = float(np.mean([self.pairs[one.genre, b].length for b in targets]))
        for name, axis in self.axes.within.directions.items():
            edits.append(Row(ATTRIBUTE + name, "", 0, 0, 1.0, 1.0, blend(z, length * axis, 1.0)))
        danced = dance_again(self.generator, one.dance, np.stack([e.z for e in edits]), seed=one.seed)
        rows: list[dict[str, Any]] = []
        for edit, poses, unwarped in zip(edits, danced.poses, danced.unwarped, strict=True):
            reference = self.references[edit.target] if edit.target else None
            read = measure_dance(poses, unwarped, one.poses, one.scale, one.beats, self.judges, reference)
            rows.append({**_facts(edit), **read})
        for target in targets:
            there = [i for i in real if corpus.recordings[i].genre == target]
            i = int(rng.choice(there))
            poses = np.asarray(corpus.song_poses(i)[: o.frames])
            n = min(len(poses), len(one.poses))
            read = measure_dance(
                poses[:n], poses[:n], one.poses[:n], real_scale(corpus, i), one.beats, self.judges,
                self.references[target],
            )  # fmt: skip
            rows.append({**_facts(Row(REAL, target, 0, 0, 0.0, 0.0, z)), **read})
        return rows


def _facts(edit: Row) -> dict[str, Any]:
    return {k: v for k, v in vars(edit).items() if k != "z"}


def settings_key(*facts: Any) -> str:
    """Of all that a song's file depends on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def kept(path: Path, key: str) -> dict[str, Any] | None:
    """What an earlier run measured under this key."""
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return measured if isinstance(measured, dict) and measured.get("key") == key else None


def song_file(folder: Path, bench: Bench, one: Original, real: Sequence[int], key: str) -> dict[str, Any]:
    """The measured song, from its file if it has been measured with these settings."""
    path = folder / f"{one.number:04d}.json"
    if (measured := kept(path, key)) is None:
        measured = {"key": key, "song": one.name, "genre": one.genre, "rows": bench.measure_song(one, real)}
        write_json(path, measured)
    return measured
