"""Ranges of the numbers in ``model.STAGE``, checked before any stage is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from d2m.core.errors import D2MError

_Rule = tuple[Callable[[float], bool], str]
_SHARE: _Rule = (lambda v: 0 <= v <= 1, "a number from 0 to 1")
_BELOW_ONE: _Rule = (lambda v: 0 <= v < 1, "a number of at least 0 and below 1")
_AT_LEAST_ZERO: _Rule = (lambda v: v >= 0, "a number of at least 0")
#: Key -> the allowed range of its value, or of each value if it is a mapping.
_RULES: dict[str, _Rule] = {
    "weights": _AT_LEAST_ZERO, "lr_unit_decoder": _AT_LEAST_ZERO, "lr_final": _SHARE, "foreign_start": _SHARE,
    "dropout": _BELOW_ONE, "label_smoothing": _BELOW_ONE, "feature_noise": _AT_LEAST_ZERO,
    "song_shift": _AT_LEAST_ZERO, "tempo": _AT_LEAST_ZERO, "size_jitter": _AT_LEAST_ZERO,
    "clip": (lambda v: v > 0, "a number above 0"),
    "recovery_frames": (lambda v: v == int(v) and v >= 1, "a whole number of at least 1"),
}  # fmt: skip


def check_model(stage: str, model: Mapping[str, Any]) -> None:
    """Check that the numbers of a stage's model are in range.

    Args:
        stage: its name. model: ``cfg.model[stage]``.

    Raises:
        D2MError: naming the key, for a number outside of its range, NaN or infinite.
    """
    for key, value in model.items():
        if key == "clip" and value is None:
            raise D2MError(f"model.{stage}.clip=null: give a number above 0; a very large one clips nothing")
        if key == "augment":  # checked by d2m.music.front_ends.augment
            continue
        is_right, words = _RULES.get(str(key), (math.isfinite, "a number"))
        for name, number in _numbers(f"model.{stage}.{key}", value):
            if not math.isfinite(number) or not is_right(number):
                raise D2MError(f"{name}={number}: give {words}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _numbers(f"{name}.{key}", below)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
