"""How well the music style network knows the genre of songs it never heard: cross-validation by song.

Voting 2 s windows, next to a logistic regression on each song's mean and deviation of the same features, and the
permutation null of the song labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from d2m.core.skeleton import STYLE_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.sampling import GenrePools
from d2m.stats.nulls import permutation_p
from d2m.train.modules.music_style import MusicStyleModule

Songs = list[NDArray[np.float32]]


def fit_style(
    songs: Songs, genre: NDArray[np.int64], options: Mapping[str, Any], steps: int, batch: int, seed: int
) -> MusicStyleModule:
    """Train the stage's own module on normalised songs, genres drawn uniformly, as stage music_style does."""
    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    module = MusicStyleModule(**options).train()
    optimizer = module.configure_optimizers()
    pools = GenrePools(genre)
    for _ in range(steps):
        chosen = pools.draw(batch, rng)
        first = [int(rng.integers(len(songs[i]) - STYLE_FRAMES + 1)) for i in chosen]
        x = torch.from_numpy(np.stack([songs[i][f : f + STYLE_FRAMES] for i, f in zip(chosen, first, strict=True)]))
        loss = module.loss(x, torch.from_numpy(genre[chosen]), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@torch.no_grad()
def votes(module: MusicStyleModule, song: NDArray[np.float32]) -> int:
    """The genre that most 2 s windows of a normalised song speak for."""
    return int(module.net.song_probabilities(torch.from_numpy(song)).argmax())


def accuracy_test(truth: NDArray[np.int64], predicted: NDArray[np.int64], n: int, seed: int) -> tuple[float, float]:
    """(p, 95th percentile of the null) of the balanced accuracy under n shuffles of the songs' labels."""
    rng = np.random.default_rng(seed)
    null = np.array([balanced_accuracy_score(rng.permutation(truth), predicted) for _ in range(n)])
    return permutation_p(balanced_accuracy_score(truth, predicted), null), float(np.percentile(null, 95))


def cross_validate(
    corpus: Corpus,
    options: Mapping[str, Any],
    steps: int,
    batch: int,
    folds: int = 5,
    seed: int = 0,
    permutations: int = 1000,
) -> dict[str, float]:
    """Balanced accuracies over genres of held-out songs; statistics are fitted on each fold's training songs only."""
    with_music = np.flatnonzero(corpus.has_music)
    raw = [np.asarray(corpus.song_features(int(i))) for i in with_music]
    genre = np.asarray(corpus.recording_genre)[with_music]
    summary = np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in raw])
    gru, logistic = np.zeros_like(genre), np.zeros_like(genre)
    for fold, (train, test) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=seed).split(summary, genre)):
        rows = np.concatenate([raw[i] for i in train])
        mean, std = rows.mean(0), rows.std(0)
        songs = [((x - mean) / std).astype(np.float32) for x in raw]
        module = fit_style([songs[i] for i in train], genre[train], options, steps, batch, seed + fold)
        gru[test] = [votes(module, songs[i]) for i in test]
        line = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        logistic[test] = line.fit(summary[train], genre[train]).predict(summary[test])
    p, null = accuracy_test(genre, gru, permutations, seed)
    p_logistic, _ = accuracy_test(genre, logistic, permutations, seed)
    return {
        "songs": float(len(genre)),
        "gru": float(balanced_accuracy_score(genre, gru)),
        "gru_p": p,
        "null_95": null,
        "logistic": float(balanced_accuracy_score(genre, logistic)),
        "logistic_p": p_logistic,
        "chance": 1 / len(corpus.genres),
    }
