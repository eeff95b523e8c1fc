"""Agreement between participants, corrected for chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError


def coincidences(values: NDArray[np.int64], n_values: int) -> NDArray[np.float64]:
    """Answers (raters, units), -1 if missing -> coincidences of values within units, (n_values, n_values).

    Every unit with m >= 2 answers counts as m (Krippendorff 2011, step B). The sum is the number of such answers.

    Raises:
        D2MError: another shape, or a value out of range.
    """
    v = np.asarray(values)
    if v.ndim != 2 or not np.issubdtype(v.dtype, np.integer) or (v.size and not -1 <= v.min() <= v.max() < n_values):
        raise D2MError(f"answers of shape {v.shape}; give whole numbers (raters, units) from -1 to {n_values - 1}")
    counts = np.stack([(v == k).sum(0) for k in range(n_values)], 1).astype(np.float64)  # (units, values)
    m = counts.sum(1)
    counts, m = counts[m >= 2], m[m >= 2]
    weighted = counts / (m - 1)[:, None]
    return np.asarray(counts.T @ weighted - np.diag(weighted.sum(0)), np.float64)


def krippendorff_alpha(values: NDArray[np.int64], n_values: int) -> float:
    """Krippendorff's alpha for nominal answers: 1 for full agreement, 0 for chance, below 0 for worse than chance.

    alpha = 1 - (n - 1) sum_{c != k} o_ck / sum_{c != k} n_c n_k, with coincidences o (:func:`coincidences`), their row
    sums n_c and their sum n. Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.

    NaN if no unit has two answers, or if all answers have the same value.

    Raises:
        D2MError: as :func:`coincidences`.
    """
    o = coincidences(values, n_values)
    rows = o.sum(1)
    n = rows.sum()
    expected = n * n - (rows**2).sum()
    if n < 2 or expected <= 0:
        return float("nan")
    return float(1 - (n - 1) * (n - np.trace(o)) / expected)


def agreement(values: NDArray[np.int64], n_values: int) -> float:
    """Share of agreeing pairs of answers within units, 0 to 1, units weighted by answers; NaN if there are none.

    Raises:
        D2MError: as :func:`coincidences`.
    """
    o = coincidences(values, n_values)
    return float(np.trace(o) / o.sum()) if o.sum() else float("nan")
