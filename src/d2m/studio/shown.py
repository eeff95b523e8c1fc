"""The page's data of a dance: poses, beats, energy per joint, genres by the judges, the waveform."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, JOINTS, LIMBS, UNIT_FRAMES
from d2m.draw.view import box
from d2m.metrics.motion import common_scale, energy_map
from d2m.motion.kinematics import ENERGY_UNIT, torso_length
from d2m.studio.original import Shown

#: Number of points of the waveform.
PEAKS = 1200


def peaks(wave: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Largest amplitude (n,) in each of n equal parts of a wave, 0 to 255."""
    n = min(PEAKS, len(wave))
    edges = np.linspace(0, len(wave), n, endpoint=False).astype(int)
    loud = np.maximum.reduceat(np.abs(wave), edges)
    return np.asarray(255 * loud / max(float(loud.max()), 1e-9), np.uint8)


def _judged(shown: Shown) -> dict[str, dict[str, float]]:
    """Version -> genre -> probability by the motion classifier, if the bundle has one."""
    g = shown.original.generator
    if g.motion_style is None or len(shown.unwarped["original"]) < UNIT_FRAMES:
        return {}
    return {name: g.genre_of_motion(poses) for name, poses in shown.unwarped.items()}


def _energy(shown: Shown) -> dict[str, list[float]]:
    """Version -> mean energy of every joint (14,), in the original's torso lengths."""
    try:
        scale = common_scale([shown.poses["original"]])
    except D2MError:
        return {}
    return {name: energy_map(poses, scale).mean(0).tolist() for name, poses in shown.poses.items()}


def describe(shown: Shown) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of the exact dance."""
    dance = shown.original.dance
    versions, song = dance.versions, dance.song
    panels = [poses.astype(np.float64) for poses in shown.poses.values()]
    header = {
        "seconds": song.seconds,
        "frames": song.frames,
        "fps": FPS,
        "versions": list(shown.poses),
        "music_beats": song.beats.tolist(),
        "dance_beats": versions.dance_beats.tolist(),
        "centres_s": versions.centres_s.tolist(),
        "edges": [shown.original.frames_of(i, 1)[0] / FPS for i in range(len(versions.centres_s))],
        "draws": versions.draws.tolist(),
        "accepted": versions.accepted.tolist(),
        "joints": list(JOINTS),
        "limbs": [list(limb) for limb in LIMBS],
        "boxes": [list(box(p)) for p in panels],
        "torso": torso_length(panels[0]),
        "energy": _energy(shown),
        "energy_unit": ENERGY_UNIT,
        "judged": _judged(shown),
        "music_style": dict(dance.music_style),
    }
    return header, {**shown.poses, "peaks": peaks(song.wave)}
