"""``d2m score``: other people's dances, measured by a protocol card beside real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.core.skeleton import FPS
from d2m.data.corpus import REPORT, Corpus
from d2m.data.splits import SPLITS
from d2m.metrics.cards import DanceToSong, Table, load_card, measure
from d2m.prepare.process import Options
from d2m.prepare.run import read_options
from d2m.reports.card_table import plain_table
from d2m.reports.files import ReadDance, find_source, read_dances
from d2m.reports.judges import Judge, fit_judges

#: split= -> the splits of a corpus whose dances are the reference.
REFERENCE_SPLITS: dict[str, tuple[str, ...]] = {"held_out": SPLITS[1:], "all": SPLITS, **{s: (s,) for s in SPLITS}}
REAL = "real"


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


def open_reference(request: ScoreRequest, feet: bool) -> Reference | None:
    """The reference of a request, None if it names none.

    Args:
        feet: whether the card measures feet.

    Raises:
        D2MError: no such folder, a damaged corpus, no dances, an unknown split, feet of a corpus.
    """
    if request.split not in REFERENCE_SPLITS:
        raise D2MError(f"split={request.split}: choose from {', '.join(REFERENCE_SPLITS)}")
    if request.reference is None:
        return None
    folder = Path(request.reference)
    if (folder / REPORT).is_file():
        corpus = Corpus.open(folder)
        if feet:
            raise D2MError(
                f"reference={folder}: a corpus has no toes; give a folder of real dances that have, or omit it"
            )
        known: dict[str, tuple[str, str]] = {}
        for r in corpus.recordings:
            for name in (r.name, Path(r.audio).stem):
                known.setdefault(name, (r.name, r.genre))
        dances = corpus_dances(corpus, REFERENCE_SPLITS[request.split], request.yaw)
        return Reference(folder.resolve().name, dances, known, corpus)
    options = request.options(find_source(folder, "reference"), None)
    read = read_dances(folder, options, None, {}, "reference", feet)
    known = {n: (d.dance.song, d.dance.genre) for d in read for n in (d.dance.song, d.name)}
    return Reference(folder.resolve().name, [d.dance for d in read], known, None, read)


def same_songs(real: Sequence[DanceToSong], dances: Sequence[DanceToSong]) -> list[DanceToSong]:
    """The real dances to the songs of ``dances``; all of them if a song has no real dance."""
    songs = {d.song for d in dances}
    return [d for d in real if d.song in songs] if songs <= {d.song for d in real} else list(real)


def score(request: ScoreRequest) -> Table:
    """Measure the dances, and the real ones beside them, by the request's card; writes ``OUT/report.json``.

    If all songs that were danced to are the reference's, only its dances to them are the reference: both sides are then
    of the same songs, and of the same mix of genres.

    Raises:
        D2MError: an unknown card, or one whose needs the dances lack; a dance that cannot be read or has no song in
            ``music``; no dance; a reference without dances. Nothing was written.
    """
    card = load_card(request.card)
    needs_feet = card.features == "feet"
    if request.reference is None and not needs_feet:
        raise D2MError(f"card {card.name} measures beside real dances; give reference=, a corpus or a folder of them")
    source = request.source or find_source(request.poses, "poses")
    reference = open_reference(request, needs_feet)
    corpus = reference.corpus if reference else None
    options = request.options(source, corpus, request.stated)
    known = reference.known if reference else {}
    read = read_dances(request.poses, options, request.music, known, "poses", needs_feet)
    dances = [d.dance for d in read]
    real = same_songs(reference.dances, dances) if reference else []
    judges = fit_judges(corpus, request.seed) if corpus is not None and card.features == "embed" else None
    embed = judges[0].features if judges else None
    table = Table(card)
    if real:
        table.add(REAL, measure(card, real, real, embed, request.seed))
    name = Path(request.poses).resolve().name
    name = f"{name} (poses)" if name == REAL else name
    table.add(name, measure(card, dances, real or dances, embed, request.seed))
    out = Path(request.out)
    check_out(out)
    write_json(out / "report.json", _report(request, source, table, read, reference, real, judges))
    return table


def _report(
    request: ScoreRequest,
    source: str,
    table: Table,
    read: Sequence[ReadDance],
    reference: Reference | None,
    real: Sequence[DanceToSong],
    judges: Sequence[Judge] | None,
) -> dict[str, Any]:
    """What is in report.json; names of folders, no paths of this machine."""
    said = {k: v for k, v in request.stated.items() if v is not None}
    beside = None
    if reference is not None:
        of_corpus = None if reference.corpus is None else {"digest": reference.corpus.digest, "split": request.split}
        files = [d.facts() for d in reference.read]
        songs = sorted({d.song for d in real})
        beside = {"name": reference.name, "corpus": of_corpus, "songs": songs, "n_dances": len(real), "files": files}
    return {
        **plain_table(table),
        "dances": [d.facts() for d in read],
        "reference": beside,
        "judges": {j.name: j.held_out for j in judges or ()},
        "read": {"source": source, "repair": request.repair, "yaw": request.yaw, "camera": request.camera, **said},
        "seed": request.seed,
        "git": git_revision(),
        "versions": versions(),
    }
