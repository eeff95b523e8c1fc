"""Protocol cards, files that fix all settings of the metrics, and tables of a single card.

A card is ``conf/metric/NAME.yaml``; docs/metrics.md defines the figures. Numbers of two cards, or of one card with a
changed setting, are not comparable, and :class:`Table` refuses to combine them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from d2m.core.errors import D2MError
from d2m.metrics.figure import Figure

FOLDER = Path(__file__).parents[1] / "conf" / "metric"
FEATURES, BEATS = ("embed", "fact", "feet"), ("lee", "fact", "bailando", "none")


@dataclass(frozen=True)
class Card:
    """A protocol. Two cards are the same only if all settings are equal.

    name: of the file. fps: dances are resampled to it. crop_s: only the first seconds of a dance count; None: all.
    features: "embed" (a motion classifier's, of windows), "fact" (kinetic and geometric, of whole dances), "feet"
    (foot contact alone). window_frames, hop_frames: of "embed", at ``fps``. normaliser: "reference" standardises both
    sides with the mean and standard deviation of the real dances, "none" leaves features as they are. beats: the score,
    and the definition of a dance's beats. tolerance_s of "lee", sigma_s of the others. body: whether to include figures
    about bones and movement. beats_per_block: of repetition; None: not measured. halves, shifts, bootstrap: how many.
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
        """Minimum number of frames of a dance, at the card's rate."""
        return self.window_frames or 8

    def windows(self, frames: int) -> int:
        """Number of windows in a dance of this many frames."""
        assert self.window_frames and self.hop_frames
        return max(0, (frames - self.window_frames) // self.hop_frames + 1)


def card_names() -> list[str]:
    """The cards that come with d2m."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load_card(name: str | Path) -> Card:
    """A card by its name, or from a yaml file.

    Raises:
        D2MError: no such card, an invalid file, or an unknown or missing setting.
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


class Table:
    """Rows of one card: name of a system -> its figures. The first row determines the card unless it is given.

    >>> table = Table(load_card("d2m"))
    >>> table.add("real", measure(table.card, real, real, embed))  # d2m.metrics.measure
    """

    def __init__(self, card: Card | None = None) -> None:
        self.card = card
        self.rows: dict[str, Measured] = {}

    def add(self, name: str, figures: Measured) -> None:
        """Add a row.

        Raises:
            D2MError: figures of another card, of this card with other settings, or without a card; a duplicate name.
        """
        if not isinstance(figures, Measured):
            raise D2MError(f"row '{name}': figures that do not say by which card; take what measure returns")
        card = self.card or figures.card
        if figures.card != card:
            pins = [f.name for f in fields(Card) if getattr(card, f.name) != getattr(figures.card, f.name)]
            raise D2MError(
                f"row '{name}' was measured with card {figures.card.name}, this table is of card {card.name} "
                f"(they differ in {', '.join(pins)}); such numbers are not comparable: make a table for each card"
            )
        if name in self.rows:
            raise D2MError(f"row '{name}' is in the table already; name each row once")
        self.card = card
        self.rows[name] = figures
