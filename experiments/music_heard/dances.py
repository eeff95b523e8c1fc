"""Dances to held-out songs: what the judge says of them, how much they move, and what edits change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.skeleton import UNIT_FRAMES
from d2m.dance.clock import segments_needed
from d2m.dance.generator import DanceGenerator
from d2m.edits.mean_shift import MeanShift
from d2m.metrics.motion import boundary_jump_ratio, mean_energy
from d2m.reports.held_out import dance_to_recording, real_energy, real_scale
from d2m.stats.pooled import SongRows
from experiments.music_heard.held_out import Run

Floats = NDArray[np.float64]


def judged(generator: DanceGenerator, poses: NDArray[np.floating]) -> Floats:
    """The judge's probabilities (g,), in the order of the bundle's genres; NaN without a judge or for a short dance."""
    if generator.motion_style is None or len(poses) < UNIT_FRAMES:
        return np.full(len(generator.genres), np.nan)
    votes = generator.genre_of_motion(poses)
    return np.array([votes[g] for g in generator.genres])


def genre_styles(run: Run) -> dict[str, NDArray[np.float32]]:
    """Genre -> mean style (style,) of its training songs."""
    train = run.music.select(run.music.split == "train")
    return {g: train.style[train.genre == g].mean(0) for g in train.genres}


def z_of_style(generator: DanceGenerator, style: NDArray[np.float32], n: int, seed: int) -> NDArray[np.float32]:
    """One style for n segments -> sampled z_dan (n, z_dan)."""
    noise = generator.draw_noise(n, torch.Generator().manual_seed(seed), max_draws=1)
    z = generator.encode_style(torch.from_numpy(style)[None].to(generator.device), noise)
    return np.asarray(z.sample[0, :, 0].float().cpu().numpy(), np.float32)


def dances_of_song(
    run: Run, i: int, seeds: Sequence[int], styles: dict[str, NDArray[np.float32]], pair: tuple[str, str]
) -> dict[str, Any]:
    """All dances to one song, measured.

    Judged dances are unwarped: the judge knows beats on their own frames only. Energies (torso lengths^2/s^2, the
    real dance's torso) are of dances on the music's beats.

    Returns:
        "judged_*" (g,): of the "real" dance, the "own" one, and of two oracles that know the genre: "mean" dances its
        mean z_dan, "style" the mean style of its training songs. "energy_*": of "real", "own" and "mean". "boundary":
        jump at unit boundaries. For songs of ``pair`` the edit to the other genre: "edit_*" (g,) for the "original",
        the "neutral" and the "target" dance.
    """
    g, corpus = run.generator, run.corpus
    genre, beats, frames = corpus.recordings[i].genre, corpus.song_beats(i), len(corpus.song_features(i))
    scale = real_scale(corpus, i)
    row: dict[str, Any] = {
        "judged_real": judged(g, corpus.song_poses(i)), "energy_real": real_energy(corpus, i),
    }  # fmt: skip
    edit = None
    if genre in pair and set(pair) <= set(g.genre_means):
        edit = MeanShift(genre, pair[1 - pair.index(genre)]).from_means(g.genre_means)
    many: dict[str, list[Any]] = {}
    for seed in seeds:
        plain = dance_to_recording(g, corpus, i, seed, warp=False, edit=edit).poses
        many.setdefault("judged_own", []).append(judged(g, plain["original"]))
        if len(plain["original"]) > 2 * UNIT_FRAMES:
            many.setdefault("boundary", []).append(boundary_jump_ratio(plain["original"]))
        for name, poses in plain.items() if edit is not None else ():
            many.setdefault(f"edit_{name}", []).append(judged(g, poses))
        warped = dance_to_recording(g, corpus, i, seed).poses["original"]
        many.setdefault("energy_own", []).append(mean_energy(warped, scale))
    for warp in (False, True):
        n = segments_needed(beats, frames, warp)
        known = {"mean": g.genre_means.get(genre)}
        known["style"] = z_of_style(g, styles[genre], n, seeds[0]) if genre in styles else None
        for name, z in known.items():
            if z is not None and not (warp and name == "style"):  # one oracle's energy is enough
                poses = dance_to_recording(g, corpus, i, seeds[0], warp=warp, z_dan=z).poses["original"]
                row |= {f"energy_{name}": mean_energy(poses, scale)} if warp else {f"judged_{name}": judged(g, poses)}
    return row | {k: np.mean(v, axis=0) for k, v in many.items()}


# -- statistics of distinct songs --------------------------------------------------------------------------------


def of_own(rows: SongRows, name: str, genres: Sequence[str]) -> Floats:
    """(n,) the probability of every song's own genre."""
    column = np.array([list(genres).index(g) for g in rows.genre], np.int64)
    return np.asarray(rows[name][np.arange(len(rows)), column], np.float64)


def judged_as(rows: SongRows, name: str, genres: Sequence[str], genre: str) -> float:
    """Mean probability of their own genre over the songs of one."""
    mine = rows.select(rows.genre == genre)
    return float(np.nanmean(of_own(mine, name, genres))) if len(mine) else float("nan")


def judged_by_chance(rows: SongRows, name: str, genres: Sequence[str], genre: str) -> float:
    """Mean probability of a genre over the dances to the other genres' songs, which weigh the same."""
    others = [rows.select(rows.genre == g) for g in genres if g != genre]
    column = list(genres).index(genre)
    means = [float(np.nanmean(o[name][:, column])) for o in others if len(o)]
    return float(np.mean(means)) if means else float("nan")


def judged_ratio(rows: SongRows, name: str, genres: Sequence[str], of: str = "judged_real") -> dict[str, float]:
    """Genre -> probability of the own genre, over the real dances'."""
    return {
        g: judged_as(rows, name, genres, g) / judged_as(rows, of, genres, g) for g in genres if (rows.genre == g).any()
    }


def energy_ratio(rows: SongRows, name: str, genre: str) -> float:
    """Generated over real kinetic energy of a genre's songs."""
    mine = rows.select(rows.genre == genre)
    return float(mine[name].mean() / mine["energy_real"].mean()) if len(mine) else float("nan")
