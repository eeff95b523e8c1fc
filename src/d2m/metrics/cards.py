"""Protocol cards: everything that a metric leaves open, pinned in one file, and a table that holds one card only.

A card is ``conf/metric/NAME.yaml``; docs/metrics.md says what each figure is. Numbers of two cards, or of one card with
a pin changed, do not compare, and :class:`Table` refuses to put them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from d2m.core.errors import D2MError
from d2m.metrics.against_real import Rows, distance_figures, diversity_figure, interleaved, multimodality_figure
from d2m.metrics.beat_figures import alignment, lee_beats, repetition
from d2m.metrics.body import physical_foot_contact
from d2m.metrics.body_figures import body_figures
from d2m.metrics.fact_features import geometric_features, kinetic_features
from d2m.metrics.figure import Array, Better, DanceToSong, Figure, Floats, SongDraws, Songs, by_song, unmeasured

__all__ = ["Card", "DanceToSong", "Figure", "Measured", "Table", "load_card", "measure"]

FOLDER = Path(__file__).parents[1] / "conf" / "metric"
#: Features of the windows of a dance: (t, 14, 2) px -> (w, d).
Embed = Callable[[Floats], Array]

FEATURES, BEATS = ("embed", "fact", "feet"), ("lee", "fact", "bailando", "none")


@dataclass(frozen=True)
class Card:
    """A protocol. Two cards are one only if every pin is the same.

    name: of the file. fps: dances are resampled to it. crop_s: only the first seconds of a dance count; None: all.
    features: "embed" (a motion classifier's, of windows), "fact" (kinetic and geometric, of whole dances), "feet"
    (foot contact alone). window_frames, hop_frames: of "embed", at ``fps``. normaliser: "reference" standardises both
    sides with the mean and standard deviation of the real dances, "none" leaves features as they are. beats: which
    score, and whose definition of a dance's beats. tolerance_s of "lee", sigma_s of the others. body: figures about
    bones and movement, too. beats_per_block: of repetition; None: not measured. halves, shifts, bootstrap: how many.
    """

    name: str
    fps: float
    features: Literal["embed", "fact", "feet"]
    beats: Literal["lee", "fact", "bailando", "none"]
    normaliser: Literal["none", "reference"]
    body: bool
    crop_s: float | None
    window_frames: int | None
    hop_frames: int | None
    tolerance_s: float | None
    sigma_s: float | None
    beats_per_block: int | None
    halves: int
    shifts: int
    bootstrap: int

    def __post_init__(self) -> None:
        for key, choices in (("features", FEATURES), ("beats", BEATS), ("normaliser", ("none", "reference"))):
            if getattr(self, key) not in choices:
                raise D2MError(f"card {self.name}: {key} is '{getattr(self, key)}'; choose from {', '.join(choices)}")
        needed = {"embed": ("window_frames", "hop_frames"), "lee": ("tolerance_s",)}
        needed |= {"fact": ("sigma_s",), "bailando": ("sigma_s",)} if self.beats != "lee" else {}
        wanted = [k for use in (self.features, self.beats) for k in needed.get(use, ())]
        for key in ("fps", "halves", "shifts", "bootstrap", *wanted):
            value = getattr(self, key)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise D2MError(f"card {self.name}: {key} is {value}; give a number above 0")

    @property
    def least_frames(self) -> int:
        """At the card's rate."""
        return self.window_frames or 8

    def windows(self, frames: int) -> int:
        """How many windows a dance of so many frames has."""
        assert self.window_frames and self.hop_frames
        return max(0, (frames - self.window_frames) // self.hop_frames + 1)


def card_names() -> list[str]:
    """The cards that come with d2m."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load_card(name: str | Path) -> Card:
    """A card by its name, or from a yaml file.

    Raises:
        D2MError: no such card, a file that is no card, an unknown or missing pin.
    """
    path = Path(name)
    if path.suffix != ".yaml":
        path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise D2MError(f"no card '{name}'; choose from {', '.join(card_names())}, or give a yaml file")
    try:
        pins: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise D2MError(f"{path}: not a readable card ({str(e).splitlines()[0]})") from e
    keys = [f.name for f in fields(Card)]
    if not isinstance(pins, dict) or set(pins) != set(keys):
        said = set(pins) if isinstance(pins, dict) else set()
        odd, missing = sorted(map(str, said - set(keys))), sorted(set(keys) - said)
        raise D2MError(
            f"{path}: not a card; unknown: {', '.join(odd) or 'none'}; missing: {', '.join(missing) or 'none'}"
        )
    return Card(**pins)


class Measured(dict[str, Figure]):
    """Figures by name, and the card they were measured with."""

    def __init__(self, card: Card, figures: dict[str, Figure]) -> None:
        super().__init__(figures)
        self.card = card


def measure(
    card: Card, dances: Sequence[DanceToSong], real: Sequence[DanceToSong], embed: Embed | None = None, seed: int = 0
) -> Measured:
    """A set of dances through a card.

    Args:
        dances: generated or other dances; several to one song are draws.
        real: the reference; several to one song are views. As ``dances`` it gives the row ``real``, which sits at the
            floors.
        embed: features of a dance's windows, as many and as far apart as the card says; None leaves out what needs it.
        seed: of halves, shifts, shuffles and bootstrap.

    Returns:
        name -> figure; the names depend on the card alone. What cannot be measured is nan with a note.

    Raises:
        D2MError: no dances, a dance that is too short, not finite or of another shape, a card whose needs are not met.
    """
    if not dances or not real:
        raise D2MError(f"card {card.name}: {len(dances)} dances against {len(real)} real ones; give some of both")
    if card.features == "feet":
        return Measured(card, _feet(card, dances))
    ours, theirs = (_prepared(card, which) for which in (dances, real))
    genres = [[mine[0].genre for mine in songs.values()] for songs in (ours, theirs)]
    draws = SongDraws(genres[0], genres[1], card.bootstrap, seed, paired=list(ours) == list(theirs))
    found: dict[str, Figure] = {}
    if card.features == "embed":
        found |= _embedded(card, ours, theirs, embed, draws, seed)
    else:
        found |= _fact(card, ours, theirs, draws, seed)
    if card.beats == "lee":
        assert card.tolerance_s
        found |= lee_beats(ours, card.tolerance_s, card.shifts, draws, seed)
    elif card.beats != "none":
        assert card.sigma_s
        found |= alignment(ours, card.beats, card.sigma_s, card.shifts, draws, seed)
    if card.beats_per_block:
        found["repetition"] = repetition(ours, card.beats_per_block, card.shifts, draws, seed)
    if card.body:
        found |= body_figures(ours, theirs, draws)
    return Measured(card, found)


def _prepared(card: Card, dances: Sequence[DanceToSong]) -> Songs:
    """Dances at the card's rate, cropped, by song."""
    for dance in dances:
        dance.check(2)
    ready = [d.at(card.fps, card.crop_s) for d in dances]
    for dance in ready:
        dance.check(card.least_frames)
    return by_song(ready)


def _rows(songs: Songs, of: Callable[[DanceToSong], Floats]) -> tuple[Rows, dict[str, list[Floats]]]:
    """Features of every song's dances in turn, and of every dance."""
    each = {name: [of(d) for d in mine] for name, mine in songs.items()}
    genres = [mine[0].genre for mine in songs.values()]
    # Where the first rows of a song are all that counts, they should not all be of the first camera.
    turned = [x[k % len(x) :] + x[: k % len(x)] for k, x in enumerate(each.values())]
    return Rows(list(songs), genres, [interleaved(x) for x in turned]), each


def _embedded(
    card: Card, ours: Songs, theirs: Songs, embed: Embed | None, draws: SongDraws, seed: int
) -> dict[str, Figure]:
    unit = "of the classifier's features"
    if embed is None:
        names: dict[str, Better] = {
            "fid": "lower",
            "fid_floor": "real",
            "kid": "lower",
            "diversity": "real",
            "multimodality": "higher",
        }
        return {k: unmeasured(unit, better, "no motion classifier was given") for k, better in names.items()}

    def of(dance: DanceToSong) -> Floats:
        features = np.asarray(embed(np.asarray(dance.poses, np.float64)), np.float64)
        expected = card.windows(len(dance.poses))
        if features.ndim != 2 or len(features) != expected or not np.isfinite(features).all():
            raise D2MError(
                f"{dance.song}: the motion classifier gave {features.shape} features of {len(dance.poses)} frames; "
                f"card {card.name} needs {expected} finite rows, {card.window_frames} frames every {card.hop_frames}"
            )
        return features

    (mine, each), (reference, _) = _rows(ours, of), _rows(theirs, of)
    if card.normaliser == "reference":
        mine, reference = mine.standardised(reference), reference.standardised(reference)
    return {
        **distance_figures(mine, reference, card.halves, card.bootstrap, seed, unit + ", squared"),
        "diversity": diversity_figure(mine, draws, seed, unit),
        "multimodality": multimodality_figure(each, unit),
    }


def _fact(card: Card, ours: Songs, theirs: Songs, draws: SongDraws, seed: int) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    kinds: dict[str, Callable[[Array, float], Floats]] = {"_k": kinetic_features, "_g": geometric_features}
    for suffix, features in kinds.items():

        def of(d: DanceToSong, features: Callable[[Array, float], Floats] = features) -> Floats:
            return features(d.poses, d.fps)[None]

        (mine, _), (reference, _) = _rows(ours, of), _rows(theirs, of)
        if card.normaliser == "reference":
            mine, reference = mine.standardised(reference), reference.standardised(reference)
        unit = "standard deviations of real" if card.normaliser == "reference" else ""
        found |= distance_figures(mine, reference, card.halves, card.bootstrap, seed, unit + ", squared", suffix)
        found[f"dist{suffix}"] = diversity_figure(mine, draws, seed, unit)
    return found


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
    return {"pfc": Figure(float(np.mean(scores)), len(scores), "(m/s)² / 10,000", "lower", note="dances")}


class Table:
    """Rows of one card: what was danced -> its figures. The first row fixes the card unless it is given.

    >>> table = Table(load_card("d2m"))
    >>> table.add("real", measure(table.card, real, real, embed))
    """

    def __init__(self, card: Card | None = None) -> None:
        self.card = card
        self.rows: dict[str, Measured] = {}

    def add(self, name: str, figures: Measured) -> None:
        """A row more.

        Raises:
            D2MError: figures of another card, or of this card with another pin; figures that do not say; a name twice.
        """
        if not isinstance(figures, Measured):
            raise D2MError(f"row '{name}': figures that do not say by which card; take what measure returns")
        card = self.card or figures.card
        if figures.card != card:
            pins = [f.name for f in fields(Card) if getattr(card, f.name) != getattr(figures.card, f.name)]
            raise D2MError(
                f"row '{name}' was measured with card {figures.card.name}, this table is of card {card.name} "
                f"(they differ in {', '.join(pins)}); such numbers do not compare: make a table for each card"
            )
        if name in self.rows:
            raise D2MError(f"row '{name}' is in the table already; name each row once")
        self.card = card
        self.rows[name] = figures
