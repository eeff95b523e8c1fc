"""Judges of the genre of a dance, fitted only on real training dances of a corpus.

No stage of any bundle uses them, and the same pair judges all bundles of a comparison. There are two kinds, so that
results do not depend on a single model: a recurrent network on poses, and a logistic regression on statistics of
windows. Both see windows of 32 frames in song time, as a spectator does, so that tempo is part of their judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.progress import bar
from d2m.core.skeleton import FPS, N_JOINTS, UNIT_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.normalizer import Normalizer
from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.metrics.motion import in_torso_lengths
from d2m.nets.motion_style import RecurrentMotion, with_steps
from d2m.reports.held_out import HELD_OUT

Poses = NDArray[np.floating]
Floats = NDArray[np.float64]

HOP_FRAMES = UNIT_FRAMES // 2
#: Hyperparameters of the network, as for a bundle's motion classifier (conf/model/motion_style.yaml).
HIDDEN, BATCH, STEPS, LABEL_SMOOTHING, SIZE_JITTER = 48, 64, 500, 0.05, 0.05
#: Number of windows per training recording for the logistic regression, over all views.
WINDOWS_PER_RECORDING = 60


class Judge(Protocol):
    """name: in tables. genres: in the order of its probabilities. held_out: its accuracy on real dances."""

    name: str
    genres: tuple[str, ...]
    held_out: dict[str, float]

    def probabilities(self, poses: Poses) -> Floats:
        """A dance (t, 14, 2) px at 15 fps on the song's time, t >= 32 -> (g,): probabilities averaged over windows."""
        ...


def dance_windows(poses: Poses, hop: int = HOP_FRAMES) -> NDArray[np.float32]:
    """(t, 14, 2), t >= 32 -> (w, 32, 28), one window every ``hop`` frames.

    Raises:
        D2MError: a shorter dance.
    """
    if len(poses) < UNIT_FRAMES:
        raise D2MError(f"a dance of {len(poses)} frames cannot be judged; give {UNIT_FRAMES} or more (15 a second)")
    flat = np.asarray(poses, np.float32).reshape(len(poses), -1)
    return np.stack([flat[s : s + UNIT_FRAMES] for s in range(0, len(flat) - UNIT_FRAMES + 1, hop)])


@dataclass(eq=False)
class NetworkJudge:
    """The recurrent network; also the motion classifier in whose features card ``d2m`` measures distances."""

    net: RecurrentMotion
    normalizer: Normalizer
    genres: tuple[str, ...]
    held_out: dict[str, float] = field(default_factory=dict)
    name: str = "network"

    @torch.no_grad()
    def features(self, poses: Poses) -> Floats:
        """A dance (t, 14, 2) px, t >= 32 -> (w, 96): the state behind the logits, one row per window.

        Raises:
            D2MError: a shorter dance.
        """
        units = torch.from_numpy(self.normalizer.normalize_poses(dance_windows(poses)))
        return np.asarray(self.net.body(with_steps(units)).double().numpy(), np.float64)

    @torch.no_grad()
    def probabilities(self, poses: Poses) -> Floats:
        """See :class:`Judge`."""
        logits = self.net.head(torch.from_numpy(self.features(poses)).float())
        return np.asarray(logits.softmax(-1).mean(0).double().numpy(), np.float64)


@dataclass(eq=False)
class FeatureJudge:
    """Logistic regression on :func:`window_features`."""

    model: Pipeline
    genres: tuple[str, ...]
    held_out: dict[str, float] = field(default_factory=dict)
    name: str = "features"

    def probabilities(self, poses: Poses) -> Floats:
        """See :class:`Judge`."""
        known = self.model.predict_proba(window_features(poses, UNIT_FRAMES)).mean(0)
        out = np.zeros(len(self.genres))
        out[self.model.classes_] = known
        return out


Judges = tuple[NetworkJudge, FeatureJudge]


def window_features(poses: Poses, hop: int) -> Floats:
    """(t, 14, 2) px -> (w, 115): statistics of every window, in torso lengths of the dance.

    Mean and standard deviation of every coordinate, mean absolute velocity of every coordinate and acceleration of
    every joint, and the spectrum of the mean joint speed, whose peaks show the tempo of the steps.
    """
    x = dance_windows(in_torso_lengths(poses), hop).astype(np.float64).reshape(-1, UNIT_FRAMES, N_JOINTS, 2)
    velocity = np.diff(x, axis=1) * FPS
    speed = np.linalg.norm(velocity, axis=-1).mean(-1)
    spectrum = np.abs(np.fft.rfft(speed - speed.mean(1, keepdims=True), axis=1))[:, 1:]
    acceleration = np.linalg.norm(np.diff(velocity, axis=1), axis=-1).mean(1) * FPS
    flat = [x.mean(1), x.std(1), np.abs(velocity).mean(1), acceleration, spectrum]
    return np.concatenate([f.reshape(len(x), -1) for f in flat], axis=1)


def fit_judges(corpus: Corpus, seed: int = 0, cache: Path | None = None) -> Judges:
    """Both judges of a corpus, fitted on its training split; a few seconds to a minute.

    Args:
        cache: a file for the network; read if it was made from this corpus with this seed, else written.

    Raises:
        D2MError: no training recording of a genre, or none of 32 frames.
    """
    rows = [[int(i) for i in corpus.recordings_in("train", g)] for g in corpus.genres]
    rows = [[i for i in r if corpus.pose_bounds[i, 1] >= UNIT_FRAMES] for r in rows]
    for genre, mine in zip(corpus.genres, rows, strict=True):
        if not mine:
            raise D2MError(f"{corpus.folder}: genre {genre} has no training dance of 2.2 s, so no judge can learn it")
    facts = {"corpus": corpus.digest, "seed": str(seed), "steps": str(STEPS)}
    net = RecurrentMotion(len(corpus.genres), HIDDEN)
    if not _read(net, cache, facts):
        _train(net, corpus, rows, seed)
        if cache is not None:
            with atomic_path(cache) as part:
                save_file(net.state_dict(), part, facts)
    judges = (
        NetworkJudge(net.eval().requires_grad_(False), corpus.normalizer, corpus.genres),
        FeatureJudge(_regress(corpus, rows, seed), corpus.genres),
    )
    for judge in judges:
        judge.held_out = held_out_accuracy(judge, corpus)
    return judges


def held_out_accuracy(judge: Judge, corpus: Corpus) -> dict[str, float]:
    """Accuracy of a judge on real dances of the validation and test splits, averaged over the views of each.

    Returns:
        "balanced_accuracy", "own_genre" (mean probability of the true genre, equal weight per genre), "chance",
        "n_songs".
    """
    ids = [int(i) for split in HELD_OUT for i in corpus.recordings_in(split)]
    ids = [i for i in ids if corpus.pose_bounds[i, 1] >= UNIT_FRAMES]
    chance = 1 / len(corpus.genres)
    if not ids:
        return {"balanced_accuracy": float("nan"), "own_genre": float("nan"), "chance": chance, "n_songs": 0.0}
    votes = np.stack(
        [np.mean([judge.probabilities(corpus.song_poses(i, v)) for v in range(corpus.n_views(i))], axis=0) for i in ids]
    )
    truth = np.asarray(corpus.recording_genre[ids], np.int64)
    own = votes[np.arange(len(ids)), truth]
    table = confusion(torch.from_numpy(truth), torch.from_numpy(votes.argmax(1)), len(corpus.genres))
    return {
        "balanced_accuracy": float(balanced_accuracy(table)),
        "own_genre": float(np.mean([own[truth == g].mean() for g in np.unique(truth)])),
        "chance": chance,
        "n_songs": float(len(ids)),
    }


def _read(net: RecurrentMotion, cache: Path | None, facts: dict[str, str]) -> bool:
    """Load the network from a cache with the same facts; False if there is none."""
    if cache is None or not cache.is_file():
        return False
    try:
        with safe_open(cache, "pt") as file:
            if file.metadata() != facts:
                return False
            net.load_state_dict({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _batches(
    corpus: Corpus, rows: Sequence[Sequence[int]], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Normalised windows (b, 32, 28) and genres (b,), endlessly: a random genre, dance, view and time."""
    while True:
        genres = rng.integers(0, len(rows), BATCH).tolist()
        windows = np.empty((BATCH, UNIT_FRAMES, corpus.poses.shape[1]), np.float32)
        for k, g in enumerate(genres):
            i = rows[g][int(rng.integers(len(rows[g])))]
            first, frames, views = (int(x) for x in corpus.pose_bounds[i])
            begin = first + int(rng.integers(views)) * frames + int(rng.integers(frames - UNIT_FRAMES + 1))
            windows[k] = corpus.poses[begin : begin + UNIT_FRAMES]
        windows *= 1 + SIZE_JITTER * rng.standard_normal((BATCH, 1, 1)).astype(np.float32)
        yield corpus.normalizer.normalize_poses(windows), np.array(genres, np.int64)


def _train(net: RecurrentMotion, corpus: Corpus, rows: Sequence[Sequence[int]], seed: int) -> None:
    """Cross-entropy with label smoothing; the learning rate falls to zero along a half cosine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in net.modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    batches = _batches(corpus, rows, np.random.default_rng(seed))
    net.train()
    with bar(STEPS, "fitting the judge") as step:
        for _ in range(STEPS):
            units, genres = next(batches)
            logits = net(torch.from_numpy(units))
            loss = F.cross_entropy(logits, torch.from_numpy(genres), label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step()


def _regress(corpus: Corpus, rows: Sequence[Sequence[int]], seed: int) -> Pipeline:
    """Fit with equal weight per genre, and per recording within a genre."""
    rng = np.random.default_rng(seed)
    x, y, weight = [], [], []
    for g, mine in enumerate(rows):
        for i in mine:
            views = [window_features(corpus.song_poses(i, v), UNIT_FRAMES) for v in range(corpus.n_views(i))]
            all_rows = np.concatenate(views)
            some = all_rows[rng.permutation(len(all_rows))[:WINDOWS_PER_RECORDING]]
            x.append(some)
            y += [g] * len(some)
            weight += [1 / (len(some) * len(mine))] * len(some)
    scale = len(y) / sum(weight)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return model.fit(np.concatenate(x), y, logisticregression__sample_weight=np.array(weight) * scale)
