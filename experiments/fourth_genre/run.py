"""Do dances to a genre that was never trained on move as much as its real ones? See README.md.

    python -m experiments.fourth_genre.run run=RUN corpus=DIR genre=GENRE out=DIR [seeds=2] [seed=0]

``run``: of d2m train, on all genres but one. ``corpus``: prepared, with all of them. Writes OUT/report.json and
OUT/report.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.files import atomic_path, check_out, write_json
from d2m.data.corpus import Corpus
from experiments.command import arguments

Floats = NDArray[np.float64]
#: What is set against the real energy -> its column.
ROWS = {
    "generated": "generated / real", "oracle": "oracle", "constant": "constant", "beats": "beats alone",
    "ridge": "music alone (ridge)",
}  # fmt: skip


def choose(trained: Corpus, whole: Corpus, genre: str) -> tuple[list[int], list[int]]:
    """Numbers in ``whole`` of the songs trained on, and of those danced to: the run's held-out ones and the genre's.

    Raises:
        D2MError: the run trained on the genre, or ``whole`` has no such genre, other features or not all of its songs.
    """
    number = {r.name: i for i, r in enumerate(whole.recordings)}
    if genre in trained.genres or genre not in whole.genres:
        raise D2MError(
            f"genre={genre}: give one that corpus= has and the run did not train on; "
            f"{', '.join(g for g in whole.genres if g not in trained.genres) or 'there is none'}"
        )
    if whole.front_end != trained.front_end:
        raise D2MError(f"corpus={whole.folder}: front end {whole.front_end}, but the run's is {trained.front_end}")
    known = {s: [trained.recordings[int(i)].name for i in trained.recordings_in(s, with_music=True)]
             for s in ("train", "val", "test")}  # fmt: skip
    if missing := [n for names in known.values() for n in names if n not in number]:
        raise D2MError(f"corpus={whole.folder}: lacks {missing[0]}, which the run knows; give the corpus of all genres")
    own = np.flatnonzero(whole.has_music & (whole.recording_genre == whole.genres.index(genre)))
    return [number[n] for n in known["train"]], [*(number[n] for n in known["val"] + known["test"]), *map(int, own)]


def baselines(x: Floats, period: Floats, energy: Floats, new_x: Floats, new_period: Floats) -> dict[str, Floats]:
    """Energies of new songs (m,) that need no networks; each has the training songs' mean energy on the training songs.

    Args:
        x: (n, f) mean features of the training songs. period: (n,) s between their beats. energy: (n,) of their dances.

    Returns:
        "constant": that mean. "beats": the same movements on every song's beats, energy as 1 / period^2. "ridge": log
        energy from the mean features by ridge regression, its penalty by leaving one song out.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1, 1e6, 13))).fit(x, np.log(energy))
    of = {
        "constant": (np.ones(len(x)), np.ones(len(new_x))),
        "beats": (period**-2.0, new_period**-2.0),
        "ridge": (np.exp(ridge.predict(x)), np.exp(ridge.predict(new_x))),
    }
    return {name: new * energy.mean() / old.mean() for name, (old, new) in of.items()}


def ratio(songs: list[dict[str, Any]], name: str) -> tuple[float, float, float]:
    """Mean of ``name`` over mean "real" energy, and 95 % of it by the jackknife of its logarithm: NaN for one song.

    Songs without a number are left out of both means.
    """
    from d2m.stats.variance import jackknife

    def log_ratio(names: NDArray[np.str_]) -> float:
        mine = [s for s in songs if s["song"] in names]
        return float(np.log(np.mean([s[name] for s in mine]) / np.mean([s["real"] for s in mine])))

    songs = [s for s in songs if np.isfinite(s[name])]
    names = np.array([s["song"] for s in songs], np.str_)
    values = jackknife(log_ratio, names) if len(names) > 1 else (log_ratio(names), np.nan, np.nan)
    value, low, high = np.exp(values).tolist()
    return value, low, high


def measure(a: dict[str, Any], whole: Corpus, training: list[int], danced: list[int]) -> list[dict[str, Any]]:
    """A row per song danced to: its real dance's energy (torso lengths^2/s^2) and that of all :data:`ROWS`.

    The oracle dances samples of z_dan of sequences from all over the real dance: their mean would move less.
    """
    from d2m.core.skeleton import BEAT_PERIOD, FPS
    from d2m.dance.clock import dance_pulse, segments_needed
    from d2m.dance.encoding import Extraction
    from d2m.dance.extraction import extract_dance
    from d2m.dance.generator import DanceGenerator
    from d2m.metrics.motion import mean_energy
    from d2m.reports.held_out import dance_to_recording, real_energy, real_scale
    from experiments.material import progress

    def heard(songs: list[int]) -> tuple[Floats, Floats]:
        x = np.array([np.mean(whole.song_features(i), axis=0, dtype=np.float64) for i in songs])
        pulses = [dance_pulse(whole.song_beats(i)) for i in songs]
        return x, np.array([np.median(np.diff(p)) if len(p) > 1 else BEAT_PERIOD / FPS for p in pulses])

    generator = DanceGenerator.load(Path(a["run"]) / "bundle")
    longest = max(segments_needed(whole.song_beats(i), len(whole.song_features(i)), warp=True) for i in danced)
    dances = extract_dance(generator, whole, Extraction(n_draws=longest, seed=a["seed"]))
    known = dict(zip(dances.song.tolist(), dances.draws, strict=True))
    told = baselines(*heard(training), np.array([real_energy(whole, i) for i in training]), *heard(danced))
    rows: list[dict[str, Any]] = []
    seeds = range(a["seed"], a["seed"] + a["seeds"])
    with progress(len(danced), "songs") as step:
        for k, i in enumerate(danced):
            info, scale = whole.recordings[i], real_scale(whole, i)
            row: dict[str, Any] = {"song": info.name, "genre": info.genre, "real": real_energy(whole, i)}
            row |= {name: float(values[k]) for name, values in told.items()}
            own = (
                {"oracle": known[info.name]} if info.name in known else {}
            )  # a short dance has no three units in a row
            row["oracle"] = float("nan")
            for name, z in {"generated": None, **own}.items():
                made = [dance_to_recording(generator, whole, i, s, z_dan=z) for s in seeds]
                row[name] = float(np.mean([mean_energy(d.poses["original"], scale) for d in made]))
                row[f"{name}_too_still"] = float(np.mean([(~d.accepted).mean() for d in made]))
            rows.append(row)
            step(k + 1)
    return rows


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.bundle.run_folder import RunFolder
    from d2m.core.machine import git_revision, versions

    a = arguments({"run": None, "corpus": None, "genre": None, "out": None, "seeds": 2, "seed": 0}, sys.argv[1:])
    if a["seeds"] < 1:
        raise D2MError(f"seeds={a['seeds']}: give 1 or more")
    began, out, whole = time.perf_counter(), Path(a["out"]), Corpus.open(a["corpus"])
    training, danced = choose(Corpus.open(RunFolder(Path(a["run"])).corpus()), whole, a["genre"])
    check_out(out)
    rows = measure(a, whole, training, danced)
    lines = [f"| genre | songs | real energy | {' | '.join(ROWS.values())} |", f"|{'---|' * (3 + len(ROWS))}"]
    table: dict[str, Any] = {}
    for genre in sorted({r["genre"] for r in rows}, key=lambda g: (g != a["genre"], g)):
        own = [r for r in rows if r["genre"] == genre]
        table[genre] = ratios = {name: ratio(own, name) for name in ROWS}
        _, low, high = ratios["generated"]
        cells = [f"{v:.2f}" for v, *_ in ratios.values()]
        cells[0] += f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else ""
        label = f"**{genre}**, not trained on" if genre == a["genre"] else f"{genre}, held out"
        lines.append(f"| {label} | {len(own)} | {np.mean([r['real'] for r in own]):.3f} | {' | '.join(cells)} |")
    facts = {"arguments": a, "training_songs": [whole.recordings[i].name for i in training], "git": git_revision(),
             "versions": versions(), "seconds": time.perf_counter() - began}  # fmt: skip
    write_json(out / "report.json", {"ratios": table, "songs": rows, "facts": facts})
    with atomic_path(out / "report.md") as temp:
        temp.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines) + f"\nreport: {out / 'report.md'}")


if __name__ == "__main__":
    run(main)
