"""Optuna search spaces from Hydra's sweep syntax: a,b and choice(), range(), interval(), tag(log,...) and int(...)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from d2m.core.errors import D2MError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution


def distribution(override: Override) -> BaseDistribution:
    """The Optuna distribution of a swept key.

    ``range`` excludes its end, as in Hydra; an ``interval`` of integers is ``int(interval(1,8))``, both ends included.
    Choices remain strings, as in the override.

    Raises:
        D2MError: an empty interval, or a logarithmic one that is not positive.
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
    """Separate the fixed overrides (key -> value) from the swept ones (key -> distribution). If a key is given twice,
    the last one counts."""
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
    """A sampler's choices as override values; floats have six significant digits, ample for a sampled value."""
    return {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in params.items()}
