"""Parts of the report about z_dan: the probe, variance components, retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from d2m.stats.nulls import permutation_p
from d2m.stats.pooled import SongRows, pooled_accuracy
from experiments.material import progress
from experiments.music_heard import probe, space
from experiments.music_heard.held_out import Run
from experiments.music_heard.lines import NAN, Line, Options, Part, line


def probe_part(runs: Sequence[Run], o: Options) -> Part:
    lines, numbers = [], {}
    kinds = {"whole songs": "music", "windows of 6.4 s, a vote a song": "windows"}
    with progress(len(runs) * len(kinds), "probes") as step:
        for k, (name, attribute) in enumerate(kinds.items()):
            song, genre, split, said = [], [], [], []
            for n, run in enumerate(runs):
                table = getattr(run, attribute)
                predicted = probe.probe_run(table, o.seed)
                songs = run.music.select(run.music.split != "train")
                song += songs.song.tolist()
                genre += songs.genre.tolist()
                split += songs.split.tolist()
                said += [predicted[s] for s in songs.song]
                step(k * len(runs) + n + 1)
            arrays = [np.array(v) for v in (song, genre, said)]
            which = {"test": np.array(split) == "test", "validation": np.array(split) == "val"}
            values = {s: _accuracy(*(a[m] for a in arrays)) for s, m in which.items()}
            tested = pooled_accuracy(*arrays, permutations=o.permutations, seed=o.seed)
            lines.append(Line(f"fitted on training songs: {name}", **values, pooled=tested.value,
                              chance=tested.chance, p=tested.p))  # fmt: skip
            numbers[attribute] = tested.summary()
    older = [probe.older_probe(run.music, o.permutations, o.seed) for run in runs]
    older = [t for t in older if t]
    if older:
        spread = ", ".join(f"{t['value']:.2f} (p = {t['p']:.2g})" for t in older)
        lines.append(Line("the older probe, cross-validated among held-out songs", pooled=float(
            np.mean([t["value"] for t in older])), chance=older[0]["chance"], note=f"by run: {spread}"))  # fmt: skip
    return Part(
        "probe", "Is the genre in z_dan?",
        "Balanced accuracy over genres of held-out songs, from the noise-averaged z_dan of the music: logistic "
        "regression on the training songs' latents, standardised, its L2 penalty by cross-validation within the "
        "training songs. A song that several runs held out counts once. p: genres shuffled among distinct songs. The "
        "older probe is that of experiments/genre_structure, which never sees the training songs.",
        lines, {**numbers, "older": older},
    )  # fmt: skip


def _accuracy(song: np.ndarray, genre: np.ndarray, said: np.ndarray) -> float:
    """Balanced accuracy of songs that may come several times; NaN without two genres."""
    if len(set(genre.tolist())) < 2:
        return NAN
    return pooled_accuracy(song, genre, said, permutations=0).value


def variance_part(runs: Sequence[Run]) -> Part:
    sides = [space.both_sides(run) for run in runs]
    groups = {
        "test songs": [s.select(s.split == "test") for s in sides],
        "validation songs": [s.select(s.split == "val") for s in sides],
        "held-out songs": [s.select(s.split != "train") for s in sides],
        "all songs": sides,
    }  # fmt: skip
    numbers: dict[str, Any] = {}
    with progress(len(groups), "variance") as step:
        for k, (name, group) in enumerate(groups.items()):
            numbers[name] = space.compare_variance(group)
            step(k + 1)
    numbers["by_run"] = [space.compare_variance([s.select(s.split != "train")]) for s in sides]
    labels = {
        "signal": "(genre + song) share, music over dance", "song": "song / (genre + song), music over dance",
        "noise": "noise variance, music over dance",
    }  # fmt: skip
    lines = []
    for key, label in labels.items():
        got = {g: numbers[g].get("ratio", {}).get(key, {}).get("value", NAN) for g in groups}
        notes = [
            f"{g}: {r['value']:.2f}, 95 % {r['low']:.2f} to {r['high']:.2f}"
            for g in ("held-out songs", "all songs")
            if (r := numbers[g].get("ratio", {}).get(key))
        ]
        lines.append(Line(label, got["test songs"], got["validation songs"], got["held-out songs"], 1.0, None,
                          "; ".join(notes)))  # fmt: skip
    for group in ("held-out songs", "all songs"):
        for side in ("music", "dance"):
            if shares := numbers[group].get(side):
                text = " / ".join(f"{100 * shares[c]:.2g}" for c in ("genre", "song", "noise"))
                signal = shares["genre"] + shares["song"]
                lines.append(Line(f"{side}, {group}: genre + song share", pooled=signal,
                                  note=f"genre / song / noise {text} %"))  # fmt: skip
    local = runs[0].generator.style_mode == "local"
    return Part(
        "variance", "Where the variance of z_dan comes from",
        f"Nested random effects of {space.DRAWS} complete draws a song, the runs' components added up; alike on both "
        f"sides is 1. In these runs {space.HEARD['segment' if local else 'song']}. 95 %: jackknife over distinct songs "
        "(a bootstrap draws songs twice, and two equal songs of a genre of two have no variance between them).",
        lines, numbers,
    )  # fmt: skip


def retrieval_part(runs: Sequence[Run], o: Options) -> Part:
    song_rows = [r for run in runs for r in space.retrieval_rows(run, o.permutations, o.seed)]
    rows, lines, numbers = SongRows.of(song_rows), [], {}
    labels = {"found": "own dance is the nearest (R@1)", "found_in_genre": "the same, each side centred by genre"}
    for name, label in labels.items():
        null = rows.per_song()[name].mean(0)
        lines.append(line(label, rows, lambda r, n=name: float(r[n][:, 0].mean()), chance=float(null[1:].mean()),
                          p=permutation_p(float(null[0]), null[1:])))  # fmt: skip
        numbers[name] = {
            "value": float(null[0]),
            "null_95": float(np.percentile(null[1:], 95)) if len(null) > 1 else NAN,
        }
    return Part(
        "retrieval", "Does a song find its own dance?",
        "Share of held-out songs whose own real dance is the nearest of the held-out ones of its run, by the cosine "
        "of the noise-averaged z_dan, each side less its training songs' mean. Chance and p: whose dance is whose is "
        "shuffled within genres, so that only what is known of the song counts.",
        lines, numbers,
    )  # fmt: skip
