"""Directions between two genres, and whether music and dance share one space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable
from d2m.draw.plots import latent as figures
from d2m.edits.direction import Direction
from d2m.edits.directions import DIRECTIONS, direction_between
from d2m.edits.erasure import Erasure
from d2m.reports.readings.reading import Reading
from d2m.stats.joint import cka_test, direction_cosine, mmd, retrieval
from d2m.stats.labels import song_labels
from d2m.stats.structure import linear_probe


def directions_reading(
    table: LatentTable, source: str, target: str, permutations: int = 999, seed: int = 0
) -> tuple[Reading, dict[str, Direction]]:
    """All directions from source to target: their angles, their lengths, and what erasure leaves.

    Returns:
        The reading, and the fitted directions by name.
    """
    songs = table.by_song()
    z, genre = songs.mu.astype(np.float64), songs.genre
    own = z[genre == source]
    few = min((genre == source).sum(), (genre == target).sum()) < 2
    fitted = {
        name: direction_between(name, source, target).fit_on_songs(songs)
        for name, kind in DIRECTIONS.items()
        if not (few and kind.fitted_on == "draws")
    }
    shifts = {n: np.broadcast_to(d.shift(own), own.shape).mean(0) for n, d in fitted.items()}
    reference = fitted["mean_shift"].shift(own)
    span = float(np.linalg.norm(reference))
    rows = []
    for name, direction in fitted.items():
        change = np.broadcast_to(direction.shift(own), own.shape)
        away = np.broadcast_to(direction.neutral_shift(own), own.shape)
        mean = shifts[name]
        rows.append({
            "direction": name,
            "length": float(np.linalg.norm(change, axis=1).mean()) / span,
            "neutral length": float(np.linalg.norm(away, axis=1).mean()) / span,
            "cosine with mean shift": float(mean @ reference) / max(float(np.linalg.norm(mean)) * span, 1e-300),
        })  # fmt: skip
    erased = Erasure().fit(z, genre).neutral(z)
    before = linear_probe(z, genre, permutations=permutations, seed=seed)
    after = linear_probe(erased, genre, permutations=permutations, seed=seed)
    held = _held_out_erasure(z, genre, seed)
    others = (
        f"Fitted on half of the songs and tested on the others it leaves {held:.2f}: what few songs cannot show, "
        "erasure cannot take."
        if np.isfinite(held)
        else "A genre has too few songs to fit on half of them and test on the others."
    )
    numbers = {
        "source": source, "target": target, "mean_distance": span, "directions": rows,
        "probe_before_erasure": before.summary(), "probe_after_erasure": after.summary(),
        "probe_after_erasure_fitted_on_other_songs": held,
    }  # fmt: skip
    return Reading(
        f"From {source} to {target}",
        f"The means of the two genres lie {span:.3g} apart in z_dan. After erasure fitted on all songs a "
        f"cross-validated linear probe has a balanced accuracy of {after.value:.2f} (before: {before.value:.2f}, "
        f"chance {after.chance:.2f}; below chance is expected, the folds' means mirror each other). {others}",
        numbers,
        {"direction_cosines": (
            figures.cosine_matrix(shifts, title=f"Directions from {source} to {target}"),
            "Mean displacement of the source's songs at strength 1; 'random' is the control of equal length.",
        )},
        rows, f"Lengths in units of the distance between the means of {source} and {target}, means over its songs",
    ), fitted  # fmt: skip


def _held_out_erasure(z: NDArray[np.float64], genre: NDArray[np.str_], seed: int) -> float:
    """Balanced accuracy of a cross-validated probe on the half of the songs that the erasure was not fitted on."""
    names, _, of_song = song_labels(genre)
    rng = np.random.default_rng(seed)
    first = np.zeros(len(z), bool)
    for k in range(len(names)):
        own = rng.permutation(np.flatnonzero(of_song == k))
        first[own[: len(own) // 2]] = True
    if min(np.bincount(of_song[first], minlength=len(names)).min(), np.bincount(of_song[~first]).min()) < 2:
        return float("nan")
    erased = Erasure().fit(z[first], genre[first]).neutral(z[~first])
    return linear_probe(erased, genre[~first], permutations=0, seed=seed).value


def joint_reading(
    music: LatentTable, dance: LatentTable, source: str, target: str, permutations: int = 999, seed: int = 0
) -> Reading:
    """Is the space joint? Retrieval, CKA, MMD and the cosine of the genre direction, for recordings in both tables.

    Raises:
        D2MError: fewer than four recordings with both, or a genre without one.
    """
    a, b = music.by_song(), dance.by_song()
    both = np.intersect1d(a.song, b.song)
    if len(both) < 4:
        raise D2MError(f"{len(both)} recordings have both music and dance; the joint space needs at least 4")
    a = a.select(np.array([int(np.flatnonzero(a.song == s)[0]) for s in both]))
    b = b.select(np.array([int(np.flatnonzero(b.song == s)[0]) for s in both]))
    search = {
        "music to dance": retrieval(a.mu, b.mu, a.genre),
        "dance to music": retrieval(b.mu, a.mu, a.genre),
    }
    distance = mmd(a.mu, b.mu, permutations, seed)
    cosine = direction_cosine(a.mu, b.mu, a.genre, b.genre, source, target, permutations, seed)
    alike = direction_cosine(a.mu, b.mu, a.genre, b.genre, source, target, permutations, seed, together=True)
    cka = cka_test(a.mu, b.mu, permutations, seed)
    gap = np.linalg.norm(a.mu.mean(0) - b.mu.mean(0)) / max(
        float(np.linalg.norm(b.mu - b.mu.mean(0), axis=1).mean()), 1e-300
    )
    numbers = {
        "recordings": len(both), "retrieval": search, "linear_cka_debiased": cka.value,
        "cka": cka.summary(), "mmd": distance.summary(),
        "direction_cosine": {"source": source, "target": target, **cosine.summary()}, "mean_gap": float(gap),
        "direction_cosine_together": alike.summary(),
    }  # fmt: skip
    drawings = {"retrieval": (figures.retrieval_bars(search), "Black lines: a random ranking.")}
    if permutations:
        label = f"cosine of {source} to {target}"
        tests = {
            "debiased linear CKA": (cka.value, cka.null, cka.p),
            "MMD² of music and dance": (distance.value, distance.null, distance.p),
            label: (cosine.value, cosine.null, cosine.p),
            f"{label}, same songs": (alike.value, alike.null, alike.p),
        }
        drawings["joint_nulls"] = (
            figures.null_histograms(tests, units={"MMD² of music and dance": "unbiased MMD² (RBF, median width)"}),
            "CKA: songs of one side shuffled. MMD²: sides shuffled. Cosine: genres shuffled among the music's songs; "
            "same songs: on both sides alike.",
        )
    high = f"; 97.5% of shuffles are below {cka.summary()['null_high']:.2f}" if permutations else ""
    rows = [
        {"search": side, "measure": k, "found (%)": 100 * v["value"], "chance (%)": 100 * v["chance"]}
        for side, t in search.items()
        for k, v in t.items()
    ]
    return Reading(
        "Is the space joint?",
        f"{len(both)} recordings. Debiased linear CKA {cka.value:.3f} (0: unrelated, 1: the same up to "
        f"rotation), p = {cka.p:.3g}{high}. "
        f"MMD² {distance.value:.3g}, p = {distance.p:.3g}: a small p says that the two encoders do not land in the "
        f"same distribution; their means are {gap:.2f} times the dances' mean radius apart. Direction from {source} "
        f"to {target}: cosine {cosine.value:.2f} between music and dance, p = {cosine.p:.3g} against shuffled "
        f"genres of the music; p = {alike.p:.3g} against other splits of the same songs.",
        numbers, drawings, rows, "Nearest by cosine after centring each side",
    )  # fmt: skip
