"""Dances unrolled together, one row each, such that results do not depend on the other rows.

The bits of a row depend on the number of rows of a matrix product: for one, two or three rows, the CPU library uses
other kernels than for many, and several threads split few rows into such pieces. In products of a multiple of
:data:`ROWS` rows, every row has the same bits at any position (docs/adr/0074-dances-together.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from d2m.core.skeleton import POSE_DIM, SEQUENCE_UNITS
from d2m.dance.noise import DanceNoise
from d2m.nets.composition import Composition

#: Products are padded to a multiple of this number of rows.
ROWS = 8
#: Maximum number of segments whose movements are decoded at once.
_MOVEMENTS = 512


def motion(units: Tensor) -> Tensor:
    """Sum of absolute frame differences of every unit, (..., 32, 28) -> (...), normalised units."""
    return units.diff(dim=-2).abs().sum(dim=(-1, -2))


def padded(*rows: Tensor) -> tuple[Tensor, ...]:
    """Pad each (m, ...) with zero rows to the next multiple of :data:`ROWS`; the caller drops their results."""
    more = -len(rows[0]) % ROWS
    return tuple(torch.cat([x, x.new_zeros(more, *x.shape[1:])]) for x in rows) if more else rows


def by_rows(f: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """f of (m, ...), with rows that are bit-identical to those of any other call."""
    return f(*padded(rows))[: len(rows)]


class Choreography(NamedTuple):
    """Dances of n segments: one (no first axis) of a :class:`Line`, or b of ``DanceGenerator.choreograph``."""

    poses: Tensor  # (b, 96 n, 28) normalised
    draws: Tensor  # (b, n) the accepted draw of every segment
    accepted: Tensor  # (b, n) bool: False if no draw moved enough and the liveliest was taken


class Line:
    """A dance being unrolled: segment by segment, each from the last pose of the previous one.

    Args:
        z_dan: (n, k, z_dan): k candidates for every segment.
        noise: for the same (1, n, k).
        threshold: the first candidate whose units all move at least this much (:func:`motion`) is taken; if none does,
            the one whose stillest unit moves most.
        first_pose: (28,) normalised; the mean pose (zeros) if None.
    """

    def __init__(
        self, z_dan: Tensor, noise: DanceNoise, threshold: float = 0.0, first_pose: Tensor | None = None
    ) -> None:
        self.z_dan, self.threshold = z_dan, threshold
        self.z_mov, self.z_ini = (x[0].to(z_dan) for x in (noise.z_mov, noise.z_ini))
        self.pose = z_dan.new_zeros(POSE_DIM) if first_pose is None else first_pose
        self.movements: dict[tuple[int, int], Tensor] = {}  # (segment, draw) -> (3, z_mov)
        self.segment, self.draw = 0, 0
        self._tried: list[tuple[float, Tensor]] = []
        self._units: list[Tensor] = []
        self._draws: list[int] = []
        self._accepted: list[bool] = []

    @property
    def unfinished(self) -> bool:
        return self.segment < len(self.z_dan)

    def missing(self) -> list[tuple[int, int]]:
        """The (segment, draw) pairs whose movements should be decoded now.

        First the first draw of every segment; if it is rejected, all others of the segment, which are rarely needed.
        """
        if not self.unfinished or (self.segment, self.draw) in self.movements:
            return []
        if self.draw == 0:
            return [(s, 0) for s in range(len(self.z_dan))]
        return [(self.segment, j) for j in range(1, self.z_dan.shape[1])]

    def take(self, units: Tensor, liveliness: float) -> None:
        """Process the units (3, 32, 28) of the current candidate and the motion of the stillest one, and move on."""
        self._tried.append((liveliness, units))
        rejected = not liveliness >= self.threshold  # also if it is not finite
        if rejected and self.draw + 1 < self.z_dan.shape[1]:
            self.draw += 1
            return
        draw = self.draw
        if rejected and draw:
            draw = max(range(len(self._tried)), key=lambda j: self._tried[j][0])
        units = self._tried[draw][1].clone()
        for j in range(self.draw + 1):
            self.movements.pop((self.segment, j), None)
        self._units.append(units.flatten(0, 1))
        self._draws.append(draw)
        self._accepted.append(not rejected)
        self._tried, self.pose = [], units[-1, -1]
        self.segment, self.draw = self.segment + 1, 0

    def danced(self) -> Choreography:
        return Choreography(torch.cat(self._units), torch.tensor(self._draws), torch.tensor(self._accepted))


def advance(net: Composition, lines: Sequence[Line], alone: bool) -> None:
    """Decode the current candidates of these unfinished lines together.

    A song whose candidate is rejected tries the next one while the others continue, so that lines may have any length
    and none waits.

    Args:
        alone: for a single line, decode units without padding, which is faster but gives other bits.
    """
    _decode_movements(net, lines)
    rows = [torch.stack(x) for x in zip(*((x.movements[x.segment, x.draw], x.pose) for x in lines), strict=True)]
    rows.append(torch.stack([x.z_ini[x.segment, x.draw] for x in lines]))
    units = net.unroll(*(rows if alone else padded(*rows)))[: len(lines)]
    for line, own, liveliness in zip(lines, units, motion(units).amin(-1).tolist(), strict=True):
        line.take(own, liveliness)


def _decode_movements(net: Composition, lines: Sequence[Line]) -> None:
    """Decode the movements of many segments at once, as they do not depend on poses."""
    wanted = [(line, s, j) for line in lines for s, j in line.missing()]
    for first in range(0, len(wanted), _MOVEMENTS):
        part = wanted[first : first + _MOVEMENTS]
        z_dan = torch.stack([line.z_dan[s, j] for line, s, j in part])
        mov = net.dance_decoder(*padded(z_dan), SEQUENCE_UNITS)
        samples = mov.sample(*padded(torch.stack([line.z_mov[s, j] for line, s, j in part])))
        for (line, s, j), own in zip(part, samples, strict=False):
            line.movements[s, j] = own
