"""The embedded corpus, written as raw files and prepared like real data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from d2m.prepare.run import prepare
from d2m.toy import GENRES, VERSION, write_corpus


def prepare_embedded(
    out_root: str,
    n_songs_per_genre: int = 12,
    seconds: float = 40.0,
    corpus_seed: int = 0,
    genres: Sequence[str] = tuple(GENRES),
    yaws: Sequence[float] = (0.0, 45.0, 315.0),
    front_end: str = "rhythm",
    split_seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
) -> Path:
    """Write the procedural songs and dances under ``out_root`` if they are missing, and prepare them.

    Args: see :func:`d2m.toy.write_corpus` and :func:`d2m.prepare.run.prepare`.

    Returns:
        The prepared corpus' folder.
    """
    recipe = [VERSION, n_songs_per_genre, seconds, corpus_seed, list(genres)]
    name = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    raw = write_corpus(Path(out_root) / f"synthetic-{name}", n_songs_per_genre, seconds, corpus_seed, tuple(genres))
    return prepare(raw, out_root, yaws, front_end, split_seed, val_fraction, test_fraction)
