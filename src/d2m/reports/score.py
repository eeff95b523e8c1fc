"""``d2m score``: measures dances made by any program by a protocol card, next to real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.data.corpus import Corpus
from d2m.data.layout import REPORT
from d2m.data.splits import SPLITS
from d2m.metrics.cards import Measured, Table, load_card
from d2m.metrics.figure import DanceToSong, unmeasured
from d2m.metrics.measure import Reference, measure
from d2m.prepare.process import Options
from d2m.prepare.run import read_options
from d2m.reports.evaluate.songs import SongScales, judged_figures, song_rows
from d2m.reports.evaluate.systems import REAL, real
from d2m.reports.files import ReadDance, find_source, read_dances
from d2m.reports.held_out import HELD_OUT
from d2m.reports.judges import Judges, fit_judges

#: split= -> the splits of a corpus whose dances are the reference.
REFERENCE_SPLITS: dict[str, tuple[str, ...]] = {"held_out": HELD_OUT, "all": SPLITS, **{s: (s,) for s in SPLITS}}


@dataclass(frozen=True)
class ScoreRequest:
    """The dances to score and how to read them; the keys of conf/measure/score.yaml.

    stated: what the user states about the poses, :class:`d2m.prepare.stated.Stated`. yaws: cameras for 3-D dances;
    None: those of the corpus, or else from the front.
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
    yaws: Sequence[float] | None = None
    camera: str = "orthographic"
    repair: bool = False
    beats: str | None = None
    beats_checkpoint: str | None = None
    max_gap_s: float | None = 1.0

    def options(self, source: str, corpus: Corpus | None, stated: Mapping[str, Any] | None = None) -> Options:
        """Options for reading files of a source, with the corpus's front end and beat tracker.

        Raises:
            D2MError: an invalid value, or a statement that the source does not accept.
        """
        seen = corpus.info["options"]["yaws"] if corpus is not None and self.yaws is None else self.yaws or (0.0,)
        hears = "rhythm" if corpus is None else corpus.front_end
        beats = self.beats or ("librosa" if corpus is None else corpus.beat_tracker.name)
        return read_options(
            source, seen, hears, beats, self.beats_checkpoint, self.max_gap_s, {"repair": self.repair},
            self.camera, stated,
        )  # fmt: skip


def corpus_dances(corpus: Corpus, splits: Sequence[str]) -> list[DanceToSong]:
    """The real dances of a corpus with music, in all views, as in ``d2m evaluate``.

    Raises:
        D2MError: no dance in these splits.
    """
    system = real(corpus)
    songs = [int(i) for split in splits for i in corpus.recordings_in(split, with_music=True)]
    if not songs:
        raise D2MError(f"reference={corpus.folder}: no dances with music in its {' and '.join(splits)} split")
    return [d for draws in system.dances(songs) for d in draws]


@dataclass(frozen=True, eq=False)
class RealDances:
    """Real dances of a corpus or from files. known: as ``genres`` of :func:`d2m.reports.files.read_dances`."""

    name: str
    dances: list[DanceToSong]
    known: dict[str, tuple[str, str]]
    corpus: Corpus | None = None
    read: Sequence[ReadDance] = ()


def open_reference(request: ScoreRequest, feet: bool) -> RealDances | None:
    """The reference of a request, None if it names none.

    Args:
        feet: whether the card measures feet.

    Raises:
        D2MError: no such folder, a damaged corpus, no dances, an unknown split, or feet requested from a corpus.
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
        dances = corpus_dances(corpus, REFERENCE_SPLITS[request.split])
        return RealDances(folder.resolve().name, dances, known, corpus)
    options = request.options(find_source(folder, "reference"), None)
    read = read_dances(folder, options, None, {}, "reference", feet)
    known = {n: (d.views[0].song, d.views[0].genre) for d in read for n in (d.views[0].song, d.name)}
    return RealDances(folder.resolve().name, [v for d in read for v in d.views], known, None, read)


def same_songs(real: Sequence[DanceToSong], dances: Sequence[DanceToSong]) -> list[DanceToSong]:
    """The real dances to the songs of ``dances``; all of them if a song has no real dance."""
    songs = {d.song for d in dances}
    return [d for d in real if d.song in songs] if songs <= {d.song for d in real} else list(real)


class Scored(NamedTuple):
    """table: of the card; its row ``name`` has the scored dances."""

    table: Table
    name: str


def score(request: ScoreRequest) -> Scored:
    """Measure the dances, and the real ones beside them, by the request's card; writes ``OUT/report.json``.

    If the reference has dances to all scored songs, only these are used, so that both sides have the same songs and
    the same mix of genres.

    Raises:
        D2MError: an unknown card, or one whose requirements the dances do not meet; a dance that cannot be read or has
            no song in ``music``; no dances; a reference without dances. Nothing is written then.
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
    dances = [v for d in read for v in d.views]
    beside = same_songs(reference.dances, dances) if reference else []
    judges = fit_judges(corpus, request.seed) if corpus is not None and card.features == "embed" else None
    measured_by = Reference(card, beside or dances, judges[0].features if judges else None)
    table = Table(card)
    name = Path(request.poses).resolve().name
    name = f"{name} (poses)" if name == REAL else name
    if beside:
        table.add(REAL, _measured(measured_by, beside, beside, judges, request.seed))
    row = _measured(measured_by, dances, beside, judges, request.seed)
    if "multimodality" in row and any(len(d.views) > 1 for d in read):
        row["multimodality"] = unmeasured(row["multimodality"].unit, "higher", "views of one dance are no draws")
    table.add(name, row)
    out = Path(request.out)
    check_out(out)
    write_json(out / "report.json", _report(request, source, options, table, read, reference, beside, judges))
    return Scored(table, name)


def _measured(
    reference: Reference, dances: Sequence[DanceToSong], beside: Sequence[DanceToSong], judges: Judges | None, seed: int
) -> Measured:
    """Including the judges' figures, if the reference has all songs of the dances."""
    figures = measure(reference.card, dances, reference, seed=seed)
    if judges and {d.song for d in dances} <= {d.song for d in beside}:
        by_song = sorted(dances, key=lambda d: d.song)
        rows = song_rows(by_song, judges, SongScales.of(sorted(beside, key=lambda d: d.song)))
        figures = Measured(reference.card, figures | judged_figures(rows, 1 / len(judges[0].genres), seed))
    return figures


def _report(
    request: ScoreRequest,
    source: str,
    options: Options,
    table: Table,
    read: Sequence[ReadDance],
    reference: RealDances | None,
    dances: Sequence[DanceToSong],
    judges: Judges | None,
) -> dict[str, Any]:
    """The contents of report.json, with names of folders instead of paths."""
    said = {k: v for k, v in request.stated.items() if v is not None}
    beside = None
    if reference is not None:
        of_corpus = None if reference.corpus is None else {"digest": reference.corpus.digest, "split": request.split}
        files = [d.facts() for d in reference.read]
        songs = sorted({d.song for d in dances})
        beside = {"name": reference.name, "corpus": of_corpus, "songs": songs, "n_dances": len(dances), "files": files}
    assert table.card is not None
    return {
        "card": asdict(table.card),
        "rows": {name: {k: asdict(f) for k, f in row.items()} for name, row in table.rows.items()},
        "dances": [d.facts() for d in read],
        "reference": beside,
        "judges": {j.name: j.held_out for j in judges or ()},
        "read": {
            "source": source,
            "repair": request.repair,
            "yaws": list(options.yaws),
            "camera": request.camera,
            **said,
            "beats": options.beats,
            "front_end": options.front_end,
        },
        "seed": request.seed,
        "git": git_revision(),
        "versions": versions(),
    }
