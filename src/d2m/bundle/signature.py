"""What makes two runs the same training: config, corpus and code, without where they lie and what they show."""

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

#: What every stage sees, on whichever machine it is trained.
_SEEN = ("model", "fit", "data", "seed", "repeat_batches")
#: Keys that change nothing that is learned: places, loggers, what is shown. Of ``data`` the corpus's digest says it.
UNSIGNED = (
    "logger", "project", "resume", "rerun", "reuse", "objective", "callbacks.progress_bar", "callbacks.dance_video",
    "callbacks.latent", "data.name", "data.root", "data.cache", "data.front_end", "data.corpus",
)  # fmt: skip


def signature(config: Mapping[str, Any], corpus_digest: str, code: str) -> str:
    """Sixteen hex digits, equal for two runs that train the same.

    Of ``model`` and ``fit`` only the stages that are trained count, and of checkpoints in ``init_from`` and
    ``continue_from`` the contents, not the path.

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
    """Sixteen hex digits, equal for two stages that are trained alike, whatever else their runs train.

    Args:
        config: the resolved config of ``d2m train``.
        starts: name -> checkpoint that the stage starts from; what counts is its contents.
        corpus_digest, code: as for :func:`signature`.
    """
    signed = _signed(config, [stage])
    for key in ("stages", "style_mode", "init_from", "continue_from"):  # said by the stage and its starts
        signed.pop(key, None)
    return _digest([stage, signed, {name: sha256(path) for name, path in starts.items()}], corpus_digest, code)


def _signed(config: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """What of a config says what is learned in these stages."""
    signed = copy.deepcopy(dict(config))
    for key in UNSIGNED:
        *above, last = key.split(".")
        node: Any = signed
        for part in above:
            node = node.get(part) or {}
        node.pop(last, None)
    for key in ("model", "fit"):
        signed[key] = {s: v for s, v in signed.get(key, {}).items() if s in stages}
    return signed


def _digest(signed: Any, corpus_digest: str, code: str) -> str:
    text = json.dumps([signed, corpus_digest, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed_since(before: Mapping[str, Any], now: Mapping[str, Any], stages: Sequence[str]) -> dict[str, list[Any]]:
    """Dotted key -> [value before, value now] of what trained stages saw of two configs: model, fit, data and seed.

    Not the Trainer: a run may go on on another machine. Not the style mode: no stage trains differently.

    Args:
        before, now: resolved configs. stages: those that were trained.
    """
    a, b = (dict(flat({k: v for k, v in _signed(c, stages).items() if k in _SEEN})) for c in (before, now))
    return {k: [a.get(k), b.get(k)] for k in sorted({*a, *b}) if a.get(k) != b.get(k) and not k.endswith(".style_mode")}


def flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value; an empty mapping is a value."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def runs_below(folder: Path, depth: int = 4) -> Iterator[RunFolder]:
    """Every run at or below a folder, in order of path; what cannot be read is passed over.

    Args:
        depth: levels below ``folder`` to look at; no run lies in another.
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
            continue  # its run.json is broken: nobody can say what it is
    return None
