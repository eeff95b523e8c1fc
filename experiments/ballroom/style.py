"""How well the music style network knows the genre of songs it never heard: cross-validation by song.

Voting 2 s windows, next to a logistic regression on each song's mean and deviation of the same features, and the
permutation null of the song labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.core.skeleton import STYLE_FRAMES
from d2m.data.corpus import Corpus
from d2m.data.sampling import TEMPO_BPM, GenrePools
from d2m.music.front_ends import front_end
from d2m.music.front_ends.augment import change_rows, draw_change, tempo_margin
from d2m.nets.blocks import windows
from d2m.stats.pooled import pooled_accuracy
from d2m.stats.within import octaves
from d2m.train.modules.music_style import MusicStyleModule
from experiments.music_heard.held_out import Run
from experiments.music_heard.lines import Line, Part


@dataclass(frozen=True, eq=False)
class Songs:
    """Raw features (t, f) of n songs by a front end, their genres (n,) and their tempi (n,), octaves above 120 BPM."""

    features: list[NDArray[np.float32]]
    genre: NDArray[np.int64]
    tempo: NDArray[np.float32]
    front_end: str

    def of(self, rows: NDArray[np.int64]) -> Songs:
        return Songs([self.features[i] for i in rows], self.genre[rows], self.tempo[rows], self.front_end)


def fit_style(
    songs: Songs, normal: Callable[[Tensor], Tensor], options: Mapping[str, Any], steps: int, batch: int, seed: int
) -> MusicStyleModule:
    """Train the stage's own module, genres drawn uniformly, songs augmented, as stage music_style does."""
    torch.manual_seed(seed)
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    module = MusicStyleModule(**options).train()
    optimizer = module.configure_optimizers()
    pools = GenrePools(songs.genre)
    augment, rate = module.hparams["augment"], None
    margin = tempo_margin(augment, STYLE_FRAMES)
    around = np.arange(-margin, STYLE_FRAMES + margin)
    for _ in range(steps):
        chosen = pools.draw(batch, rng)
        rows = [rng.integers(len(songs.features[i]) - STYLE_FRAMES + 1) + around for i in chosen]
        parts = [songs.features[i][r.clip(0, len(songs.features[i]) - 1)] for i, r in zip(chosen, rows, strict=True)]
        x, tempo = torch.from_numpy(np.stack(parts)), torch.from_numpy(songs.tempo[chosen])
        if augment is not None:
            change = draw_change(batch, noise, **augment)
            x, rate = change_rows(front_end(songs.front_end), x, change, STYLE_FRAMES), change.tempo.log2()
            tempo = tempo + rate
        x = normal(x)
        loss = module.loss(x, torch.from_numpy(songs.genre[chosen]), module.draw_noise(x, noise), tempo, rate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()


@torch.no_grad()
def window_votes(module: MusicStyleModule, song: NDArray[np.float32]) -> NDArray[np.float32]:
    """Genre probabilities (n, g) of a normalised song's 2 s windows."""
    said = module.net(windows(torch.from_numpy(song), STYLE_FRAMES)).softmax(-1)
    return np.asarray(said.numpy(), np.float32)


def cross_validate(
    corpus: Corpus,
    options: Mapping[str, Any],
    steps: int,
    batch: int,
    folds: int = 5,
    seed: int = 0,
    permutations: int = 999,
) -> dict[str, dict[str, float]]:
    """Balanced accuracies over genres of held-out songs; statistics are fitted on each fold's training songs only.

    Returns:
        "songs", what most of a song's windows say by their mean probability; "windows", each 2 s by itself; "logistic",
        a logistic regression on each song's mean and deviation. Each with its null: genres shuffled among the songs.
    """
    with_music = np.flatnonzero(corpus.has_music)
    with_music = with_music[corpus.feature_bounds[with_music, 1] >= STYLE_FRAMES]
    raw = [np.asarray(corpus.song_features(int(i))) for i in with_music]
    genre = np.asarray(corpus.recording_genre)[with_music]
    summary = np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in raw])
    bpm = np.array([corpus.song_tempo(int(i)) for i in with_music])
    songs = Songs(raw, genre, (octaves(bpm, genre) - np.log2(TEMPO_BPM)).astype(np.float32), corpus.front_end)
    said: list[NDArray[np.float32]] = [np.zeros((0, 0), np.float32)] * len(raw)
    logistic = np.zeros_like(genre)
    division = StratifiedKFold(folds, shuffle=True, random_state=seed).split(summary, genre)
    with bar(folds, "style network, folds") as update:
        for fold, (train, test) in enumerate(division):
            rows = np.concatenate([raw[i] for i in train])
            mean, std = rows.mean(0), np.maximum(rows.std(0), 1e-6)
            m, s = torch.from_numpy(mean), torch.from_numpy(std)
            module = fit_style(songs.of(train), lambda x, m=m, s=s: (x - m) / s, options, steps, batch, seed + fold)
            for i in test:
                said[i] = window_votes(module, ((raw[i] - mean) / std).astype(np.float32))
            line = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
            logistic[test] = line.fit(summary[train], genre[train]).predict(summary[test])
            update()
    of_window = np.repeat(np.arange(len(said)), [len(v) for v in said])
    song = np.arange(len(genre))
    voted = np.array([v.mean(0).argmax() for v in said])
    tests = {
        "songs": pooled_accuracy(song, genre, voted, permutations, seed),
        "windows": pooled_accuracy(of_window, genre[of_window], np.concatenate(said).argmax(1), permutations, seed),
        "logistic": pooled_accuracy(song, genre, logistic, permutations, seed),
    }
    return {name: test.summary() for name, test in tests.items()}


def style_part(run: Run, folds: int, permutations: int, seed: int) -> Part:
    """The style network of a run's settings, cross-validated on all songs of its corpus.

    Raises:
        D2MError: a genre has fewer songs than folds.
    """
    provenance = run.generator.provenance
    config = provenance["config"]
    count = np.bincount(np.asarray(run.corpus.recording_genre)[run.corpus.has_music], minlength=len(run.corpus.genres))
    if count.min() < folds:
        raise D2MError(
            f"folds={folds}: a genre has {count.min()} songs; give as many folds at most, or folds=0 for none"
        )
    options = {k: v for k, v in config["model"]["music_style"].items() if not k.startswith("_")}
    options["sizes"] = run.generator.net.sizes.to_dict()
    if "lr" in options:  # bundles older than docs/adr/0052-sizes.md
        old = {k: options.pop(k) for k in ("lr", "weight_decay")}
        options["optimizer"] = {"_target_": "torch.optim.AdamW", **old}
    fit = config["fit"]["music_style"]
    steps = fit["max_epochs"] * fit["steps_per_epoch"]
    tests = cross_validate(run.corpus, options, steps, fit["batch_size"], folds, seed, permutations)
    labels = {
        "songs": "style network, songs", "windows": "style network, single windows of 2 s",
        "logistic": "logistic regression on song means and deviations",
    }  # fmt: skip
    lines = [
        Line(label, pooled=tests[k]["value"], chance=tests[k]["chance"], p=tests[k]["p"],
             note=f"97.5 % of shuffles below {tests[k]['null_high']:.2f}")
        for k, label in labels.items()
    ]  # fmt: skip
    return Part(
        "style", "Does the style network know the genre of songs it never heard?",
        f"Balanced accuracy over genres, all {int(count.sum())} songs with music, {folds} folds by song, trained as "
        "the run's stage music_style. p: genres shuffled among songs.",
        lines, tests,
    )  # fmt: skip
