"""Decodes the latents of an original's segments to poses: the whole dance, or quickly just two segments."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.skeleton import SEQUENCE_FRAMES
from d2m.dance.clock import put_on_beats
from d2m.dance.noise import DanceNoise
from d2m.studio.original import Original, Poses, Shown

#: Number of segments decoded for a provisional picture: the one at the playhead and the next.
AHEAD = 2


@torch.no_grad()
def decoded(original: Original, z: NDArray[np.floating], segment: int = 0, first_pose: Poses | None = None) -> Poses:
    """Decode latents of segments from ``segment`` on to unwarped poses (m, 14, 2) px that follow ``first_pose`` (14,
    2)."""
    g, n = original.generator, original.noise
    own = slice(segment, segment + len(z))
    noise = DanceNoise(n.audio[:, own], n.z_dan[:, own], n.z_mov[:, own], n.z_ini[:, own])
    rows = torch.from_numpy(np.asarray(z)).to(next(g.net.parameters()))[None, :, None]
    start = None
    if first_pose is not None:
        pixels = torch.from_numpy(first_pose.reshape(1, -1)).to(rows)
        start = g.normalizer.normalize_poses(pixels)
    danced = g.choreograph(rows, noise, first_pose=start).poses[0]
    whole: Poses = g.to_pixels(danced).float().cpu().numpy()
    source = len(original.dance.versions.unwarped["original"])
    return whole[: source - SEQUENCE_FRAMES * segment]


def on_song(original: Original, unwarped: Poses) -> Poses:
    """Decoded poses, warped to the song's time: (t, 14, 2)."""
    song = original.dance.song
    return put_on_beats(unwarped, song.beats, song.frames) if original.dance.warp else unwarped[: song.frames]


def two_segments(last: Shown, z: NDArray[np.floating], seconds: float) -> tuple[int, Poses]:
    """Decode the segment at a time and the next, continuing from the pose that was shown before them.

    Args:
        last: the dance on the screen. z: latents (n, z_dan) of all segments.

    Returns:
        Their first frame in the song, and their poses (m, 14, 2).
    """
    original = last.original
    before = last.unwarped.get("target", last.unwarped["original"])
    s = original.segment_at(seconds)
    first = None if s == 0 else before[SEQUENCE_FRAMES * s - 1]
    new = decoded(original, z[s : s + AHEAD], s, first)
    unwarped = before.copy()
    unwarped[SEQUENCE_FRAMES * s : SEQUENCE_FRAMES * s + len(new)] = new
    a, b = original.frames_of(s, AHEAD)
    return a, on_song(original, unwarped)[a:b]
