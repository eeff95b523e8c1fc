"""Peak memory of the commands that go through a whole corpus, each in a process of its own."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, SAMPLE_RATE
from d2m.toy import make_pair
from experiments.throughput.songs import make_bundle

PARTS = ("prepare", "extract", "evaluate")
#: Runs a command and prints the largest resident memory of it, KiB.
_WATCH = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)
_GENRES = ("groove", "flow", "drive")
_SECONDS = 15.0


def make_raw(folder: Path, n: int) -> Path:
    """n recordings of three genres, each with a sound and a motion of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "r").mkdir(parents=True)
    pairs = {g: make_pair(g, _SECONDS, np.random.default_rng(k)) for k, g in enumerate(_GENRES)}
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "genre", "audio", "pose", "licence"))
        for k in range(n):
            genre = _GENRES[k % len(_GENRES)]
            song, dance = pairs[genre]
            sound = np.roll(song.wave, 997 * k)
            soundfile.write(folder / f"r/{k}.flac", sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            joints = dance.joints + np.array([k, 0.0, 0.0])
            np.savez(folder / f"r/{k}.npz", joints=joints, joint_names=np.array(JOINTS), fps=15.0)
            writer.writerow((f"r{k}", genre, f"r/{k}.flac", f"r/{k}.npz", "made"))
    return folder


def command(use: str, folder: Path, n: int) -> list[str]:
    """The words after ``d2m``, with what they read made before.

    Raises:
        D2MError: no such use.
    """
    if use not in PARTS:
        raise D2MError(f"memory of '{use}': choose from {', '.join(PARTS)}")
    raw, corpus = folder / "raw", folder / "corpus"
    prepare = [
        "prepare", f"raw={make_raw(raw, n)}", f"out={corpus}", "workers=1", "front_end=mfcc", "yaws=[0]",
        "val_fraction=0.4", "test_fraction=0.4",
    ]  # fmt: skip
    shutil.rmtree(corpus, ignore_errors=True)
    if use == "prepare":
        return prepare
    subprocess.run([sys.executable, "-m", "d2m", *prepare], check=True, stdout=subprocess.DEVNULL)
    bundle = make_bundle(folder / "bundle", "tiny", genres=sorted(_GENRES))
    shutil.rmtree(folder / "out", ignore_errors=True)
    if use == "extract":
        return ["study", "extract", f"bundle={bundle}", f"corpus={corpus}", f"out={folder / 'out'}"]
    return [
        "evaluate", f"bundle={bundle}", f"data={corpus}", f"out={folder / 'out'}", "draws=1", "baselines=false",
        "card=d2m",
    ]  # fmt: skip


def peak_mib(use: str, folder: Path, n: int) -> float:
    """Peak resident memory of ``use`` on a corpus of ``n`` recordings.

    Raises:
        D2MError: the command failed; what it said is above.
    """
    words = command(use, folder, n)
    watched = [sys.executable, "-c", _WATCH, sys.executable, "-m", "d2m", *words]
    done = subprocess.run(watched, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise D2MError(f"stopped: d2m {' '.join(words)} ended with exit code {done.returncode}")
    return float(done.stdout) / 1024
