"""Seeds that every library used here accepts."""

from __future__ import annotations

from d2m.core.errors import D2MError


def check_seed(seed: object, low: int = 0, high: int = 2**32 - 1) -> None:
    """Raises D2MError for an invalid seed; the default range is what NumPy, scikit-learn and torch accept."""
    if not isinstance(seed, int) or not low <= seed <= high:
        raise D2MError(f"seed={seed}: give a whole number from {low} to {high}")
