"""Bradley-Terry strengths from pairwise comparisons of systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from d2m.core.errors import D2MError


def bradley_terry(
    wins: NDArray[np.floating],
    names: Sequence[str],
    prior: float = 0.5,
    tolerance: float = 1e-9,
    max_steps: int = 20_000,
) -> NDArray[np.float64]:
    """Log strengths theta with P(i chosen over j) = 1 / (1 + exp(theta_j - theta_i)), of mean 0; higher is better.

    Bradley and Terry 1952, Biometrika 39, 324; fitted by Hunter's MM algorithm (2004, Ann. Stat. 32, 384, eq. 3).
    Deviation: ``prior`` wins each way are added to every pair that was compared in any of the tables, so that a system
    that always won has a finite strength; one half is Jeffreys' prior for two systems. 0 gives maximum likelihood.

    Args:
        wins: (..., s, s), [i, j] how often i was chosen over j; a tie is half a win for both. Leading dimensions are
            further tables of the same comparisons, as a bootstrap draws them.
        names: of the s systems, for messages.

    Returns:
        (..., s).

    Raises:
        D2MError: another shape, negative or not finite; systems not connected by comparisons; or, with prior
            0, a system that always or never won against the others.
    """
    w = np.array(wins, np.float64)
    if (
        w.ndim < 2
        or w.shape[-1] != w.shape[-2]
        or w.shape[-1] != len(names)
        or len(names) < 2
        or not np.isfinite(w).all()
        or (w < 0).any()
    ):
        raise D2MError(f"bradley_terry: wins of shape {w.shape}; give counts of at least 0, (s, s), for s >= 2 systems")
    s = w.shape[-1]
    w[..., np.arange(s), np.arange(s)] = 0
    pooled = w.reshape(-1, s, s).sum(0)
    compared = (pooled + pooled.T) > 0
    n, group = connected_components(compared, directed=False)
    if n > 1:
        sides = [", ".join(np.array(names)[group == g]) for g in range(2)]
        raise D2MError(f"{sides[0]} was never compared with {sides[1]}, nor by way of others; collect more answers")
    if not prior and any(connected_components(t > 0, connection="strong")[0] > 1 for t in w.reshape(-1, s, s)):
        raise D2MError(
            "bradley_terry: a system always won or lost against the others, so its strength is infinite; give a "
            "prior above 0"
        )
    w += prior * compared
    games = w + w.swapaxes(-1, -2)
    won = w.sum(-1)
    p = np.ones(won.shape)
    for _ in range(max_steps):
        new = won / (games / (p[..., :, None] + p[..., None, :])).sum(-1)
        new /= np.exp(np.log(new).mean(-1, keepdims=True))
        change = float(np.abs(np.log(new / p)).max())
        p = new
        if change < tolerance:
            break
    return np.asarray(np.log(p), np.float64)
