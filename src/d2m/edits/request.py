"""Builds edits from requests (edit=..., source, target, strength or schedule, file, latents)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np

from d2m.core.errors import D2MError
from d2m.dance.encoding import space_of
from d2m.dance.generator import DanceGenerator
from d2m.dance.table import LatentTable
from d2m.edits.directions import EDITS, load_direction, make_edit
from d2m.edits.edit import LatentEdit
from d2m.edits.strength import Schedule

ROWS = ("train", "all")


def training_songs(table: LatentTable, rows: str = "train") -> LatentTable:
    """The rows that an edit is fitted on, one per song: the training rows of a table, or all with ``rows="all"``.

    Raises:
        D2MError: an invalid ``rows``.
    """
    if rows not in ROWS:
        raise D2MError(f"rows={rows}: choose train (all rows if there are no splits) or all")
    return (table.training_rows() if rows == "train" else table).by_song()


@dataclass(frozen=True)
class EditRequest:
    """A request for an edit.

    name: "none", a key of :data:`d2m.edits.directions.EDITS`. source, target: genres. strength: of the whole dance.
    schedule: [[seconds, strength], ...] instead. file: a fitted direction. latents: an extraction to fit the edit
    on. rows: which of its rows, "train" or "all". options: the edit's other parameters; null means the default.
    """

    name: str = "none"
    source: str | None = None
    target: str | None = None
    strength: float = 1.0
    schedule: Any = None
    file: str | None = None
    latents: str | None = None
    rows: str = "train"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a mapping of these keys and of the edit's parameters; missing keys take their defaults.

        Raises:
            D2MError: a strength that is not a finite number.
        """
        given = {str(k): config[k] for k in config if config[k] is not None}
        own = {f.name for f in fields(cls)} - {"options"}
        options = {k: given.pop(k) for k in list(given) if k not in own}
        for key in ("name", "source", "target", "file", "latents", "rows"):
            given |= {key: str(given[key])} if key in given else {}
        if "strength" in given:
            value = given["strength"]
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise D2MError(f"edit.strength={value}: give a finite number; 0 is no edit, 1 the whole edit")
            given["strength"] = float(value)
        return cls(**given, options=options)

    def amount(self) -> float | Schedule:
        """The strength, or its schedule.

        Raises:
            D2MError: an invalid schedule, or both.
        """
        if self.schedule is None:
            return self.strength
        if self.strength != EditRequest.strength:
            raise D2MError("edit.strength and edit.schedule: give one; a schedule is the strength along the song")
        try:
            return Schedule.parse(self.schedule)
        except D2MError as e:
            raise D2MError(f"edit.{e}") from None

    def without_edit(self) -> None:
        """Raise D2MError if edit options are given without an edit."""
        default = EditRequest()
        extra = [
            f.name for f in fields(self) if f.name != "options" and getattr(self, f.name) != getattr(default, f.name)
        ]
        for key in (*extra, *self.options):
            raise D2MError(f"edit.{key} needs an edit; add edit={'|'.join(EDITS)} or edit.file=DIR")


def check_space(space: str, width: int | None, generator: DanceGenerator, source: str) -> None:
    """Check that latents belong to this bundle, as they are meaningless in another.

    Raises:
        D2MError: they come from another bundle, or have another width.
    """
    if width != generator.net.sizes.z_dan:
        raise D2MError(f"{source}: latents of width {width}, this bundle's have {generator.net.sizes.z_dan}")
    if space and space != space_of(generator):
        raise D2MError(f"{source}: fitted in the latent space of another bundle; fit it again with this one")


def build_edit(request: EditRequest, generator: DanceGenerator) -> LatentEdit | None:
    """The requested edit, fitted; None for "none" without a file.

    Raises:
        D2MError: an unknown or missing edit, genre or option; a file that is broken or belongs to another bundle.
    """
    if request.file is not None:
        return _from_file(request, generator)
    if request.name == "none":
        request.without_edit()
        return None
    if request.name not in EDITS:
        raise D2MError(f"edit={request.name}: no such edit; choose none, {', '.join(EDITS)}, or give edit.file=DIR")
    for key in EDITS[request.name].needs:
        if getattr(request, key) is None:
            known = ", ".join(sorted(generator.genre_means)) or "none: this bundle has no genre means"
            raise D2MError(f"edit={request.name} needs edit.{key}=GENRE; genres are {known}")
    try:
        edit = make_edit(request.name, request.source, request.target, **request.options)
        if request.latents is not None:
            table = LatentTable.load(request.latents)
            check_space(table.meta.get("space", ""), table.mu.shape[1], generator, f"edit.latents={request.latents}")
            edit.fit_on_songs(training_songs(table, request.rows))
            edit.origin = {"latents": request.latents, "rows": request.rows}
        elif request.rows != "train":
            raise D2MError(f"rows={request.rows}: selects rows of edit.latents=FILE; give that too, or omit edit.rows=")
        return edit.fitted(generator)
    except D2MError as e:
        of_a_key = re.split("[=.]", str(e))[0] in ("rows", *EDITS[request.name].parameters())
        raise D2MError(f"edit.{e}" if of_a_key else str(e)) from e


def _from_file(request: EditRequest, generator: DanceGenerator) -> LatentEdit:
    edit, index = load_direction(request.file or "")
    what = f"edit.file={request.file}"
    check_space(index["space"], edit.width, generator, what)
    if request.name not in ("none", edit.name):
        raise D2MError(f"{what}: holds {edit.name}, not {request.name}; omit edit=")
    if request.latents is not None or request.rows != "train":
        raise D2MError(f"{what}: already fitted; omit edit.latents= and edit.rows=")
    for key, asked in {"source": request.source, "target": request.target, **request.options}.items():
        held = edit.params.get(key)
        if asked is not None and asked != held:
            raise D2MError(f"{what}: its {key} is {held}, not {asked}; omit edit.{key}=")
    edit.origin = {"file": request.file}
    return edit
