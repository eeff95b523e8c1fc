"""Held-out recordings of a corpus, dances to them, and the scale and energy of the real dances."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.skeleton import N_JOINTS
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import SongDance
from d2m.dance.together import dance_to
from d2m.data.corpus import Corpus
from d2m.metrics.motion import common_scale, joint_position_error, mean_energy

HELD_OUT = ("val", "test")


def held_out_songs(corpus: Corpus) -> list[int]:
    """Recordings with music in the validation and test splits."""
    return [int(i) for split in HELD_OUT for i in corpus.recordings_in(split, with_music=True)]


@torch.no_grad()
def reconstruction_error(generator: DanceGenerator, corpus: Corpus) -> dict[str, float]:
    """Held-out dance units through the DU-VAE (posterior means), joint position error in pixels.

    Uses only units with a predecessor in their run, so that all values are over the same units: "hold_last_pose"
    repeats the last pose of the previous unit, "mean_pose" the mean of the training split.
    """
    runs = np.asarray(corpus.runs)
    follows = np.zeros(len(corpus.units), bool)
    for first, length in runs:
        follows[first + 1 : first + length] = True
    held = np.concatenate([corpus.units_in(split) for split in HELD_OUT])
    held = held[follows[held]]
    held = held[:: max(1, len(held) // 4000)]
    if not len(held):
        return {}
    units = np.asarray(corpus.units[held])
    before = np.asarray(corpus.units[held - 1])[:, -1:]
    net, normal = generator.net, torch.from_numpy(generator.normalizer.normalize_poses(units)).to(generator.device)
    z_ini, z_mov = net.initial_pose_encoder(normal[:, 0]).mu, net.movement_encoder(normal).mu
    decoded = generator.to_pixels(net.unit_decoder(z_ini, z_mov)).cpu().numpy()

    def joints(x: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.broadcast_to(x, units.shape).reshape(*units.shape[:2], N_JOINTS, 2)

    real = joints(units)
    return {
        "du_vae": joint_position_error(decoded, real),
        "hold_last_pose": joint_position_error(joints(before), real),
        "mean_pose": joint_position_error(joints(generator.normalizer.pose_mean), real),
        "units": float(len(held)),
    }


def dance_to_recording(generator: DanceGenerator, corpus: Corpus, i: int, seed: int, **options: Any) -> SongDance:
    """A dance to the whole song of a recording."""
    features = corpus.song_features(i)
    return dance_to(generator, features, corpus.song_beats(i), len(features), seed=seed, **options)


def real_scale(corpus: Corpus, i: int) -> float:
    """Torso length (px) of a recording's real dance, all views: the scale of every dance to its song."""
    return common_scale([corpus.song_poses(i, v) for v in range(corpus.n_views(i))])


def real_energy(corpus: Corpus, i: int) -> float:
    """Mean kinetic energy (torso lengths²/s²) of a recording's real dance, all views."""
    scale = real_scale(corpus, i)
    return float(np.mean([mean_energy(corpus.song_poses(i, v), scale) for v in range(corpus.n_views(i))]))


def energy_extremes(corpus: Corpus) -> tuple[str, str]:
    """The genres whose real training dances have the most and the least kinetic energy (torso lengths^2/s^2)."""
    means: dict[str, float] = {}
    for genre in corpus.genres:
        songs = [int(i) for i in corpus.recordings_in("train", genre, with_music=True)]
        if songs:
            means[genre] = float(np.mean([mean_energy(corpus.song_poses(i)) for i in songs]))
    return max(means, key=lambda g: means[g]), min(means, key=lambda g: means[g])
