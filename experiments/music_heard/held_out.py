"""The runs that are measured: their bundles, their corpora, and the latents of their songs, each extracted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.skeleton import FPS, SEQUENCE_FRAMES
from d2m.dance.encoding import Extraction
from d2m.dance.extraction import extract_corpus_music, extract_dance
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.data.corpus import Corpus
from d2m.reports.held_out import held_out_songs
from experiments.material import find_corpus

#: Seconds of a segment: one z_dan is danced for so long.
SEGMENT_S = SEQUENCE_FRAMES / FPS
#: Complete draws of z_dan that variance components are estimated from.
DRAWS = 16


@dataclass(frozen=True, eq=False)
class Run:
    """One trained run on its own split."""

    folder: RunFolder
    generator: DanceGenerator
    corpus: Corpus
    seed: int = 0

    @cached_property
    def songs(self) -> list[int]:
        """Recordings of the validation and test splits."""
        return held_out_songs(self.corpus)

    @cached_property
    def music(self) -> LatentTable:
        """From the music of all songs, a row per song."""
        return extract_corpus_music(self.generator, self.corpus, Extraction(None, DRAWS, 64, self.seed)).by_song()

    @cached_property
    def windows(self) -> LatentTable:
        """From the music of all songs, a row per 6.4 s."""
        return extract_corpus_music(self.generator, self.corpus, Extraction(SEGMENT_S, 4, 64, self.seed))

    @cached_property
    def dance(self) -> LatentTable:
        """From the real dances of all songs, a row per song."""
        return extract_dance(self.generator, self.corpus, Extraction(None, DRAWS, 64, self.seed)).by_song()

    def row(self, i: int, **values: Any) -> dict[str, Any]:
        """A row of :class:`d2m.stats.pooled.SongRows`."""
        info = self.corpus.recordings[i]
        return {"song": info.name, "genre": info.genre, "split": info.split, **values}

    def in_mode(self, mode: str) -> DanceGenerator:
        """The same networks, styles made in another mode."""
        return replace(self.generator, style_mode=mode)  # type: ignore[arg-type]


def open_runs(folders: Sequence[str], corpora: Sequence[str] = (), seed: int = 0) -> list[Run]:
    """Runs of ``d2m train`` with the same genres; ``corpora``: where theirs are, one for all or one each.

    Raises:
        D2MError: no bundle, no corpus, or other genres than the first run's.
    """
    if corpora and len(corpora) not in (1, len(folders)):
        raise D2MError(f"corpora: {len(corpora)} for {len(folders)} runs; give one for all of them, or one each")
    places = list(corpora) * len(folders) if len(corpora) == 1 else list(corpora) or [""] * len(folders)
    runs = []
    for folder, place in zip(folders, places, strict=False):
        run = RunFolder(Path(folder).expanduser())
        runs.append(Run(run, DanceGenerator.load(run.bundle), find_corpus(run.bundle, place), seed))
        if runs[-1].generator.genres != runs[0].generator.genres:
            raise D2MError(f"{folder}: its genres are not those of {folders[0]}; give runs on the same songs")
        if not runs[-1].songs:
            raise D2MError(f"{folder}: no song of its corpus is held out, so nothing can be measured")
    return runs
