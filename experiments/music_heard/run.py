"""What a front end hears of the genre: linear readers of 2 s windows, cross-validated by song. See README.md.

    python -m experiments.music_heard.run music=DIR out=DIR [front_ends=mfcc,tempogram,aist35,rhythm] [seed=0]
        [runs=[DIR,DIR,...]] [the options of experiments.ballroom.run]

``music``: a folder with a folder of songs per genre, a raw corpus, or a table of songs. Writes OUT/report.json and
OUT/report.md; OUT/features keeps each song's features for the next run. With ``runs``, also OUT/runs: what trained
runs made of what they heard, as experiments/ballroom reports it.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.cli.command_line import run
from experiments.command import arguments

#: Of the logistic regression: a strong L2 penalty, for a window has up to 376 numbers and there are 45 songs.
C = 0.003
#: Columns of `rhythm` by themselves.
TEMPOGRAM = "tempogram"

Floats = NDArray[np.float32]


def windows(rows: Floats) -> Floats:
    """(t, f) -> (n, 2 f): mean and deviation of each 2 s, one after another; a rest is left out."""
    from d2m.core.skeleton import STYLE_FRAMES

    n = len(rows) // STYLE_FRAMES
    cut = rows[: n * STYLE_FRAMES].reshape(n, STYLE_FRAMES, -1)
    return np.asarray(np.concatenate([cut.mean(1), cut.std(1)], 1), np.float32)


def heard(song: NDArray[np.int64], x: Floats, genre: NDArray[np.int64], folds: int, seed: int) -> tuple[float, float]:
    """Balanced accuracy over genres of held-out songs by their windows' votes, and of single windows.

    Args:
        song: (n,) of each window. x: (n, 2 f). genre: (s,) of each song.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    said = np.empty(len(x), np.int64)
    for train, _ in StratifiedKFold(folds, shuffle=True, random_state=seed).split(genre, genre):
        known = np.isin(song, train)
        reader = make_pipeline(StandardScaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=300))
        said[~known] = reader.fit(x[known], genre[song[known]]).predict(x[~known])
    votes = np.zeros((len(genre), genre.max() + 1), np.int64)
    np.add.at(votes, (song, said), 1)
    truth = genre[song]
    return float(balanced_accuracy_score(genre, votes.argmax(1))), float(balanced_accuracy_score(truth, said))


def measure(rows: Sequence[Floats], genre: NDArray[np.int64], a: dict[str, Any]) -> dict[str, Any]:
    """One front end's row of the table; its null retrains on shuffled genres of the songs."""
    from d2m.stats.nulls import permutation_p

    cut = [windows(r) for r in rows]
    song, x = np.repeat(np.arange(len(cut)), [len(w) for w in cut]), np.concatenate(cut)
    folds = np.array([heard(song, x, genre, a["folds"], a["seed"] + k) for k in range(a["repeats"])])
    rng = np.random.default_rng(a["seed"])
    null = np.array(
        [heard(song, x, rng.permutation(genre), a["folds"], a["seed"] + k)[0] for k in range(a["permutations"])]
    )
    songs = folds[:, 0]
    return {
        "width": rows[0].shape[1],
        "songs": float(songs.mean()),
        "songs_range": [float(songs.min()), float(songs.max())],
        "windows": float(folds[:, 1].mean()),
        "null_95": float(np.percentile(null, 95)) if len(null) else None,
        "p": permutation_p(float(songs.mean()), null),
    }


def song_features(song: Any, name: str, cache: Path) -> Floats:
    """A song's features, from the folder where an earlier run left them."""
    from d2m.core.files import atomic_path
    from d2m.data.songs import song_wave
    from d2m.music.front_ends import features
    from d2m.music.front_ends.rhythm import COLUMNS

    if name == TEMPOGRAM:
        rows = song_features(song, "rhythm", cache)
        return np.asarray(rows[:, [c.startswith("tempogram_all") for c in COLUMNS]])
    key = f"{song.name} {song.path} {song.path.stat().st_mtime_ns} {song.start_s} {song.end_s}"
    path = cache / f"{name.replace(':', '-')}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        rows = features(song_wave(song), name, song.path, song.start_s)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temp, open(temp, "wb") as f:
            np.save(f, rows)
    return np.asarray(np.load(path), np.float32)


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    from d2m.core.errors import D2MError
    from d2m.core.files import atomic_path, write_json
    from d2m.core.machine import git_revision, versions
    from d2m.data.songs import find_music
    from experiments.material import progress
    from experiments.music_heard.runs import DEFAULTS, report

    defaults = {
        **DEFAULTS, "music": None, "front_ends": f"mfcc,{TEMPOGRAM},aist35,rhythm", "repeats": 10, "permutations": 99,
    }  # fmt: skip
    a = arguments(defaults, sys.argv[1:])
    # The penalised fit is as good as converged long before scikit-learn's bound.
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    songs, out = find_music(a["music"]), Path(a["out"])
    names = sorted({s.genre for s in songs})
    genre = np.array([names.index(s.genre) for s in songs])
    if len(names) < 2 or np.bincount(genre).min() < a["folds"]:
        raise D2MError(f"music={a['music']}: at least two genres with folds={a['folds']} or more songs each are needed")
    table: dict[str, Any] = {}
    for name in a["front_ends"].split(","):
        with progress(len(songs), name) as step:
            rows = []
            for i, song in enumerate(songs):
                rows.append(song_features(song, name, out / "features"))
                step(i + 1)
        table[name] = row = measure(rows, genre, a)
        low, high = row["songs_range"]
        print(
            f"{name:12} {row['width']:4}  songs {row['songs']:.2f} ({low:.2f} to {high:.2f})  "
            f"windows {row['windows']:.2f}  p = {row['p']:.3g}",
            flush=True,
        )
    count = {n: int((genre == i).sum()) for i, n in enumerate(names)}
    facts = {"arguments": a, "genres": count, "chance": 1 / len(names), "git": git_revision(), "versions": versions()}
    write_json(out / "report.json", {"front_ends": table, "facts": facts})
    lines = [
        f"{len(songs)} songs: {', '.join(f'{g} ({n})' for g, n in count.items())}; chance {1 / len(names):.2f}.\n",
        "| front end | width | song votes | range | 95 % of shuffles below | p | single windows |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in table.items():
        null = "-" if r["null_95"] is None else f"{r['null_95']:.2f}"
        lines.append(
            f"| {name} | {r['width']} | {r['songs']:.2f} | {r['songs_range'][0]:.2f} to {r['songs_range'][1]:.2f} | "
            f"{null} | {r['p']:.3g} | {r['windows']:.2f} |"
        )
    with atomic_path(out / "report.md") as temp:
        temp.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"report: {out / 'report.md'}")
    if a["run"] or a["runs"]:
        print(report("music_heard", "What the runs heard", {**a, "out": out / "runs", "permutations": 999}))


if __name__ == "__main__":
    run(main)
