"""The steps of a GRU for a single row, in one compiled loop.

A step of one row takes as long as reading the weights (12 MB at full size), during which the processor's caches lose
everything else: the dozen calls between two such products, which take 14 us by themselves, take 60 to 90. Compiled by
Numba, a step is little more than the reading, in the order in which nn.GRU stores the weights, and the result does not
depend on the number of threads. See docs/adr/0073-own-gru.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.compiling import compiling

_Array = NDArray[np.float32]
#: Sums may be computed in parts; unlike with all of fastmath, NaN and infinity are respected.
_FASTER = {"reassoc", "contract"}


@cache
def row_loop() -> Callable[[_Array, _Array, _Array, _Array], None]:
    """The function steps(gates, state, weight, out), compiled; about 1 s once per machine. It releases the GIL.

    Its arguments, C-contiguous float32: gates (4 h), the share of the input and the biases in r, z, the state's part
    of n, n; state (h,); weight (3 h, h), rows r, z, n. It fills out (steps, h).

    Raises:
        D2MError: as :func:`d2m.core.compiling.compiling`.
    """
    with compiling(Path(__file__).parent):
        import numba

        vector, matrix = numba.float32[::1], numba.float32[:, ::1]
        compiled: Any = numba.njit(
            numba.void(vector, vector, matrix, matrix), cache=True, nogil=True, fastmath=_FASTER
        )(_steps)
    return compiled  # type: ignore[no-any-return]


def _steps(gates: _Array, state: _Array, weight: _Array, out: _Array) -> None:
    width, one, zero = len(state), np.float32(1), np.float32(0)
    sums = np.empty((3, width), np.float32)
    before = state
    for step in range(len(out)):
        for i in range(width):
            r, z, q = zero, zero, zero
            for j in range(width):
                r += weight[i, j] * before[j]
                z += weight[width + i, j] * before[j]
                q += weight[2 * width + i, j] * before[j]
            sums[0, i], sums[1, i], sums[2, i] = r, z, q
        after = out[step]
        for i in range(width):
            r = one / (one + math.exp(-(gates[i] + sums[0, i])))
            z = one / (one + math.exp(-(gates[width + i] + sums[1, i])))
            n = math.tanh(gates[3 * width + i] + r * (gates[2 * width + i] + sums[2, i]))
            after[i] = n + z * (before[i] - n)
        before = after
