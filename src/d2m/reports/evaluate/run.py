"""``d2m evaluate``: dances of all systems to held-out songs, judges, cards, and the report."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from d2m.bundle import read_bundle
from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import check_out, write_json
from d2m.core.machine import git_revision, versions
from d2m.core.progress import bar
from d2m.dance.extraction import check_hears_alike
from d2m.dance.generator import DanceGenerator
from d2m.data.corpus import Corpus
from d2m.metrics.cards import Card, Measured, Table, load_card
from d2m.metrics.edit_axes import objective
from d2m.metrics.measure import Reference, measure
from d2m.reports.evaluate.show import write_figure
from d2m.reports.evaluate.songs import SongRows, SongScales, by_genre, judged_figures, paired, song_rows
from d2m.reports.evaluate.store import Danced, file_name
from d2m.reports.evaluate.systems import REAL, baselines, bundle_system, real, real_latents_system
from d2m.reports.held_out import HELD_OUT
from d2m.reports.judges import Judges, fit_judges


@dataclass(frozen=True)
class Request:
    """The command's arguments, see conf/measure/evaluate.yaml."""

    bundles: tuple[Path, ...]
    out: Path
    data: Path | None = None
    cards: tuple[str, ...] = ("d2m",)
    splits: tuple[str, ...] = HELD_OUT
    songs_per_genre: int | None = None
    draws: int = 3
    baselines: bool = True
    seed: int = 0
    style_mode: str | None = None
    device: str = "cpu"


def bundle_names(bundles: Sequence[Path]) -> list[str]:
    """A unique name for every bundle: ``RUN`` for ``RUN/bundle``, with more parent folders if two are equal or if it is
    only a number, as in a sweep.

    Raises:
        D2MError: a duplicate bundle, or one named like the row of the ground truth.
    """
    parts = [p.resolve().parts for p in bundles]
    short = [p[:-1] if p[-1] == "bundle" and len(p) > 2 else p for p in parts]
    longest = max(map(len, short))
    for k in range(1, longest + 1):
        names = ["/".join(p[-k:]) for p in short]
        if len(set(names)) == len(names) and (k == longest or not any(n.isdecimal() for n in names)):
            return [f"bundle {n}" if n == REAL else n for n in names]
    raise D2MError(f"bundle={bundles[0]}: the same bundle twice; give each once")


def corpus_of(bundle: Path, data: Path | None) -> Corpus:
    """The corpus to measure on: as given, or the one that the bundle's run was trained on.

    Raises:
        D2MError: no run next to the bundle, or its corpus is missing or has changed.
    """
    if data is not None:
        return Corpus.open(data)
    run = RunFolder(bundle.resolve().parent)
    if not run.facts().get("corpus"):
        raise D2MError(f"{bundle}: there is no run.json next to it that names its corpus; give data=CORPUS")
    if not run.corpus().is_dir():
        raise D2MError(f"{run.corpus()}: the corpus of {run.path} is not here; give data=CORPUS")
    corpus = Corpus.open(run.corpus())
    seen = trained_on(bundle).get("fingerprint")
    if seen is not None and seen != corpus.digest:
        raise D2MError(
            f"{corpus.folder}: has changed since {run.path} was trained on it, so its held-out songs "
            f"may have been trained on; give data={corpus.folder} to measure on it anyway"
        )
    return corpus


def trained_on(bundle: Path) -> dict[str, Any]:
    """A bundle's record of its corpus: "fingerprint", "songs" (split -> names); {} for an import."""
    told = read_bundle(bundle).provenance.get("corpus")
    return told if isinstance(told, dict) else {}


def chosen_songs(
    corpus: Corpus, splits: Sequence[str], per_genre: int | None, trained: Collection[str] = ()
) -> list[int]:
    """Recordings of the splits with music and beats, genre by genre; at most ``per_genre`` of each.

    Args:
        trained: names of songs that a bundle was trained on; these are left out, with a message.

    Raises:
        D2MError: fewer than two are left.
    """
    known = {
        i for s in splits for i in corpus.recordings_in(s, with_music=True) if corpus.recordings[i].name in trained
    }
    if known:
        print(f"{len(known)} of these songs are left out: a bundle was trained on songs of these names")
    songs = []
    for genre in corpus.genres:
        mine = [int(i) for s in splits for i in corpus.recordings_in(s, genre, with_music=True) if i not in known]
        songs += [i for i in mine if len(corpus.song_beats(i)) > 1][:per_genre]
    if len(songs) < 2:
        raise D2MError(
            f"{corpus.folder}: {len(songs)} usable songs in {' and '.join(splits)}; two are needed: "
            "choose other splits=[...] or data=CORPUS"
        )
    return songs


class Evaluation(NamedTuple):
    """The results of an evaluation.

    report: see :func:`evaluate`. tables: one per card. measured: the bundles' rows.
    """

    report: dict[str, Any]
    tables: tuple[Table, ...]
    measured: tuple[str, ...]


def evaluate(request: Request) -> Evaluation:
    """Measure the bundles; writes ``OUT/report.json``, ``OUT/CARD.png`` and ``OUT/dances``.

    Returns:
        The tables and the report: "songs", "judges", and for every card "pins" and "rows", system -> figure -> its
        values; "objective", bundle -> one number in [0, 1]; "genres", system -> genre -> means over songs; "paired",
        "A - B" -> figure -> difference, interval, p.

    Raises:
        D2MError: a bundle, corpus or card that cannot be read or does not fit; nothing is written then.
    """
    began = time.perf_counter()
    cards = [load_card(name) for name in request.cards]
    names = bundle_names(request.bundles)
    generators = [DanceGenerator.load(b, request.device, request.style_mode) for b in request.bundles]
    corpus = corpus_of(request.bundles[0], request.data)
    for generator in generators:
        check_hears_alike(generator, corpus)
    origins = [trained_on(b) for b in request.bundles]
    trained = {name for o in origins for name in o.get("songs", {}).get("train", ())}
    songs = chosen_songs(corpus, request.splits, request.songs_per_genre, trained)
    check_out(request.out)

    systems = [real(corpus)]
    systems += [
        bundle_system(n, g, corpus, request.draws, request.seed) for n, g in zip(names, generators, strict=True)
    ]
    if request.baselines:
        systems += [real_latents_system(n, g, corpus, request.seed) for n, g in zip(names, generators, strict=True)]
        systems += baselines(corpus, generators[0], request.seed)
    danced = {s.name: Danced(s, corpus, songs, request.out / "dances") for s in systems}
    with bar(len(songs) * len(systems), "dancing", "dances") as step:
        for dances in danced.values():
            step(0, description=f"dancing: {dances.system.name}"[:40])
            for _ in dances.dance():
                step()
    danced = {name: d for name, d in danced.items() if len(d)}

    judges = fit_judges(corpus, request.seed, request.out / "judge.safetensors")
    tables = {c.name: Table(c) for c in cards}
    rows = _measure(danced, cards, tables, judges, request.seed)
    report = {
        "songs": [corpus.recordings[i].name for i in songs],
        "splits": list(request.splits),
        "corpus": corpus.digest,
        "bundles": {
            n: {"sha256": g.provenance.get("files", {}).get("weights.safetensors"),
                "corpus": o.get("fingerprint"), "style_mode": g.style_mode}
            for n, o, g in zip(names, origins, generators, strict=True)
        },
        "draws": request.draws,
        "seed": request.seed,
        "judges": {j.name: j.held_out for j in judges},
        "cards": {
            c.name: {
                "pins": asdict(c),
                "rows": {s: {k: asdict(f) for k, f in row.items()} for s, row in tables[c.name].rows.items()},
            }
            for c in cards
        },
        "objective": {n: _objective(tables[c.name], n) for c in cards if c.features == "embed" for n in names},
        "genres": {name: by_genre(r) for name, r in rows.items()},
        "paired": {f"{a} - {b}": paired(rows[a], rows[b], request.seed) for a, b in combinations(names, 2)},
        "git": git_revision(),
        "versions": versions(),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    for card in cards:
        write_figure(tables[card.name], request.out / f"{file_name(card.name)}.png")
    write_json(request.out / "report.json", report)
    return Evaluation(report, tuple(tables.values()), tuple(names))


def _objective(table: Table, name: str) -> float:
    """:func:`d2m.metrics.edit_axes.objective` of a row; 0 if part of it could not be measured."""
    row, judged = table.rows[name], "judged_network"
    fid = row["fid"]
    parts = {
        "judged": row[judged].value, "chance": row[judged].chance, "real": table.rows[REAL][judged].value,
        "energy_ratio": row["energy_ratio"].value, "fid_ratio": fid.value / fid.chance if fid.chance else float("nan"),
        "seam": row["boundary_jump"].value,
    }  # fmt: skip
    known = {k: v for k, v in parts.items() if v is not None and math.isfinite(v)}
    return objective(**known) if known.keys() == parts.keys() else 0.0


def _measure(
    danced: dict[str, Danced], cards: Sequence[Card], tables: dict[str, Table], judges: Judges, seed: int
) -> dict[str, SongRows]:
    """Fill the tables; returns measures per song."""
    rows: dict[str, SongRows] = {}
    truth = danced[REAL]
    scales = SongScales.of(truth)
    references = {c.name: Reference(c, truth, judges[0].features) for c in cards}
    chance = 1 / len(judges[0].genres)
    with bar(len(danced) * (len(cards) + 1), "measuring", "rows") as step:
        for name, dances in danced.items():
            step(0, description=f"measuring: {name}"[:40])
            rows[name] = song_rows(dances, judges, scales)
            step()
            for card in cards:
                figures = measure(card, dances, references[card.name], seed=seed)
                if card.features == "embed":  # cards with a motion classifier also have judges
                    figures = Measured(card, figures | judged_figures(rows[name], chance, seed))
                tables[card.name].add(name, figures)
                step()
    return rows
