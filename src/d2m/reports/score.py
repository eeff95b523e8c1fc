"""``d2m score``: other people's dances, measured by a protocol card beside real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.core.skeleton import FPS
from d2m.data.corpus import REPORT, Corpus
from d2m.data.splits import SPLITS
from d2m.metrics.cards import Card, DanceToSong, Table, load_card, measure
from d2m.prepare.process import Options
from d2m.prepare.run import read_options
from d2m.reports.files import ReadDance, find_source, read_dances

#: split= -> the splits of a corpus whose dances are the reference.
REFERENCE_SPLITS: dict[str, tuple[str, ...]] = {"held_out": SPLITS[1:], "all": SPLITS, **{s: (s,) for s in SPLITS}}
REAL = "real"

Embed = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class ScoreRequest:
    """What is scored, and how it is read; the keys of conf/score.yaml.

    stated: what is said of the poses, :class:`d2m.prepare.stated.Stated`.
    """

    poses: str
    out: str
    music: str | None = None
    reference: str | None = None
    card: str = "d2m"
    split: str = "held_out"
    seed: int = 0
    source: str | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)
    yaw: float = 0.0
    camera: str = "orthographic"
    repair: bool = False
    beats: str | None = None
    beats_checkpoint: str | None = None
    max_gap_s: float | None = 1.0

    def options(self, source: str, corpus: Corpus | None, stated: Mapping[str, Any] | None = None) -> Options:
        """How files of a source are read; music is heard as the corpus hears it.

        Raises:
            D2MError: a wrong value, or something stated that the source does not take.
        """
        hears = "rhythm" if corpus is None else corpus.front_end
        beats = self.beats or ("librosa" if corpus is None else corpus.beat_tracker.name)
        return read_options(
            source, (self.yaw,), hears, beats, self.beats_checkpoint, self.max_gap_s, {"repair": self.repair},
            self.camera, stated,
        )  # fmt: skip


def corpus_dances(corpus: Corpus, splits: Sequence[str], yaw: float = 0.0) -> list[DanceToSong]:
    """The real dances of a corpus that have music, each from one view.

    Args:
        yaw: degrees; of the view, where the corpus has several.

    Raises:
        D2MError: no dance in these splits, or no such view.
    """
    yaws = [float(y) for y in corpus.info["options"].get("yaws", ())]
    dances = []
    for i in np.concatenate([corpus.recordings_in(split, with_music=True) for split in splits]):
        recording = int(i)
        many = corpus.n_views(recording) > 1
        if many and yaw not in yaws:
            raise D2MError(f"yaw={yaw:g}: {corpus.folder} has views from {', '.join(f'{y:g}' for y in yaws)} degrees")
        info = corpus.recordings[recording]
        poses = corpus.song_poses(recording, yaws.index(yaw) if many else 0)
        beats, features = corpus.song_beats(recording), corpus.song_features(recording)
        dances.append(DanceToSong(info.name, info.genre, poses, FPS, beats, features))
    if not dances:
        raise D2MError(f"reference={corpus.folder}: no dances with music in its {' and '.join(splits)} split")
    return dances


@dataclass(frozen=True, eq=False)
class Reference:
    """Real dances: of a corpus, or of files. known: as ``genres`` of :func:`d2m.reports.files.read_dances`."""

    name: str
    dances: list[DanceToSong]
    known: dict[str, tuple[str, str]]
    corpus: Corpus | None = None
    read: Sequence[ReadDance] = ()


def open_reference(request: ScoreRequest) -> Reference | None:
    """The reference of a request, None if it names none.

    Raises:
        D2MError: no such folder, a damaged corpus, no dances, an unknown split.
    """
    if request.split not in REFERENCE_SPLITS:
        raise D2MError(f"split={request.split}: choose from {', '.join(REFERENCE_SPLITS)}")
    if request.reference is None:
        return None
    folder = Path(request.reference)
    if (folder / REPORT).is_file():
        corpus = Corpus.open(folder)
        known = {}
        for r in corpus.recordings:
            for name in (r.name, Path(r.audio).stem):
                known.setdefault(name, (r.name, r.genre))
        dances = corpus_dances(corpus, REFERENCE_SPLITS[request.split], request.yaw)
        return Reference(folder.resolve().name, dances, known, corpus)
    options = request.options(find_source(folder, "reference"), None)
    read = read_dances(folder, options, None, {}, "reference")
    named = {n: (d.dance.song, d.dance.genre) for d in read for n in (d.dance.song, d.name)}
    return Reference(folder.resolve().name, [d.dance for d in read], named, None, read)


def score(request: ScoreRequest) -> Table:
    """Measure the dances, and the real ones, by the request's card; writes ``OUT/report.json``.

    Raises:
        D2MError: an unknown card, or one whose needs the dances lack; a dance that cannot be read or has no song in
            ``music``; no dance; a reference without dances. Nothing was written.
    """
    card = load_card(request.card)
    source = request.source or find_source(request.poses, "poses")
    out = Path(request.out)
    reference = open_reference(request)
    corpus = reference.corpus if reference else None
    options = request.options(source, corpus, request.stated)
    read = read_dances(request.poses, options, request.music, reference.known if reference else {}, "poses")
    embed = _embedding(corpus, request.seed) if corpus is not None else None
    table = _measured(card, Path(request.poses).resolve().name, [d.dance for d in read], reference, embed, request.seed)
    check_out(out)
    write_json(out / "report.json", _report(request, source, table, read, reference))
    return table


def _embedding(corpus: Corpus, seed: int) -> Embed:
    """The features of a judge that was fitted on the corpus's training dances."""
    from d2m.reports.judges import fit_judges

    return fit_judges(corpus, seed)[0].features


def _measured(
    card: Card, name: str, dances: list[DanceToSong], reference: Reference | None, embed: Embed | None, seed: int
) -> Table:
    """The real row first. Without a reference there is none."""
    if name == REAL:
        name = "poses"
    table = Table(card)
    real = reference.dances if reference else []
    if real:
        table.add(REAL, card, measure(card, real, real, embed, seed))
    table.add(name, card, measure(card, dances, real, embed, seed))
    return table


def _report(
    request: ScoreRequest, source: str, table: Table, read: Sequence[ReadDance], reference: Reference | None
) -> dict[str, Any]:
    said = {k: v for k, v in request.stated.items() if v is not None}
    how = {"source": source, "repair": request.repair, "yaw": request.yaw, "camera": request.camera, "stated": said}
    beside = None
    if reference is not None:
        corpus = reference.corpus
        beside = {
            "name": reference.name,
            "corpus": None if corpus is None else corpus.digest,
            "split": None if corpus is None else request.split,
            "dances": [d.facts() for d in reference.read] or [d.song for d in reference.dances],
        }
    return {
        **table.plain(), "dances": [d.facts() for d in read], "reference": beside, "read": how, "seed": request.seed,
        "git": git_revision(), "versions": versions(),
    }  # fmt: skip
