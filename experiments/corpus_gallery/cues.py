"""What tells the embedded corpus's genres and songs apart: cues by themselves against the whole. See README.md.

    python -m experiments.corpus_gallery.cues [out=DIR seed=0 songs=12 seconds=40 repeats=10]

Makes the corpus of a seed, reads it with linear models that are cross-validated by song, and prints a table.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.cli.command_line import run
from experiments.command import arguments
from experiments.music_heard.run import heard, windows

Floats = NDArray[np.float64]
CHARACTERS = ("intensity", "articulation", "lead")


def warped_energy(joints: Floats, beat_s: float) -> float:
    """Mean kinetic energy of a dance's units, warped to the grid and read back in seconds, torso lengths^2/s^2."""
    from d2m.core.skeleton import BEAT_PERIOD, FPS, UNIT_FRAMES
    from d2m.motion.camera import centre
    from d2m.motion.kinematics import kinetic_energy, torso_length
    from d2m.motion.units import cut_units, track_beats

    body = centre(joints) / torso_length(joints)
    cut = cut_units(body, FPS, track_beats(body, FPS, beat_s))
    rates = BEAT_PERIOD / np.diff(cut.beats, axis=1).mean(1)
    poses = cut.units.reshape(-1, UNIT_FRAMES, *joints.shape[1:])
    return float(np.mean([kinetic_energy(p, r).mean() for p, r in zip(poses, rates, strict=True)]))


def explained_within(x: Floats, y: Floats, genre: NDArray[np.int64], seed: int) -> float:
    """R^2 within genres of held-out songs by ridge regression; each genre's mean is taken out of both sides.

    The genres' means are those of the training songs. Args: x (s, f), y (s,), genre (s,).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    error, spread = 0.0, 0.0
    one = np.eye(genre.max() + 1)[genre]
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(x, genre):
        share = one[train] / one[train].sum(0)
        within_x, within_y = x - one @ (share.T @ x[train]), y - one @ (share.T @ y[train])
        reader = make_pipeline(StandardScaler(), RidgeCV(np.geomspace(1, 1e5, 11)))
        error += float(
            np.square(within_y[test] - reader.fit(within_x[train], within_y[train]).predict(within_x[test])).sum()
        )
        spread += float(np.square(within_y[test]).sum())
    return 1 - error / spread


def material(root: Path) -> tuple[list[Any], NDArray[np.int64], dict[str, Floats]]:
    """Rhythm features (t, 188) and genre of every song, and what is known of it: tempo, character, dance energy."""
    import soundfile

    from d2m.data.manifest import read_manifest
    from d2m.music.front_ends import features
    from d2m.toy import GENRES

    rows, genre = [], []
    known: dict[str, list[float]] = {name: [] for name in ("bpm", *CHARACTERS, "energy")}
    for recording in read_manifest(root):
        wave, _ = soundfile.read(root / "audio" / f"{recording.name}.flac", dtype="float32")
        rows.append(features(wave, "rhythm"))
        genre.append(list(GENRES).index(str(recording.genre)))
        with np.load(root / "truth" / f"{recording.name}.npz") as truth, np.load(recording.pose) as pose:
            for name in ("bpm", *CHARACTERS):
                known[name].append(float(truth[name]))
            known["energy"].append(warped_energy(pose["joints"].astype(np.float64), 60 / float(truth["bpm"])))
    return rows, np.array(genre), {name: np.array(values) for name, values in known.items()}


def main() -> None:
    from d2m.music.front_ends.rhythm import COLUMNS
    from d2m.toy import GENRES, write_corpus

    own = {"out": "outputs/corpus_cues", "seed": 0, "songs": 12, "seconds": 40, "repeats": 10}
    a = arguments(own, sys.argv[1:])
    # The penalised fit is as good as converged long before scikit-learn's bound.
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    root = write_corpus(Path(a["out"]) / f"seed{a['seed']}", a["songs"], a["seconds"], a["seed"])
    rows, genre, known = material(root)
    cut = [windows(r) for r in rows]
    song, x, f = np.repeat(np.arange(len(cut)), [len(w) for w in cut]), np.concatenate(cut), len(COLUMNS)
    of = {kind: [i for i, c in enumerate(COLUMNS) if c.startswith(kind)] for kind in ("chroma", "tempogram", "onset")}
    cues = {
        "tempo": np.log(known["bpm"])[song, None],
        "loudness and cepstra, means": x[:, :28],
        "mfcc, means and deviations": x[:, [*range(28), *range(f, f + 28)]],
        "chroma": x[:, [*of["chroma"], *(f + i for i in of["chroma"])]],
        "rhythm": x,
    }
    print("| genre from | song votes | single windows |\n|---|---|---|")
    for name, columns in cues.items():
        votes, single = np.mean([heard(song, columns, genre, 5, k) for k in range(a["repeats"])], axis=0)
        print(f"| {name} | {votes:.2f} | {single:.2f} |", flush=True)
    mean = np.stack([r.mean(0) for r in rows]).astype(np.float64)
    level = mean[:, [*range(28), *of["onset"]]]
    print("\n| R² within genre, from the song's mean of | `rhythm` | `mfcc` and onset strengths |\n|---|---|---|")
    for name in (*CHARACTERS, "log energy of the dance"):
        y = known[name] if name in known else np.log(known["energy"])
        everything, some = (
            np.mean([explained_within(m, y, genre, k) for k in range(a["repeats"])]) for m in (mean, level)
        )
        print(f"| {name} | {everything:.2f} | {some:.2f} |")
    print("\n| energy of the dances, torso lengths²/s² | mean | least | most |\n|---|---|---|---|")
    for i, name in enumerate(GENRES):
        e = known["energy"][genre == i]
        print(f"| {name} | {e.mean():.2f} | {e.min():.2f} | {e.max():.2f} |")


if __name__ == "__main__":
    run(main)
