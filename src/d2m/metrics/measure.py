"""Measures dances by a card: resampling, features, comparison with real dances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from d2m.core.errors import D2MError
from d2m.metrics.against_real import Rows, distance_figures, diversity_figure, interleaved, multimodality_figure
from d2m.metrics.beat_figures import alignment, lee_beats, repetition
from d2m.metrics.body import physical_foot_contact
from d2m.metrics.body_figures import body_figures
from d2m.metrics.cards import Card, Measured
from d2m.metrics.fact_features import geometric_features, kinetic_features
from d2m.metrics.figure import Array, Better, DanceToSong, Figure, Floats, SongDraws, unmeasured
from d2m.metrics.song_dances import SongDances

#: Features of the windows of a dance: (t, 14, 2) px -> (w, d).
Embed = Callable[[Floats], Array]
#: Features of the dances: per song, and per dance.
Featured = tuple[Rows, dict[str, list[Floats]]]


class Reference:
    """Real dances, resampled, cropped and turned into features once for all rows that are measured against them.

    Args:
        card: of the rows.
        real: the dances; several to one song are views.
        embed: see :func:`measure`.

    Raises:
        D2MError: no dances, or a dance that the card cannot measure.
    """

    def __init__(self, card: Card, real: Sequence[DanceToSong], embed: Embed | None = None) -> None:
        if not real:
            raise D2MError(f"card {card.name}: no real dances; give some")
        self.card, self.embed = card, embed
        self.songs = _prepared(card, () if card.features == "feet" else real)
        self.features = {} if card.features == "feet" else _features(card, self.songs, embed)


def measure(
    card: Card,
    dances: Sequence[DanceToSong],
    real: Sequence[DanceToSong] | Reference,
    embed: Embed | None = None,
    seed: int = 0,
) -> Measured:
    """Measure a set of dances by a card.

    Args:
        dances: generated or other dances; several to one song are draws.
        real: the reference; several to one song are views. If it equals ``dances``, the result is the row ``real``,
            which scores the floors. For several rows, pass a :class:`Reference` with the same card and ``embed``.
        embed: features of a dance's windows, whose length and hop are the card's; None leaves out figures that need it.
        seed: of halves, shifts, shuffles and bootstrap.

    Returns:
        name -> figure; the names depend only on the card. Figures that cannot be measured are NaN with a note.

    Raises:
        D2MError: no dances, a dance that is too short, not finite or of another shape, a card whose needs are not met,
            a reference of another card.
    """
    if not dances:
        raise D2MError(f"card {card.name}: no dances; give some")
    truth = real if isinstance(real, Reference) else Reference(card, real, embed)
    if card.features == "feet":
        return Measured(card, _feet(card, dances))
    if truth.card != card:
        raise D2MError(f"card {card.name}: the reference was made for card {truth.card.name}; make one for each card")
    measured = _prepared(card, dances)
    paired = list(measured) == list(truth.songs)
    draws = SongDraws(measured.genres, truth.songs.genres, card.bootstrap, seed, paired)
    features = _features(card, measured, truth.embed)
    figures: dict[str, Figure] = {}
    if card.features == "embed":
        figures |= _embedded(card, features, truth.features, draws, seed)
    else:
        figures |= _fact(card, features, truth.features, draws, seed)
    if card.beats == "lee":
        assert card.tolerance_s
        figures |= lee_beats(measured, card.tolerance_s, card.shifts, draws, seed)
    elif card.beats != "none":
        assert card.sigma_s
        figures |= alignment(measured, card.beats, card.sigma_s, card.shifts, draws, seed)
    if card.beats_per_block:
        figures["repetition"] = repetition(measured, card.beats_per_block, card.shifts, draws, seed)
    if card.body:
        figures |= body_figures(measured, truth.songs, draws)
    return Measured(card, figures)


def _prepared(card: Card, dances: Sequence[DanceToSong]) -> SongDances:
    """Dances at the card's rate, cropped, by song."""

    def ready(dance: DanceToSong) -> DanceToSong:
        return dance.at(card.fps, card.crop_s)

    def check(dance: DanceToSong) -> None:
        dance.check(2)
        ready(dance).check(card.least_frames)

    return SongDances(dances, ready, check)


def _rows(songs: SongDances, of: Callable[[DanceToSong], Floats]) -> Featured:
    each = {name: [of(d) for d in mine] for name, mine in songs.items()}
    # Interleaved, so that the first rows of a song do not all come from the first camera.
    turned = [x[k % len(x) :] + x[: k % len(x)] for k, x in enumerate(each.values())]
    return Rows(list(songs), songs.genres, [interleaved(x) for x in turned]), each


def _features(card: Card, songs: SongDances, embed: Embed | None) -> dict[str, Featured]:
    """Suffix of the figures -> features; {} if the card needs a classifier and there is none."""
    if card.features == "embed":
        return {} if embed is None else {"": _rows(songs, lambda d: _windows(card, d, embed))}
    return {
        "_k": _rows(songs, lambda d: kinetic_features(d.poses, d.fps)[None]),
        "_g": _rows(songs, lambda d: geometric_features(d.poses, d.fps)[None]),
    }


def _windows(card: Card, dance: DanceToSong, embed: Embed) -> Floats:
    features = np.asarray(embed(np.asarray(dance.poses, np.float64)), np.float64)
    expected = card.windows(len(dance.poses))
    if features.ndim != 2 or len(features) != expected or not np.isfinite(features).all():
        raise D2MError(
            f"{dance.song}: the motion classifier gave {features.shape} features of {len(dance.poses)} frames; "
            f"card {card.name} needs {expected} finite rows, {card.window_frames} frames every {card.hop_frames}"
        )
    return features


def _on_one_scale(card: Card, mine: Rows, reference: Rows) -> tuple[Rows, Rows]:
    if card.normaliser == "reference":
        return mine.standardised(reference), reference.standardised(reference)
    return mine, reference


def _embedded(
    card: Card, generated: dict[str, Featured], real_features: dict[str, Featured], draws: SongDraws, seed: int
) -> dict[str, Figure]:
    unit = "of the classifier's features"
    if not generated:
        names: dict[str, Better] = {
            "fid": "lower",
            "fid_floor": "real",
            "kid": "lower",
            "diversity": "real",
            "multimodality": "higher",
        }
        return {k: unmeasured(unit, better, "no motion classifier was given") for k, better in names.items()}
    (mine, each), (reference, _) = generated[""], real_features[""]
    mine, reference = _on_one_scale(card, mine, reference)
    return {
        **distance_figures(mine, reference, card.halves, card.bootstrap, seed, unit + ", squared"),
        "diversity": diversity_figure(mine, draws, seed, unit),
        "multimodality": multimodality_figure(each, unit),
    }


def _fact(
    card: Card, generated: dict[str, Featured], real_features: dict[str, Featured], draws: SongDraws, seed: int
) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    unit = "standard deviations of real" if card.normaliser == "reference" else ""
    for suffix in generated:
        mine, reference = _on_one_scale(card, generated[suffix][0], real_features[suffix][0])
        figures |= distance_figures(mine, reference, card.halves, card.bootstrap, seed, unit + ", squared", suffix)
        figures[f"dist{suffix}"] = diversity_figure(mine, draws, seed, unit)
    return figures


def _feet(card: Card, dances: Sequence[DanceToSong]) -> dict[str, Figure]:
    scores = []
    for dance in dances:
        if dance.feet is None:
            raise D2MError(
                f"{dance.song}: card {card.name} measures whether feet stay on the floor, which needs 3-D poses "
                "with toes; these are 14 joints in a picture. Choose another card"
            )
        d = dance.at(card.fps, card.crop_s)
        assert d.feet is not None
        scores.append(physical_foot_contact(d.feet, card.fps))
    return {"pfc": Figure(float(np.mean(scores)), len(scores), "m² / 10,000", "lower", note="dances")}
