"""Parts of the report about dances: as what they are judged, what edits change, how much they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from d2m.stats.pooled import SongRows, genre_mean
from experiments.material import progress
from experiments.music_heard import dances
from experiments.music_heard.dances import Floats
from experiments.music_heard.held_out import Run
from experiments.music_heard.lines import NAN, Options, Part, line, sign_p

NO_JUDGE = "The bundles have no motion classifier; train one with stages=[...,motion_style]."


def dance_rows(runs: Sequence[Run], o: Options, pair: tuple[str, str]) -> SongRows:
    rows = []
    with progress(sum(len(run.songs) for run in runs), "dances") as step:
        for run in runs:
            styles = dances.genre_styles(run)
            for i in run.songs:
                rows.append(run.row(i, **dances.dances_of_song(run, i, range(o.seeds), styles, pair)))
                step(len(rows))
    return SongRows.of(rows)


def has_judge(rows: SongRows) -> bool:
    return bool(np.isfinite(rows["judged_own"]).any())


def judged_part(rows: SongRows, genres: Sequence[str]) -> Part:
    heading = "Unedited dances judged as their song's genre"
    if not has_judge(rows):
        return Part("judged", heading, NO_JUDGE, ())
    lines = []
    kinds = {"own": "dance", "mean": "oracle, mean z_dan of the genre", "style": "oracle, mean style of the genre"}
    for kind, label in kinds.items():
        name = f"judged_{kind}"
        for g in genres:
            if kind == "own":
                lines.append(
                    line(f"{g}: real dance", rows, lambda r, g=g: dances.judged_as(r, "judged_real", genres, g))
                )
            chance = dances.judged_by_chance(rows.per_song(), name, genres, g)
            lines.append(
                line(f"{g}: {label}", rows, lambda r, g=g, n=name: dances.judged_as(r, n, genres, g), chance=chance)
            )
            over = dances.judged_as(rows.per_song(), "judged_real", genres, g)
            lines.append(line(f"{g}: {label} / real", rows, lambda r, g=g, n=name: dances.judged_ratio(
                r, n, genres).get(g, NAN), chance=chance / over))  # fmt: skip
        lines.append(
            line(f"mean over genres: {label} / real", rows, lambda r, n=name: _mean(dances.judged_ratio(r, n, genres)))
        )
    return Part(
        "judged", heading,
        "Probability that the judge (the motion classifier that no optimiser sees) gives the song's own genre, for "
        "unwarped dances. Chance: what it gives that genre for the dances to the other genres' songs. The oracles "
        "know the genre and dance its mean z_dan, or the mean style of its training songs: what better hearing could "
        "buy.",
        lines,
    )  # fmt: skip


def _mean(values: Mapping[str, float]) -> float:
    known = [v for v in values.values() if np.isfinite(v)]
    return float(np.mean(known)) if known else NAN


def edits_part(rows: SongRows, genres: Sequence[str], source: str, target: str) -> Part:
    heading = f"Edits between {source} and {target}"
    if not has_judge(rows):
        return Part("edits", heading, NO_JUDGE, ())
    lines = []
    for a, b in ((source, target), (target, source)):
        mine = rows.select(rows.genre == a)
        if not len(mine) or "edit_target" not in mine.values:
            continue
        column = {g: list(genres).index(g) for g in (a, b)}

        def vote(rows: SongRows, dance: str, genre: str, column: Mapping[str, int] = column) -> Floats:
            return np.asarray(rows[f"edit_{dance}"][:, column[genre]], np.float64)

        for genre in (b, a):
            for dance in ("original", "neutral", "target"):
                name = f"{a} to {b}: {dance} dance judged as {genre}"
                lines.append(line(name, mine, lambda r, d=dance, g=genre: float(vote(r, d, g).mean())))
        once = mine.per_song()
        for words, more, genre in (
            ("neutral less the source than the original", "original", a),
            ("neutral less the target than the target dance", "target", b),
        ):
            lines.append(
                line(
                    f"{a} to {b}: {words}, share of songs",
                    mine,
                    lambda r, d=more, g=genre: float((vote(r, d, g) > vote(r, "neutral", g)).mean()),
                    chance=0.5,
                    p=sign_p(vote(once, more, genre) > vote(once, "neutral", genre)),
                )
            )
    return Part(
        "edits", heading,
        "Mean shift at strength 1 of the held-out songs of both genres, all noise shared; the judge's mean "
        "probability, unwarped. p: sign test over songs.",
        lines,
    )  # fmt: skip


def energy_part(rows: SongRows, genres: Sequence[str]) -> Part:
    lines = []
    for kind, label in {"own": "generated", "mean": "oracle, mean z_dan of the genre"}.items():
        for g in genres:
            if f"energy_{kind}" in rows.values:
                lines.append(line(f"{g}: {label} / real", rows, lambda r, g=g, k=kind: dances.energy_ratio(
                    r, f"energy_{k}", g), chance=1.0 if kind == "own" else None))  # fmt: skip
    once = rows.per_song()
    means = {k: genre_mean(once[f"energy_{k}"], once.genre) for k in ("real", "own")}
    seams = genre_mean(once["boundary"], once.genre) if "boundary" in once.values else {}
    order = {k: " < ".join(sorted(v, key=lambda g: v[g])) for k, v in means.items()}
    return Part(
        "energy", "Kinetic energy of the dances",
        "Generated over real mean kinetic energy of dances on the music's beats, hips in place, the real dance's "
        f"torso as unit of length; 1 is the real dance. Order of the real dances: {order['real']}; of the generated: "
        f"{order['own']}.",
        lines, {"means": means, "order": order, "boundary": seams},
    )  # fmt: skip
