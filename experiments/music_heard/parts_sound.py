"""Parts of the report about edited sound: tempo, pitch, loudness, and songs of two halves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from d2m.stats.pooled import SongRows
from d2m.stats.within import WithinAxis
from experiments.material import progress
from experiments.music_heard import sound
from experiments.music_heard.held_out import Run
from experiments.music_heard.lines import NAN, Line, Options, Part, line, sign_p


def music_edits_part(runs: Sequence[Run], o: Options, cache: Path) -> Part:
    heading, song_rows, axes = "Edits of the sound", [], []
    if not all(map(sound.hears_waves, runs)):
        return Part("music_edits", heading, "The front end reads what was written about a song's file: it cannot hear "
                    "edited sound.", ())  # fmt: skip
    missing = 0
    with progress(sum(len(run.songs) for run in runs), "edits of sound") as step:
        done = 0
        for run in runs:
            axis = sound.tempo_axis(run, o.permutations, o.seed)
            axes.append(axis)
            for i in run.songs:
                rows = sound.edited_features(run.corpus, i, run.generator.front_end, o.edit_seconds, cache)
                missing += rows is None
                if rows is not None:
                    song_rows.append(run.row(i, **sound.moved(run, axis, rows)))
                step(done := done + 1)
    if not song_rows:
        return Part("music_edits", heading, "The songs' files are not on this machine.", ())
    rows = SongRows.of(song_rows)
    lines = tempo_lines(rows) if any(a.fit is not None for a in axes) else []
    for edit in (*sound.TEMPO, *sound.ASIDE):
        name = f"moved {edit}"
        lines.append(line(f"{edit}: displacement / genre step, median", rows, lambda r, n=name: sound.median_of(r, n)))
    facts = [{"fit": None if a.fit is None else slopes(a.fit), "genre_step": a.step, "tempo_spread_octaves": a.spread}
             for a in axes]  # fmt: skip
    said = "; ".join(
        f"{a.fit.slope / a.step:.2f} (unbiased {a.fit.held_out_slope / a.step:.2f}, p = {a.fit.p:.2g})"
        if a.fit is not None
        else "none, for tempi do not vary within genres"
        for a in axes
    )
    spread = ", ".join(f"{a.spread:.2f}" for a in axes)
    left = f" {missing} song(s) are not on this machine." if missing else ""
    return Part(
        "music_edits", heading,
        f"The middle {o.edit_seconds:g} s of held-out songs, edited; z_dan is noise-averaged, the noise the same. The "
        "axis of tempo: least squares of the training songs' z_dan on log tempo, both less their genre's mean (one "
        "regressor, no ridge), tempi folded to the octave around their genre's median. Its slope is biased upwards by "
        "its own noise, so the shift that it predicts is the stricter unit; the unbiased slope projects each song on "
        f"the axis of the others. Slope, genre steps an octave, by run: {said}. Standard deviation of tempo within "
        f"genres, octaves: {spread}. The genre step is the mean distance between two genres' means.{left}",
        lines, {"axes": facts},
    )  # fmt: skip


def slopes(fit: WithinAxis) -> dict[str, float]:
    return {"slope_per_octave": fit.slope, "held_out_slope_per_octave": fit.held_out_slope, "p": fit.p}


def tempo_lines(rows: SongRows) -> list[Line]:
    """How far edits of tempo move songs along the axis of tempo."""
    both, lines, once = tuple(sound.TEMPO), [], rows.per_song()
    for edits in (*((e,) for e in both), both):
        right = [f"right {e}" for e in edits]
        lines.append(
            line(
                f"{' and '.join(edits)}: right sign, share of songs",
                rows,
                lambda r, n=right: float(np.nanmean([r[x] for x in n])),
                chance=0.5,
                p=sign_p(np.mean([once[x] for x in right], axis=0)),
            )
        )
    for key, words in {"along": "over the predicted shift", "along_held_out": "over the unbiased slope's"}.items():
        names = [f"{key} {e}" for e in both]
        lines.append(
            line(f"tempo: displacement {words}, median", rows, lambda r, n=names: sound.median_of(r, *n), chance=0.0)
        )
    return lines


def halves_part(runs: Sequence[Run], o: Options) -> Part:
    heading = "A song of two genres' halves"
    if not all(map(sound.hears_waves, runs)) or any(run.generator.motion_style is None for run in runs):
        return Part("halves", heading, "Needs a front end that hears waves, and a motion classifier.", ())
    pairs = [(run, a, b) for run in runs for a, b in sound.cross_pairs(run, o.pairs, o.seed)]
    song_rows, both = [], []
    with progress(len(pairs), "halves") as step:
        for k, (run, a, b) in enumerate(pairs):
            rows = sound.dance_halves(run, a, b, o.half_seconds, o.seed)
            song_rows += rows
            both += [all(r["above"] for r in rows)] if len(rows) == 2 else []
            step(k + 1)
    if not song_rows:
        return Part("halves", heading, "The songs' files are not on this machine, or they are too short to judge.", ())
    flat = SongRows.of(song_rows)

    def share(split: str | None) -> float:
        above = flat["above"] if split is None else flat["above"][flat.split == split]
        return float(above.mean()) if len(above) else NAN

    mode = "local"
    n, together = len(song_rows), float(np.mean(both)) if both else NAN
    p = float(binomtest(round(float(flat["above"].sum())), n, 0.5, alternative="greater").pvalue)
    lines = [
        Line("halves judged as their own genre above the other's", share("test"), share("val"), share(None), 0.5, p,
             f"{n} halves"),
        Line("pairs with both halves so", pooled=together, chance=0.25, note=f"{len(both)} pairs"),
    ]  # fmt: skip
    return Part(
        "halves", heading,
        f"The middle {o.half_seconds:g} s of two held-out songs of different genres, one after the other, danced to "
        f"with style_mode={mode}, unwarped; segments on the seam are left out. Chance is a coin's; a dance in one "
        "style throughout gets one half of each pair right. p: binomial over halves.",
        lines, {"style_mode": mode, "margin": float(flat["margin"].mean())},
    )  # fmt: skip
