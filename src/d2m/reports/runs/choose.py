"""Filtering runs by state, config and metrics, sorting them, and finding the best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from d2m.core.errors import D2MError
from d2m.reports.runs.read import EVALUATED, STATES, Objective, Run, objective

#: Keys of every run, besides those of its config and its metrics.
OWN = ("name", "sweep", "state", "stage", "started", "time", "objective", "host", "signature")

_CONDITION = re.compile(r"(?P<key>[^<>=!]+)(?P<sign><=|>=|!=|=|<|>)(?P<value>.*)", re.DOTALL)


class Runs:
    """A list of runs, with filtering, sorting and ranking.

    Args:
        monitors: stage -> its monitored metric, and "min" or "max".
    """

    def __init__(self, runs: Sequence[Run], monitors: Mapping[str, tuple[str, str]]) -> None:
        self.runs, self.monitors = list(runs), monitors

    def objective(self, run: Run) -> Objective | None:
        """See :func:`d2m.reports.runs.read.objective`."""
        return objective(run, self.monitors)

    def value(self, run: Run, key: str) -> Any:
        """A run's value of one of :data:`OWN`, a config key or a metric; None if it has none."""
        if key in ("name", "sweep", "state"):
            return getattr(run, key)
        if key == "time":
            return run.seconds
        if key == "objective":
            objective = self.objective(run)
            return objective and objective.value
        if key in OWN:
            return run.facts.get(key)
        return run.config[key] if key in run.config else run.value(key)

    def where(self, conditions: Sequence[str]) -> Runs:
        """The runs for which all conditions hold: KEY=VALUE, where VALUE may contain * and ?, or with !=, <, <=, >, >=.

        Raises:
            D2MError: an invalid condition, a key that no run has, or an unknown state.
        """
        kept = self.runs
        for condition in conditions:
            match = _CONDITION.fullmatch(condition)
            if match is None or match["value"].startswith(("=", "<", ">")):
                raise D2MError(f"filter={condition}: write KEY=VALUE, or !=, <, <=, >, >= in place of =")
            key, sign, wanted = match["key"].strip(), match["sign"], match["value"].strip()
            if key == "state" and not any(fnmatchcase(s, wanted.lower()) for s in STATES):
                raise D2MError(f"filter={condition}: no such state; choose from {', '.join(STATES)}")
            self._check_key(key, "filter")
            kept = [r for r in kept if _holds(self.value(r, key), sign, wanted)]
        return Runs(kept, self.monitors)

    def by(self, key: str) -> Runs:
        """Sorted in ascending order, or with ``-KEY`` in descending order; runs without a value come last.

        Raises:
            D2MError: a key that no run has.
        """
        name = key.removeprefix("-")
        self._check_key(name, "sort")
        ranked = [(self.value(r, name), r) for r in self.runs]
        numbers = all(isinstance(v, int | float) for v, _ in ranked if v is not None)
        have = [(v if numbers else str(v), r) for v, r in ranked if v is not None]
        have.sort(key=lambda pair: pair[0], reverse=key.startswith("-"))
        return Runs([r for _, r in have] + [r for v, r in ranked if v is None], self.monitors)

    def best(self, metric: str | None, mode: str | None) -> tuple[Runs, str, str]:
        """The finished runs, best first; the metric that ranks them; and "min" or "max".

        Args:
            metric: STAGE/KEY or KEY; None for the objective, which must be the same for all.
            mode: "min" or "max"; may be None if the metric is a stage's monitored one.

        Raises:
            D2MError: no finished run has a value, or ``mode`` is needed.
        """
        if not self.runs:
            raise D2MError("no runs here, or none that meets the filter; d2m runs ls folder=FOLDER shows them")
        done = [r for r in self.runs if r.state == "done"]
        if metric is None:
            judged = {r.name: o for r in done if (o := self.objective(r)) is not None and o.value is not None}
            keys = {o.key: o.mode for o in judged.values()}
            if len(keys) > 1:
                raise D2MError(f"these runs have different objectives ({', '.join(sorted(keys))}); give metric=...")
            values = {name: float(o.value or 0.0) for name, o in judged.items()}
            metric, told = next(iter(keys.items()), ("objective", "min"))
        else:
            values = {r.name: v for r in done if (v := r.value(metric)) is not None}
            told = self._mode(metric) or ""
        if not values and metric != "objective":
            self.check_metric(metric)
        if not values:
            raise D2MError(f"none of {len(self.runs)} runs is done and has {metric}; d2m runs ls shows them")
        mode = mode or told
        if not mode:
            raise D2MError(f"metric={metric}: give mode=min or mode=max")
        ranked = sorted((r for r in done if r.name in values), key=lambda r: values[r.name], reverse=mode == "max")
        return Runs(ranked, self.monitors), metric, mode

    def check_metric(self, metric: str) -> None:
        """Check that at least one run has a metric.

        Raises:
            D2MError: none has.
        """
        if not self.runs or any(r.value(metric) is not None for r in self.runs):
            return
        known = {f"{stage}/{key}" for r in self.runs for stage, metrics in r.metrics.items() for key in metrics}
        names = known | {k.partition("/")[2] for k in known}
        near = get_close_matches(metric, names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "d2m runs show run=RUN json=true shows a run's"
        raise D2MError(f"metric={metric}: no run has this; {hint}")

    def _mode(self, metric: str) -> str | None:
        modes = {m for s, (key, m) in self.monitors.items() if metric in (key, f"{s}/{key}")}
        modes |= {"max"} if metric == EVALUATED else set()
        return modes.pop() if len(modes) == 1 else None

    def _check_key(self, key: str, option: str) -> None:
        if key in OWN or not self.runs or any(self.value(r, key) is not None or key in r.config for r in self.runs):
            return
        known = {k for r in self.runs for k in r.config} | {k for r in self.runs for m in r.metrics.values() for k in m}
        near = get_close_matches(key, known, n=3) + sorted(k for k in known if k.endswith(f".{key}"))[:3]
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"give {', '.join(OWN)}, a key of the config or a metric"
        )
        raise D2MError(f"{option}={key}: no run has this; {hint}")


def _holds(value: Any, sign: str, wanted: str) -> bool:
    if value is None:
        return (wanted in ("", "null")) == (sign == "=") if sign in ("=", "!=") else False
    try:
        a, b = float(value), float(wanted)
    except (TypeError, ValueError):
        same = fnmatchcase(str(value).lower(), wanted.lower())
        return {"=": same, "!=": not same}.get(sign, False)
    return {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]
