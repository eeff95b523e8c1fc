"""What makes two runs the same training: config, corpus and code, without where they lie and what they show."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import sha256

#: Keys that change nothing that is learned: places, loggers, what is shown. Of ``data`` the corpus's digest says it.
UNSIGNED = (
    "logger", "project", "resume", "rerun", "objective", "callbacks.progress_bar", "callbacks.dance_video",
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
    signed = copy.deepcopy(dict(config))
    for key in UNSIGNED:
        *above, last = key.split(".")
        node: Any = signed
        for part in above:
            node = node.get(part) or {}
        node.pop(last, None)
    for key in ("model", "fit"):
        signed[key] = {s: v for s, v in signed.get(key, {}).items() if s in signed.get("stages", [])}
    for key in ("init_from", "continue_from"):
        signed[key] = {s: sha256(Path(p)) for s, p in (signed.get(key) or {}).items() if p}
    text = json.dumps([signed, corpus_digest, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
