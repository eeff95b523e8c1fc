"""The test phase of many songs and versions, decoded together in one stream of rows.

Songs of any length, originals and edits alike, are lines of one unrolling (:mod:`d2m.dance.lines`): when one ends, the
next takes its place. Every song has its own noise, from its seed, and its dance does not depend on the others
(docs/adr/0074-dances-together.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.clock import Clock
from d2m.dance.generator import DanceGenerator
from d2m.dance.lines import Line, advance
from d2m.dance.song_dance import SongDance, accepted_noise
from d2m.dance.stream import MEMORY, SongRequest, Stream, rows_together, song_bytes


@torch.no_grad()
def dance_stream(
    generator: DanceGenerator, requests: Iterable[SongRequest], *, rows: int | None = None
) -> Iterator[tuple[int, SongDance | D2MError]]:
    """Dance to songs as they come, together.

    Args:
        requests: consumed whenever half of the rows are free and :data:`MEMORY` allows.
        rows: number of dances unrolled together; 1 unrolls them one by one. By default as many as memory
            allows (:func:`rows_together`). Dances of one row and of several differ by rounding; those of two different
            numbers of several rows do not, on a CPU.

    Yields:
        (number of the request, its dance or the error of its edit), in the order in which they finish.
    """
    stream = Stream(generator, rows or rows_together(generator.net.sizes))
    source, left = iter(enumerate(requests)), True
    while left or stream.lines or stream.waiting:
        if left and len(stream.lines) + len(stream.waiting) <= stream.rows // 2:
            arrived: list[tuple[int, SongRequest]] = []
            free, held = stream.rows - len(stream.lines) - len(stream.waiting), stream.bytes_held
            while left and len(arrived) < free and (held < MEMORY or not (arrived or stream.lines or stream.waiting)):
                try:
                    arrived.append(next(source))
                except StopIteration:
                    left = False
                    break
                held += song_bytes(arrived[-1][1].n_frames, generator.net.sizes, generator.max_draws)
            if arrived:
                yield from stream.admit(arrived)
        if stream.lines or stream.waiting:
            yield from stream.step()


def dance_all(
    generator: DanceGenerator, requests: Iterable[SongRequest], *, rows: int | None = None
) -> list[SongDance]:
    """The dances of :func:`dance_stream`, in the order of the requests.

    Raises:
        D2MError: a request that does not fit, or an edit that needs what the bundle lacks.
    """
    danced: dict[int, SongDance] = {}
    for index, dance in dance_stream(generator, requests, rows=rows):
        if isinstance(dance, D2MError):
            raise dance
        danced[index] = dance
    return [danced[i] for i in sorted(danced)]


def dance_to(
    generator: DanceGenerator, features: NDArray[np.floating], music_beats: NDArray[np.float64], n_frames: int, *,
    seed: int, **options: Any,
) -> SongDance:  # fmt: skip
    """Dance to one song, with ``rows=1``; the arguments are the fields of :class:`SongRequest`.

    Raises:
        D2MError: see :func:`dance_all`.
    """
    return dance_all(generator, [SongRequest(features, music_beats, n_frames, seed, **options)], rows=1)[0]


class Redanced(NamedTuple):
    """e dances: poses (e, t, 14, 2) px at 15 fps in song time, and unwarped (e, t', 14, 2), as decoded."""

    poses: NDArray[np.float32]
    unwarped: NDArray[np.float32]


@torch.no_grad()
def dance_again(
    generator: DanceGenerator, dance: SongDance, z_dan: NDArray[np.floating], *, seed: int, rows: int | None = None
) -> Redanced:
    """Decode many other latents for the same song together, with the accepted draws and all noise of a warped dance.

    Equal to an edit in :func:`dance_stream`, to the bit if both unroll several rows together.

    Args:
        dance: a result of :func:`dance_stream`. seed: its seed.
        z_dan: (e, n, z_dan), n as in ``dance.z_dan``.
        rows: see :func:`dance_stream`.
    """
    clock = Clock.make(dance.music_beats, len(dance.poses["original"]), True)
    noise = accepted_noise(generator, dance, seed).to(generator.device)
    latents = torch.from_numpy(np.asarray(z_dan)).to(next(generator.net.parameters()))
    lines = [Line(z[:, None], noise) for z in latents]
    rows = rows or rows_together(generator.net.sizes)
    for first in range(0, len(lines), rows):
        part = lines[first : first + rows]
        while part[0].unfinished:  # a single song, so all finish together
            advance(generator.net, part, alone=rows == 1)
    whole = [generator.to_pixels(x.danced().poses[: clock.n_source]).float().cpu().numpy() for x in lines]
    return Redanced(np.stack([clock.apply(p) for p in whole]), np.stack(whole))
