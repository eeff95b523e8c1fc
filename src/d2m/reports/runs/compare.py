"""Comparison of two runs, key by key: facts, configs and metrics."""

from __future__ import annotations

from typing import Any

from d2m.reports.runs.read import Run

#: Fields of run.json that are compared.
_FACTS = ("state", "signature", "corpus", "corpus_digest", "git", "host")


def differences(a: Run, b: Run) -> dict[str, dict[str, list[Any]]]:
    """{"facts", "config", "metrics"} -> key -> [value of a, value of b] of keys that differ; None if one has no value.
    Metrics, "STAGE/KEY", are listed whether or not they differ, for the stages that both runs have.
    """
    facts = {k: [a.facts.get(k), b.facts.get(k)] for k in _FACTS}
    facts["state"] = [a.state, b.state]
    libraries = sorted({*a.facts.get("versions", {}), *b.facts.get("versions", {})})
    for name in libraries:
        facts[f"versions.{name}"] = [run.facts.get("versions", {}).get(name) for run in (a, b)]
    config = {k: [a.config.get(k), b.config.get(k)] for k in sorted({*a.config, *b.config})}
    metrics = {
        f"{stage}/{key}": [a.metrics[stage].get(key), b.metrics[stage].get(key)]
        for stage in a.metrics if stage in b.metrics
        for key in sorted({*a.metrics[stage], *b.metrics[stage]})
    }  # fmt: skip
    return {
        "facts": {k: v for k, v in facts.items() if v[0] != v[1]},
        "config": {k: v for k, v in config.items() if v[0] != v[1]},
        "metrics": metrics,
    }
