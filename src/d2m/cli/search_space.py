"""Hydra's sweep syntax as a search space: a,b and choice(), range(), interval(), with tag(log,...) and int(...)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from d2m.core.errors import D2MError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution


def distribution(override: Override) -> BaseDistribution:
    """What a swept key may be.

    ``range`` leaves its end out, as Hydra's does; ``interval`` of whole numbers is ``int(interval(1,8))``, both ends
    included. Choices stay words, as the override gives them.

    Raises:
        D2MError: an interval that is empty, or a logarithm of what is not positive.
    """
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            if isinstance(value.start, int) and isinstance(value.end, int):
                return IntDistribution(value.start, value.end, log=log)
            assert value.start is not None and value.end is not None
            return FloatDistribution(float(value.start), float(value.end), log=log)
        if isinstance(value, RangeSweep):
            points = list(value.range())
            if points and all(isinstance(p, int) for p in points):
                step = 1 if log else abs(int(value.step))
                return IntDistribution(min(points), max(points), step=step, log=log)
            return FloatDistribution(min(points), max(points), step=abs(float(value.step)))
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, AssertionError) as e:
        given = f"{override.key_or_group}={override.get_value_string()}"
        raise D2MError(f"{given}: {' '.join(str(e).split()) or 'an empty range'}; give interval(low,high)") from e


def split(overrides: Iterable[Override]) -> tuple[dict[str, str], dict[str, BaseDistribution]]:
    """What every trial is given, and what a sampler chooses: key -> value, key -> distribution. Of a key that is given
    twice the last counts."""
    fixed: dict[str, str] = {}
    space: dict[str, BaseDistribution] = {}
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        space.pop(key, None)
        if override.is_sweep_override():
            space[key] = distribution(override)
        else:
            fixed[key] = override.get_value_element_as_str()
    return fixed, space


def words(params: Mapping[str, Any]) -> dict[str, str]:
    """A sampler's choices as an override has them; numbers with six digits, which is more than a sampler knows."""
    return {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in params.items()}
