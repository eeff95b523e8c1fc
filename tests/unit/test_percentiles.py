"""Percentiles over blocks without concatenating them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2m.core.errors import D2MError
from d2m.stats.percentiles import percentiles

Q = (0, 0.1, 5, 50, 95, 99.9, 100)
ARRAYS = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.floats(-1e6, 1e6, width=32)
)


@settings(deadline=None, max_examples=60)
@given(ARRAYS, st.integers(0, 40))
def test_equal_to_numpys(x: np.ndarray, cut: int) -> None:
    got = percentiles(lambda: [x[:cut], x[cut:]], Q)
    np.testing.assert_allclose(got, np.percentile(x, Q, axis=0), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("draw", [np.random.default_rng(0).normal, np.random.default_rng(0).standard_cauchy])
def test_equal_on_many_numbers_and_heavy_tails(draw: object) -> None:
    x = draw(size=(50_000, 2))  # type: ignore[operator]
    got = percentiles(lambda: np.split(x, 10), Q)
    np.testing.assert_allclose(got, np.percentile(x, Q, axis=0), rtol=1e-12)


def test_one_value_many_times() -> None:
    assert percentiles(lambda: [np.full((7, 1), 3.5, np.float32)] * 3, (5, 95)).tolist() == [[3.5], [3.5]]


def test_nothing_and_gaps_are_refused() -> None:
    with pytest.raises(D2MError, match="no numbers"):
        percentiles(lambda: [np.empty((0, 2))], (5,))
    with pytest.raises(D2MError, match="not finite"):
        percentiles(lambda: [np.array([[1.0], [np.nan]])], (5,))
