"""Everything that is measured of trained runs, on the songs that they held out; see :func:`measure`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from d2m.core.errors import D2MError
from d2m.reports.held_out import energy_extremes
from experiments.music_heard.held_out import Run
from experiments.music_heard.lines import Options, Part
from experiments.music_heard.parts_dances import dance_rows, edits_part, energy_part, judged_part
from experiments.music_heard.parts_sound import halves_part, music_edits_part
from experiments.music_heard.parts_space import probe_part, retrieval_part, variance_part


def measure(runs: Sequence[Run], o: Options, cache: Path) -> Iterator[Part]:
    """The parts of the report, one after the other.

    Raises:
        D2MError: a source or target that is no genre of the runs.
    """
    genres = runs[0].generator.genres
    high, low = energy_extremes(runs[0].corpus)
    source, target = o.source or high, o.target or low
    for name in (source, target):
        if name not in genres:
            raise D2MError(f"source={source} target={target}: no genre '{name}'; choose from {', '.join(genres)}")
    if source == target:
        raise D2MError(f"source and target are both {source}; give two of {', '.join(genres)}")
    yield probe_part(runs, o)
    rows = dance_rows(runs, o, (source, target))
    yield judged_part(rows, genres)
    yield edits_part(rows, genres, source, target)
    yield energy_part(rows, genres)
    yield variance_part(runs)
    yield retrieval_part(runs, o)
    yield music_edits_part(runs, o, cache)
    yield halves_part(runs, o)
