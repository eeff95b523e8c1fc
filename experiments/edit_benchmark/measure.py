"""What is measured of one dance: what the judges see, what is left of the original, how natural it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.data.corpus import Corpus
from d2m.reports.edit_scores import GenreReference, content_of, naturalness_of, real_row
from d2m.reports.judges import Judges
from experiments.edit_benchmark.attributes import measure_attributes

Poses = NDArray[np.floating]


def measure_dance(
    poses: Poses, unwarped: Poses, original: Poses, scale: float, beats: float, judges: Judges,
    reference: GenreReference | None,
) -> dict[str, Any]:  # fmt: skip
    """All of one dance (t, 14, 2), plain values for a file.

    Args:
        unwarped: as decoded. original: the unedited dance. scale: px per torso length of the song's real dance.
        beats: of the dancer's pulse while it lasts. reference: of the target genre; None where there is none.
    """
    row: dict[str, Any] = {
        "judged": [j.probabilities(poses).tolist() for j in judges],
        "content": content_of(poses, original),
        "motion": measure_attributes(poses, scale, beats),
    }
    if reference is not None:
        row["natural"] = naturalness_of(poses, unwarped, scale, judges[0].features(poses), reference)
    return row


def real_rows(
    corpus: Corpus,
    songs: Sequence[int],
    frames: int,
    judges: Judges,
    references: Mapping[str, GenreReference],
    seed: int,
) -> list[dict[str, Any]]:
    """The anchors: real held-out dances."""
    rows = []
    for i in songs:
        genre = corpus.recordings[i].genre
        rows.append({"genre": genre, **real_row(corpus, i, frames, judges, references[genre], seed)})
    return rows
