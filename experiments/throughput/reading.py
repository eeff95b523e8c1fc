"""How fast a corpus is read, opened and prepared: the parts ``batches``, ``open``, ``audio`` and ``workers``."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2m.core.skeleton import FPS, SAMPLE_RATE, STYLE_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.datamodule import DanceDataModule
from d2m.data.manifest import read_manifest
from d2m.music.audio import load_song
from d2m.music.beats import beats_from, onset_strength, onsets_from
from d2m.music.front_ends import features
from experiments.made_corpus import UNITS_EACH, make_corpus
from experiments.timing import alternate, ratios, summary


def rate(step: Callable[[], Any], seconds: float) -> float:
    """Calls per second of processor time of one core, the median of as many as fit (three at least), after one to
    warm up. Processor time: other programs then disturb it little."""
    step()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 3:
        started = time.process_time()
        step()
        took.append(time.process_time() - started)
    return 1.0 / max(float(np.median(took)), 1e-9)


# --- batches -------------------------------------------------------------------------------------------------


def per_item(folder: Path, corpus: Corpus, batch: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The loader that one writes first: a file per unit, np.load per item, rows normalised in a loop.

    Returns:
        A function per stage, 1 and 2, that makes a batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    units = corpus.units_in("train")[: 4 * batch]
    starts = np.intersect1d(corpus.sequence_starts("train"), units)[: 2 * batch]
    needed = np.unique(np.concatenate([units, *(starts + k for k in range(3))]))
    for unit in needed:
        np.save(folder / f"unit{unit}.npy", corpus.units[unit])
    for start in starts:
        song = corpus.song_features(int(corpus.unit_recording[start]))
        first = min(int(corpus.unit_span[start, 0] * FPS), len(song) - STYLE_FRAMES)
        np.save(folder / f"music{start}.npy", song[first : first + STYLE_FRAMES])
    n = corpus.normalizer
    rng = np.random.default_rng(0)

    def rows(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        for t in range(len(x)):
            out[t] = (x[t] - mean) / std
        return out

    def unit(number: int, shift: np.ndarray | None = None) -> torch.Tensor:
        x = np.load(folder / f"unit{number}.npy")
        if shift is not None:
            x = x.copy()
            for t in range(len(x)):
                x[t] += np.tile(shift, 14).astype(np.float32)
        return torch.from_numpy(rows(x, n.pose_mean, n.pose_std))

    def stage_1() -> torch.Tensor:
        chosen = rng.choice(units, batch)
        return torch.stack([
            torch.stack([unit(int(i), rng.uniform(-1, 1, 2) * (10, 4)) for _ in range(2)]) for i in chosen
        ])  # fmt: skip

    def stage_2() -> tuple[torch.Tensor, torch.Tensor]:
        chosen = rng.choice(starts, batch)
        dance = torch.stack([torch.stack([unit(int(i) + k) for k in range(3)]) for i in chosen])
        music = [rows(np.load(folder / f"music{i}.npy"), n.feature_mean, n.feature_std) for i in chosen]
        return dance, torch.from_numpy(np.stack(music))

    return stage_1, stage_2


def corpus_batches(corpus: Corpus, kind: str, batch: int) -> Callable[[], Any]:
    """The data module as the Trainer drives it, device side included (here: the CPU)."""
    data = DanceDataModule(str(corpus.folder), kind, batch_size=batch, steps_per_epoch=10**9)
    loader = iter(data.train_dataloader())
    return lambda: data.on_after_batch_transfer(next(loader))


#: Ours are too short to be timed one by one.
_AT_ONCE = 20


def measure_batches(out: Path, batch: int, repeats: int, n_units: int = 12_000) -> dict[str, Any]:
    """Both loaders in alternation on a made corpus: seconds a batch, and how many times faster ours is."""
    corpus = make_corpus(out / "read", n_units)
    numbers: dict[str, Any] = {"batch": batch}
    for kind, theirs in zip(("unit_pairs", "sequences"), per_item(out / "items", corpus, batch), strict=True):
        ours = corpus_batches(corpus, kind, batch)
        took = alternate({"per item": theirs, "ours": lambda ours=ours: [ours() for _ in range(_AT_ONCE)]}, repeats)  # type: ignore[misc]
        each = [t / _AT_ONCE for t in took["ours"]]
        numbers[kind] = {
            "ours, s": summary(each), "per item, s": summary(took["per item"]),
            "per item": ratios(took["per item"], each),
        }  # fmt: skip
    for folder in (out / "items", corpus.folder):
        shutil.rmtree(folder)
    return numbers


# --- opening -------------------------------------------------------------------------------------------------


OPEN = """
import resource, sys, time
from d2m.data.corpus import Corpus
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
corpus = Corpus.open(sys.argv[1])
took = time.perf_counter() - started
print(took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
started = time.perf_counter()
corpus.recordings[len(corpus.recordings) // 2].name
print(time.perf_counter() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def measure_opening(out: Path, n: int = 360_000) -> dict[str, float]:
    """A corpus of n recordings in sparse files, opened by a fresh process."""
    corpus = make_corpus(out / "large", n * UNITS_EACH)
    done = subprocess.run([sys.executable, "-c", OPEN, str(corpus.folder)], capture_output=True, text=True, check=True)
    opened, named = ([float(x) for x in line.split()] for line in done.stdout.splitlines())
    shutil.rmtree(corpus.folder)
    return {"open, s": opened[0], "open, MiB": opened[1], "first name, s": named[0], "with names, MiB": named[1]}


# --- audio ---------------------------------------------------------------------------------------------------


def measure_audio(raw: Path, seconds: float) -> dict[str, float]:
    """Seconds of song per second of one core, on the first song of the folder."""
    path = next(r.audio for r in read_manifest(raw) if r.audio is not None)
    wave = load_song(path)
    length = len(wave) / SAMPLE_RATE
    envelope = onset_strength(wave)
    steps: dict[str, Callable[[], Any]] = {
        "decode": lambda: load_song(path),
        "mfcc": lambda: features(wave),
        "mfcc_loudness": lambda: features(wave, "mfcc_loudness"),
        "legacy": lambda: features(wave, "legacy"),
        "onset strength": lambda: onset_strength(wave),
        "beats from it": lambda: beats_from(envelope, len(wave)),
        "onsets from it": lambda: onsets_from(envelope, len(wave)),
    }
    speeds = {name: length * rate(step, seconds) for name, step in steps.items()}
    whole = ("decode", "mfcc", "onset strength", "beats from it", "onsets from it")
    speeds["decode and mfcc"] = 1 / (1 / speeds["decode"] + 1 / speeds["mfcc"])
    speeds["all that prepare does to a song"] = 1 / sum(1 / speeds[name] for name in whole)
    return {f"{name}, x real time": value for name, value in speeds.items()}


# --- workers -------------------------------------------------------------------------------------------------


def replicate(raw: Path, folder: Path, copies: int) -> Path:
    """The recordings of ``raw`` several times, told apart by their excerpts: other contents, the same work."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "manifest.csv", "w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(("name", "genre", "audio", "pose", "group", "start"))
        for i in range(copies):
            for r in read_manifest(raw):
                writer.writerow((f"{r.name}-{i}", r.genre, r.audio, r.pose, r.name, f"{i / FPS:.4f}"))
    return folder


def timed(raw: Path, out: Path, workers: int) -> float:
    """Seconds of the whole command, imports included."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", "d2m", "prepare", f"raw={raw}", f"out={out}", f"workers={workers}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure_workers(raw: Path, out: Path, minutes: float) -> dict[str, float]:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        once = timed(replicate(raw, Path(scratch) / "once", 1), Path(scratch) / "out", 1)
        many = replicate(raw, Path(scratch) / "many", max(1, round(60 * minutes / once)) + 1)
        one, two = (timed(many, Path(scratch) / "out", workers) for workers in (1, 2))
    return {"load before": load, "1 worker, s": one, "2 workers, s": two, "speed-up": one / two}
