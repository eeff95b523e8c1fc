"""Which way of editing z_dan is best, and by how much? Success, content, naturalness on held-out songs. See README.md.

    python -m experiments.edit_benchmark.run bundle=DIR out=DIR [corpus=DIR] [songs=0] [seconds=20]
        [strengths=[0.5,1.0,1.5,2.5]] [controls=4] [permuted=8] [steps=30] [seed=0]

``songs`` of every genre at most, 0 for all; ``strengths`` in lengths of the mean shift, 1.0 among them; ``steps`` of
the optimiser, 0 for none. Writes OUT/index.html, OUT/report.json, OUT/report.md, OUT/figures; OUT/songs keeps what was
measured, so that the command, given again, continues.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from experiments.command import arguments

if TYPE_CHECKING:
    from d2m.data.corpus import Corpus
    from experiments.edit_benchmark.dances import Bench, Options

DEFAULTS: dict[str, Any] = {
    "bundle": None, "out": None, "corpus": "", "songs": 0, "seconds": 20.0, "strengths": "[0.5,1.0,1.5,2.5]",
    "controls": 4, "permuted": 8, "steps": 30, "seed": 0,
}  # fmt: skip


def read_strengths(text: str) -> tuple[float, ...]:
    """Raises D2MError unless they are increasing positive numbers with 1 among them."""
    try:
        values = tuple(float(x) for x in text.strip("[]").split(","))
    except ValueError:
        values = ()
    if not values or values[0] <= 0 or any(b <= a for a, b in pairwise(values)) or 1.0 not in values:
        raise D2MError(f"strengths={text}: give increasing numbers above 0, 1.0 among them, such as [0.5,1.0,2.0]")
    return values


def studied_songs(corpus: Corpus, per_genre: int, frames: int) -> list[int]:
    """Held-out recordings with music that last so long, every genre's first ones; all if ``per_genre`` is 0.

    Raises:
        D2MError: fewer than two genres have any.
    """
    import numpy as np

    from d2m.core.skeleton import FPS
    from d2m.reports.held_out import held_out_songs

    lasts = np.minimum(corpus.feature_bounds[:, 1], corpus.pose_bounds[:, 1])
    long = [i for i in held_out_songs(corpus) if lasts[i] >= frames]
    chosen = []
    for g in corpus.genres:
        own = [i for i in long if corpus.recordings[i].genre == g]
        chosen += own[: per_genre or len(own)]
    if len({corpus.recordings[i].genre for i in chosen}) < 2:
        raise D2MError(f"{corpus.folder}: two genres need a held-out song of {frames / FPS:g} s; give fewer seconds=")
    return chosen


def prepare(a: dict[str, Any], o: Options) -> tuple[Bench, list[int]]:
    """Everything that is fitted, on the training songs only."""
    import numpy as np

    from d2m.dance.encoding import Extraction
    from d2m.dance.extraction import extract_corpus_music
    from d2m.dance.generator import DanceGenerator
    from d2m.reports.edit_scores import reference_of
    from d2m.reports.judges import fit_judges
    from experiments.edit_benchmark.attributes import fit_axes, pulse_count
    from experiments.edit_benchmark.dances import Bench
    from experiments.edit_benchmark.edits import fit_pair
    from experiments.material import find_corpus

    generator = DanceGenerator.load(a["bundle"])
    corpus = find_corpus(a["bundle"], a["corpus"])
    songs = studied_songs(corpus, a["songs"], o.frames)
    genres = [g for g in corpus.genres if any(corpus.recordings[i].genre == g for i in songs)]
    steps = o.steps if generator.motion_style is not None else 0
    if o.steps and not steps:
        print("left out: optimise (this bundle has no motion classifier; stages=[...,motion_style] trains one)")
    judges = fit_judges(corpus, a["seed"], Path(a["out"]) / "judge.safetensors")
    training = sorted(map(int, corpus.recordings_in("train", with_music=True)))
    table = extract_corpus_music(generator, corpus, Extraction(None, 8, 64, a["seed"]), recordings=training).by_song()
    by_name = {corpus.recordings[i].name: i for i in training}
    tempo = np.array([pulse_count(corpus.song_beats(by_name[s]), 60.0) for s in table.song])
    axes = fit_axes(generator, corpus, training, 2 * o.seconds, a["seed"])
    pairs = {
        (s, t): fit_pair(
            table, tempo, axes, s, t, controls=o.controls, permuted=o.permuted, steps=steps, seed=a["seed"]
        )
        for s, t in permutations(genres, 2)
    }
    references = {g: reference_of(corpus, g, judges, o.frames) for g in genres}
    return Bench(generator, corpus, judges, references, pairs, axes, o), songs


def dance_all(bench: Bench, songs: Sequence[int], out: Path) -> tuple[list[Any], list[Any], list[Any]]:
    """Every song's rows, and the anchors."""
    from d2m.dance.encoding import space_of
    from experiments.edit_benchmark.dances import foreign_content, original, settings_key, song_file
    from experiments.edit_benchmark.measure import real_rows
    from experiments.material import progress

    o = bench.options
    key = settings_key(space_of(bench.generator), bench.corpus.digest, vars(o), list(songs))
    with progress(len(songs) + 1, "songs") as step:
        originals = [original(bench.generator, bench.corpus, i, o) for i in songs]
        foreign = foreign_content(originals, 6, o.seed)
        real = real_rows(bench.corpus, songs, o.frames, bench.judges, bench.references, o.seed)
        step(1)
        files = []
        for k, one in enumerate(originals):
            files.append(song_file(out / "songs", bench, one, songs, key))
            step(k + 2)
    return files, real, foreign


def report_of(bench: Bench, files: list[Any], real: list[Any], foreign: list[Any], seed: int) -> dict[str, Any]:
    """All numbers of report.json but the facts."""
    from experiments.edit_benchmark import edits as e
    from experiments.edit_benchmark.rescoring import held, rescoring
    from experiments.edit_benchmark.results import (
        compare_at_success,
        left_of,
        optimiser_answer,
        paired_aggregates,
        permutation_test,
        row,
        verdict,
    )
    from experiments.edit_benchmark.scores import score
    from experiments.edit_benchmark.words import best_of, paragraph

    genres = [g for g in bench.corpus.genres if g in bench.references]
    scores = score(files, real, foreign, genres)
    o = bench.options
    strengths = {e.OPTIMISE: e.SHARES, e.NO_EDIT: (0.0,), e.REAL: (0.0,)}
    names = [n for n in (*e.METHODS, *e.VARIANTS, e.NO_EDIT, e.RANDOM, e.PERMUTED, e.REAL) if scores.has(n)]
    rows = {n: row(scores, n, strengths.get(n, o.strengths), seed) for n in names}
    judges = [{"name": j.name, **j.held_out} for j in bench.judges]
    answer = optimiser_answer(scores, [j.name for j in bench.judges], seed)
    report: dict[str, Any] = {"rows": rows, "judges": judges, "broken": verdict(rows, judges), "optimiser": answer}
    best = best_of(rows)
    methods = [n for n in names if n in e.METHODS]
    report["against_best"] = paired_aggregates(scores, methods, best, seed) if best is not None else {}
    report["permutation_test"] = permutation_test(scores, seed)
    report["at_equal_success"] = [
        compared
        for n in e.METHODS
        if n != e.MEAN_SHIFT and scores.has(n) and (compared := compare_at_success(scores, n, e.MEAN_SHIFT, seed))
    ]
    report["paragraph"] = paragraph(report)
    one = o.strengths.index(1.0)
    report["left"] = {
        n: share for n in (e.MEAN_SHIFT, *e.VARIANTS) if scores.has(n) and (share := left_of(scores, n, one, seed))
    }
    report["rescoring"] = rescoring(files, one)
    report["attributes_r2"] = {"within genres": bench.axes.within.heard, "pooled": bench.axes.pooled.heard}
    report["held"] = held(files, one)
    report["tempo_matched_pairs"] = {f"{s} to {t}": p.matched_pairs for (s, t), p in bench.pairs.items()}
    report["success_by_judge"] = {
        n: dict(zip((j.name for j in bench.judges), scores.best_by_judge(n), strict=True)) for n in names
    }
    report["anchors"] = scores.anchors
    report["songs"] = dict(zip(scores.songs, (genres[g] for g in scores.genre_of), strict=True))
    return report


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.core.files import check_out
    from experiments.edit_benchmark.dances import Options
    from experiments.edit_benchmark.page import publish

    a = arguments(DEFAULTS, sys.argv[1:])
    strengths = read_strengths(a["strengths"])
    if min(a["songs"], a["permuted"], a["steps"]) < 0 or a["controls"] < 1 or a["seconds"] < 6.5:
        raise D2MError("give controls of at least 1, seconds of at least 6.5, and no negative songs, permuted or steps")
    out, began = Path(a["out"]), time.perf_counter()
    check_out(out)
    o = Options(a["seconds"], strengths, a["controls"], a["permuted"], a["steps"], a["seed"])
    bench, songs = prepare(a, o)
    report = report_of(bench, *dance_all(bench, songs, out), a["seed"])
    publish(out, report, a, bench, time.perf_counter() - began)


if __name__ == "__main__":
    run(main)
