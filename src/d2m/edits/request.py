"""From a request (edit=..., source, target, strength or schedule, file, latents) to an edit that dances take.

A new kind of edit is one entry of :data:`BUILDERS`: a function of the request and the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from d2m.core.errors import D2MError
from d2m.dance.extraction import space_of
from d2m.dance.generator import DanceGenerator
from d2m.dance.song_dance import Edit, NoiseEdit
from d2m.dance.table import LatentTable
from d2m.edits.direction import Direction
from d2m.edits.directions import fit_on_songs, load_direction, make_direction
from d2m.edits.mean_shift import MeanShift
from d2m.edits.optimise import WEIGHTS, GaussianPrior
from d2m.edits.optimised_dance import OptimisedEdit, Settings
from d2m.edits.strength import Schedule


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _weights(given: Any) -> dict[str, float]:
    """All weights of the optimiser.

    Raises:
        D2MError: an unknown term, or a weight that is no number of at least 0.
    """
    if not isinstance(given, Mapping) or not given.keys() <= WEIGHTS.keys():
        raise D2MError(f"edit.weights={given}: give numbers for some of {', '.join(WEIGHTS)}")
    for name, value in given.items():
        if not _is_number(value) or value < 0:
            raise D2MError(f"edit.weights.{name}={value}: give a number of at least 0")
    return {**WEIGHTS, **{str(k): float(v) for k, v in given.items()}}


@dataclass(frozen=True)
class EditRequest:
    """What a user asks for.

    name: "none", a key of :data:`BUILDERS`. source, target: genres. strength: of the whole dance. schedule:
    [[seconds, strength], ...] instead. file: a direction fitted before. latents: an extraction to fit one on.
    steps, rate, weights: of the optimiser; weights are merged over :data:`d2m.edits.optimise.WEIGHTS`.
    """

    name: str = "none"
    source: str | None = None
    target: str | None = None
    strength: float = 1.0
    schedule: Any = None
    file: str | None = None
    latents: str | None = None
    steps: int = 100
    rate: float = 0.05
    weights: Mapping[str, float] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a mapping of these keys; missing ones take their defaults.

        Raises:
            D2MError: a strength, or a setting of the optimiser, that is not a number in its range.
        """
        given = {f.name: config[f.name] for f in fields(cls) if config.get(f.name) is not None}
        for key in ("name", "source", "target", "file", "latents"):
            given |= {key: str(given[key])} if key in given else {}
        if "strength" in given:
            value = given["strength"]
            if not _is_number(value):
                raise D2MError(f"edit.strength={value}: give a finite number, 0 for no edit and 1 for the whole")
            given["strength"] = float(value)
        steps, rate = given.get("steps", 1), given.get("rate", 1.0)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise D2MError(f"edit.steps={steps}: give a whole number of at least 0")
        if not _is_number(rate) or rate <= 0:
            raise D2MError(f"edit.rate={rate}: give a number above 0")
        if "weights" in given:
            given["weights"] = _weights(given["weights"])
        return cls(**given)

    def amount(self) -> float | Schedule:
        """The strength, or its schedule.

        Raises:
            D2MError: a schedule that is none.
        """
        if self.schedule is None:
            return self.strength
        try:
            return Schedule.parse(self.schedule)
        except D2MError as e:
            raise D2MError(f"edit.{e}") from None

    def needs(self, generator: DanceGenerator, *keys: str) -> None:
        """Raises D2MError where one of these genres is not given, or both are the same."""
        for key in keys:
            if getattr(self, key) is None:
                known = ", ".join(sorted(generator.genre_means)) or "none: this bundle has no genre means"
                raise D2MError(f"edit={self.name} needs edit.{key}=GENRE; genres are {known}")
        if len(keys) == 2 and self.source == self.target:
            raise D2MError(f"edit.source and edit.target are both '{self.source}'; give two genres")


def _mean_shift(request: EditRequest, generator: DanceGenerator) -> Direction:
    """On the bundle's own genre means; on an extraction's where one is given."""
    request.needs(generator, "source", "target")
    if request.latents is not None:
        return _fitted(replace(request, name="mean_shift"), generator)
    return MeanShift(str(request.source), str(request.target)).from_means(generator.genre_means)


def _fitted(request: EditRequest, generator: DanceGenerator) -> Direction:
    """On the songs of an extraction: a bundle's means are too little for these."""
    request.needs(generator, *(("target",) if request.name == "erasure" else ("source", "target")))
    if request.latents is None:
        raise D2MError(
            f"edit={request.name} is fitted on the latents of songs: give edit.latents=FILE "
            f"(d2m study extract) or edit.file=DIR (d2m study fit)"
        )
    table = LatentTable.load(request.latents).by_song()
    check_space(table.meta.get("space", ""), table.mu.shape[1], generator, f"edit.latents={request.latents}")
    return fit_on_songs(make_direction(request.name, request.source, request.target), table)


def _optimise(request: EditRequest, generator: DanceGenerator) -> OptimisedEdit:
    """Mean shift, then the optimiser; the prior is the target genre's latents where an extraction is given."""
    generator.motion_classifier()
    start = _mean_shift(request, generator)
    assert isinstance(start, MeanShift)
    if start.target not in generator.genres:
        raise D2MError(
            f"edit.target={start.target}: the motion classifier knows {', '.join(generator.genres)}; choose one"
        )
    prior = None
    if request.latents is not None:
        table = LatentTable.load(request.latents).by_song()
        table = table.select(table.genre == start.target)
        draws = table.draws.reshape(-1, table.mu.shape[1])
        try:
            prior = GaussianPrior.fit(draws if len(draws) > 1 else table.mu)
        except ValueError as e:
            raise D2MError(f"edit.latents={request.latents}: {e}; extract more songs of {start.target}") from e
    settings = Settings(request.weights or dict(WEIGHTS), request.steps, request.rate, prior)
    return OptimisedEdit(generator, start, settings)


#: Name of an edit -> what builds it. "none" is no edit.
BUILDERS: dict[str, Callable[[EditRequest, DanceGenerator], Edit | NoiseEdit]] = {
    "mean_shift": _mean_shift,
    "boundary": _fitted,
    "erasure": _fitted,
    "transport": _fitted,
    "optimise": _optimise,
}


def check_space(space: str, width: int, generator: DanceGenerator, source: str) -> None:
    """Latents of one bundle mean nothing in another.

    Raises:
        D2MError: they are of another bundle, or of another width.
    """
    if width != generator.net.sizes.z_dan:
        raise D2MError(f"{source}: latents of width {width}, this bundle's have {generator.net.sizes.z_dan}")
    if space and space != space_of(generator):
        raise D2MError(f"{source}: fitted in the latent space of another bundle; fit it again with this one")


def build_edit(request: EditRequest, generator: DanceGenerator) -> Edit | NoiseEdit | None:
    """The edit that is asked for; None for "none" without a file.

    Raises:
        D2MError: an unknown edit or genre, one that is not given, a file that is broken or of another bundle.
    """
    if request.file is not None:
        edit, index = load_direction(request.file)
        check_space(index["space"], edit.width, generator, f"edit.file={request.file}")
        if request.name not in ("none", edit.name):
            raise D2MError(f"edit.file={request.file}: holds {edit.name}, not {request.name}; leave edit= away")
        for key in ("source", "target"):
            asked, held = getattr(request, key), getattr(edit, key, None)
            if asked is not None and asked != held:
                raise D2MError(f"edit.file={request.file}: its {key} is {held}, not {asked}; leave edit.{key}= away")
        return edit
    if request.name == "none":
        for key in ("source", "target", "schedule", "latents"):
            if getattr(request, key) is not None:
                raise D2MError(f"edit.{key} is given without an edit; add edit={'|'.join(BUILDERS)} or edit.file=DIR")
        return None
    if request.name not in BUILDERS:
        raise D2MError(f"edit={request.name}: unknown; choose none, {', '.join(BUILDERS)}, or give edit.file=DIR")
    return BUILDERS[request.name](request, generator)


def describe(edit: Edit | NoiseEdit, request: EditRequest) -> dict[str, Any]:
    """What was done, for a dance's json."""
    return {
        "name": getattr(edit, "name", request.name),
        "source": getattr(edit, "source", None),
        "target": getattr(edit, "target", None),
        "strength": request.strength if request.schedule is None else None,
        "schedule": None if request.schedule is None else [list(map(float, row)) for row in request.schedule],
        "file": request.file,
    }
