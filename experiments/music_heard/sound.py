"""Edits of the sound: does tempo move z_dan as songs of other tempo lie, and do pitch and loudness leave it alone?

And songs made of two halves, each of another genre: does each half get its own dance?
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS, SAMPLE_RATE, SEQUENCE_FRAMES
from d2m.dance.encoding import song_latent
from d2m.dance.together import dance_to
from d2m.data.corpus import Corpus
from d2m.music.audio import load_song, n_frames
from d2m.music.front_ends import features, front_end
from d2m.music.transforms import MUSIC_EDITS, Wave, halves
from d2m.stats.pooled import SongRows
from d2m.stats.within import WithinAxis, octaves, within_axis
from experiments.music_heard.dances import judged
from experiments.music_heard.held_out import Run

#: log2 of the tempo rates.
TEMPO = {"tempo x0.8": float(np.log2(0.8)), "tempo x1.25": float(np.log2(1.25))}
ASIDE = ("pitch -4 semitones", "pitch +4 semitones", "loudness -9 dB", "loudness +9 dB")


def hears_waves(run: Run) -> bool:
    """Whether the bundle's front end can hear edited sound at all."""
    return front_end(run.generator.front_end).read is None


def part_of(corpus: Corpus, i: int, seconds: float) -> Wave | None:
    """``seconds`` from the middle of a recording's song; None if its file is not on this machine."""
    path = corpus.audio_path(i)
    if path is None:
        return None
    info = corpus.recordings[i]
    wave = load_song(path)[round(info.start_s * SAMPLE_RATE) : round((info.start_s + info.seconds) * SAMPLE_RATE)]
    n = round(seconds * SAMPLE_RATE)
    first = max(0, (len(wave) - n) // 2)
    return wave[first : first + n]


def edited_features(
    corpus: Corpus, i: int, name: str, seconds: float, cache: Path
) -> dict[str, NDArray[np.float32]] | None:
    """Edit -> features (t, f) of the middle of a song, "none" of the unedited; from the folder of earlier runs."""
    path = corpus.audio_path(i)
    if path is None:
        return None
    info = corpus.recordings[i]
    key = f"{name} {path.resolve()} {path.stat().st_mtime_ns} {info.start_s} {info.seconds} {seconds}"
    file = cache / f"edited-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not file.is_file():
        wave = part_of(corpus, i, seconds)
        assert wave is not None
        rows = {"none": features(wave, name)}
        rows |= {edit: features(MUSIC_EDITS[edit](wave), name) for edit in (*TEMPO, *ASIDE)}
        with atomic_path(file) as temp, open(temp, "wb") as f:
            np.savez(f, **rows)  # type: ignore[arg-type]
    with np.load(file) as stored:
        return {k: stored[k] for k in stored.files}


@dataclass(frozen=True, eq=False)
class TempoAxis:
    """The axis of within-genre log2 tempo among a run's training songs; None where tempi do not vary within genres.

    step: mean distance of two genres' means.
    """

    fit: WithinAxis | None
    step: float
    spread: float  # octaves, standard deviation within genres


def tempo_axis(run: Run, permutations: int, seed: int) -> TempoAxis:
    """Of a run; songs of unknown tempo are left out."""
    train = run.music.select(run.music.split == "train")
    where = {r.name: i for i, r in enumerate(run.corpus.recordings)}
    bpm = np.array([run.corpus.song_tempo(where[str(s)]) for s in train.song])
    known = np.isfinite(bpm) & (bpm > 0)
    train = train.select(known)
    tempi = octaves(bpm[known], train.genre)
    means = list(train.genre_means().values())
    step = float(np.mean([np.linalg.norm(a - b) for a, b in combinations(means, 2)]))
    spread = float(np.sqrt(np.mean([np.var(tempi[train.genre == g]) for g in train.genres])))
    try:
        fit = within_axis(train.mu, tempi, train.genre, permutations, seed)
    except D2MError:
        fit = None
    return TempoAxis(fit, step, spread)


def moved(run: Run, axis: TempoAxis, rows: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Of one song: "along" tempo edit, its displacement along the axis over the shift that the axis predicts; "along_
    held_out", over the one that its unbiased slope predicts; "moved" any edit, its length over the genre step."""
    z = {k: song_latent(run.generator, x, seed=run.seed).astype(np.float64) for k, x in rows.items()}
    delta = {k: v - z["none"] for k, v in z.items() if k != "none"}
    values = {f"moved {k}": float(np.linalg.norm(d)) / axis.step for k, d in delta.items()}
    if axis.fit is None:
        return values
    for edit, change in TEMPO.items():
        along = float(delta[edit] @ axis.fit.axis)
        values[f"along {edit}"] = along / (axis.fit.slope * change)
        values[f"right {edit}"] = float(along * change > 0)
        slope = axis.fit.held_out_slope
        values[f"along_held_out {edit}"] = along / (slope * change) if slope > 0 else float("nan")
    return values


def median_of(rows: SongRows, *names: str) -> float:
    """Over songs of the mean over these values."""
    middle = np.mean([rows[n] for n in names], axis=0)
    return float(np.median(middle[np.isfinite(middle)])) if np.isfinite(middle).any() else float("nan")


# -- halves ------------------------------------------------------------------------------------------------------


def cross_pairs(run: Run, n: int, seed: int) -> list[tuple[int, int]]:
    """At most n pairs of held-out songs of different genres, in random order, songs used as evenly as can be."""
    rng = np.random.default_rng(seed)
    genre = {i: run.corpus.recordings[i].genre for i in run.songs}
    left = [(a, b) for a, b in combinations(run.songs, 2) if genre[a] != genre[b]]
    left = [left[k] if rng.random() < 0.5 else left[k][::-1] for k in rng.permutation(len(left))]
    used, pairs = dict.fromkeys(run.songs, 0), []
    while left and len(pairs) < n:
        best = min(left, key=lambda p: used[p[0]] + used[p[1]])
        left.remove(best)
        pairs.append(best)
        for i in best:
            used[i] += 1
    return pairs


def half_dances(poses: NDArray[np.floating], frames: int) -> Iterator[NDArray[np.floating]]:
    """The dance's segments (96 frames) that lie within the first ``frames``, and those that lie after them."""
    yield poses[: frames // SEQUENCE_FRAMES * SEQUENCE_FRAMES]
    yield poses[-(-frames // SEQUENCE_FRAMES) * SEQUENCE_FRAMES :]


def dance_halves(run: Run, a: int, b: int, seconds: float, seed: int) -> list[dict[str, Any]]:
    """A row per half of a song whose halves, ``seconds`` each, are of a and of b: "above" is 1 if the judge gives the
    half's own genre more than the other half's; "margin" by how much. [] without the songs' files."""
    waves = [part_of(run.corpus, i, 2 * seconds) for i in (a, b)]
    if any(w is None for w in waves):
        return []
    wave, joined_s = halves(*(w for w in waves if w is not None))
    generator = run.in_mode("local")
    frames = n_frames(len(wave))
    heard = features(wave, generator.front_end)
    poses = dance_to(generator, heard, np.zeros(0), frames, seed=seed, warp=False).poses["original"]
    order = list(generator.genres)
    columns = [order.index(run.corpus.recordings[i].genre) for i in (a, b)]
    rows = []
    for k, part in enumerate(half_dances(poses, round(joined_s * FPS))):
        vote = judged(generator, part)
        margin = float(vote[columns[k]] - vote[columns[1 - k]])
        if np.isfinite(margin):  # nan: shorter than what the judge reads
            rows.append(run.row((a, b)[k], above=float(margin > 0), margin=margin))
    return rows
