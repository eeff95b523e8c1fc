"""Signatures, equal for runs with the same training: config, corpus and code, without paths and display options."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import sha256

#: Keys that affect every stage.
_SEEN = ("model", "fit", "data", "seed", "repeat_batches")
#: Keys that do not affect training: paths, loggers, display. ``data`` is represented by the digest of the corpus.
UNSIGNED = (
    "logger", "project", "resume", "rerun", "reuse", "objective", "callbacks.progress_bar", "callbacks.dance_video",
    "callbacks.latent", "callbacks.checkpoint_every_n_epochs", "data.name", "data.root", "data.cache",
    "data.front_end", "data.corpus",
)  # fmt: skip
#: Overrides that do not distinguish one run from another.
UNSAID = (
    "callbacks.dance_video", "callbacks.latent", "callbacks.progress_bar", "data.cache", "hydra", "logger", "project",
    "rerun", "resume", "reuse", "torch_threads",
)  # fmt: skip


def is_unsaid(override: str) -> bool:
    """Whether an override, or its key, is one of :data:`UNSAID`."""
    key = override.lstrip("+").partition("=")[0]
    return any(key == k or key.startswith((f"{k}.", f"{k}/")) for k in UNSAID)


def signature(config: Mapping[str, Any], corpus_digest: str, code: str) -> str:
    """Sixteen hex digits, equal for two runs with the same training.

    Of ``model`` and ``fit``, only the trained stages count; of checkpoints in ``init_from`` and ``continue_from``, the
    contents rather than the path.

    Args:
        config: the resolved config of ``d2m train``.
        corpus_digest: of the prepared corpus.
        code: digest of the program (:func:`d2m.core.machine.code_digest`).
    """
    signed = _signed(config, config.get("stages", []))
    for key in ("init_from", "continue_from"):
        signed[key] = {s: sha256(Path(p)) for s, p in (signed.get(key) or {}).items() if p}
    return _digest(signed, corpus_digest, code)


def stage_signature(
    config: Mapping[str, Any], stage: str, starts: Mapping[str, Path], corpus_digest: str, code: str
) -> str:
    """Sixteen hex digits, equal for two stages with the same training, regardless of the other stages of their runs.

    Args:
        config: the resolved config of ``d2m train``.
        starts: name -> checkpoint that the stage starts from; its contents count, not its path.
        corpus_digest, code: as for :func:`signature`.
    """
    signed = _signed(config, [stage])
    for key in ("stages", "style_mode", "init_from", "continue_from"):  # determined by the stage and its starts
        signed.pop(key, None)
    return _digest([stage, signed, {name: sha256(path) for name, path in starts.items()}], corpus_digest, code)


def _signed(config: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """The part of a config that affects these stages."""
    signed = copy.deepcopy(dict(config))
    for key in UNSIGNED:
        *above, last = key.split(".")
        node: Any = signed
        for part in above:
            node = node.get(part) or {}
        node.pop(last, None)
    for key in ("model", "fit"):
        signed[key] = {s: v for s, v in signed.get(key, {}).items() if s in stages}
    # None means no average; older configs have no such key.
    decays = (signed.get("callbacks") or {}).pop("ema", None) or {}
    if kept := {s: v for s, v in decays.items() if s in stages and v is not None}:
        signed["callbacks"]["ema"] = kept
    return signed


def _digest(signed: Any, corpus_digest: str, code: str) -> str:
    text = json.dumps([signed, corpus_digest, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed_since(before: Mapping[str, Any], now: Mapping[str, Any], stages: Sequence[str]) -> dict[str, list[Any]]:
    """Dotted key -> [value before, value now] for the settings of trained stages that differ between two
    configs: model, fit, data, seed and averages.

    The trainer is ignored, since a run may continue on another machine, and so is the style mode, which does not affect
    training.

    Args:
        before, now: resolved configs. stages: those that were trained.
    """
    a, b = (dict(flat(_seen(c, stages))) for c in (before, now))
    return {k: [a.get(k), b.get(k)] for k in sorted({*a, *b}) if a.get(k) != b.get(k) and not k.endswith(".style_mode")}


def _seen(config: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    signed = _signed(config, stages)
    seen = {k: v for k, v in signed.items() if k in _SEEN}
    decays = (signed.get("callbacks") or {}).get("ema")
    return {**seen, "callbacks": {"ema": decays}} if decays else seen


def flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value; an empty mapping counts as a value."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def runs_below(folder: Path, depth: int = 4) -> Iterator[RunFolder]:
    """Every run at or below a folder, in order of path; unreadable ones are skipped.

    Args:
        depth: levels below ``folder`` to search; runs are not nested.
    """
    run = RunFolder(folder)
    if run.facts_path.is_file():
        yield run
    elif depth:
        try:
            below = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        except OSError:
            return
        for path in below:
            yield from runs_below(path, depth - 1)


def finished_twin(folder: Path, wanted: str, but: Path) -> Path | None:
    """A finished run below a folder, other than ``but``, that has a signature; None if there is none."""
    for run in runs_below(folder):
        try:
            if run.path != but and run.is_finished() and run.facts().get("signature") == wanted:
                return run.path
        except D2MError:
            continue  # its run.json is damaged
    return None
