"""The studio's state as plain JSON: exactly what the dance on the screen depends on.

``d2m infer state=FILE`` generates the dance of a state file (:func:`d2m.studio.dances.dance_of`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.core.seeds import check_seed
from d2m.dance.generator import DanceGenerator
from d2m.edits.combined import Combined, Strengths
from d2m.edits.directions import EDITS
from d2m.edits.edit import LatentEdit
from d2m.edits.request import EditRequest, build_edit
from d2m.edits.strength import Schedule
from d2m.nets.music_style import check_style_mode

FORMAT = 1
#: Maximum numbers of edits, of a curve's breakpoints and of draws, ample for states made by hand.
MAX_EDITS, MAX_POINTS, MAX_DRAWS = 16, 2000, 10_000


@dataclass(frozen=True)
class StateEdit:
    """One edit and its strength.

    request: keys of :class:`d2m.edits.request.EditRequest` and of the edit's own, without strength and schedule.
    strength: one number for the whole song, or a curve [[seconds, strength], ...].
    """

    request: Mapping[str, Any]
    strength: float | tuple[tuple[float, float], ...] = 1.0

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        """From ``{"name": ..., "source": ..., "strength": ...}``.

        Raises:
            D2MError: an unknown edit, or a strength that is neither a number nor a curve.
        """
        if not isinstance(value, Mapping):
            raise D2MError(f"{where}: give an object with a name and a strength")
        request = {str(k): v for k, v in value.items() if k != "strength" and v is not None}
        strength = value.get("strength", 1.0)
        if "schedule" in request:
            raise D2MError(f"{where}.schedule: give strength=[[seconds, strength], ...] instead")
        if request.get("name", "none") not in (("none", *EDITS) if "file" in request else EDITS):
            raise D2MError(f"{where}.name={request.get('name')}: choose {', '.join(EDITS)}, or give a direction's file")
        for key in ("source", "target", "file", "latents"):
            if not isinstance(request.get(key, ""), str):
                raise D2MError(f"{where}.{key}={request[key]}: expected text")
        if isinstance(strength, list | tuple):
            curve = Schedule.parse(strength).table()
            if not 0 < len(curve) <= MAX_POINTS:
                raise D2MError(f"{where}.strength: {len(curve)} breakpoints; give 1 to {MAX_POINTS}")
            return cls(request, tuple((t, s) for t, s in curve))
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not math.isfinite(strength):
            raise D2MError(f"{where}.strength={strength}: give a finite number or [[seconds, strength], ...]")
        return cls(request, float(strength))

    def plain(self) -> dict[str, Any]:
        """Plain JSON that :meth:`parse` reads."""
        amount = self.strength if isinstance(self.strength, float) else [list(p) for p in self.strength]
        return {**self.request, "strength": amount}

    def amount(self) -> float | Schedule:
        """The strength, or the curve as a :class:`Schedule`."""
        return self.strength if isinstance(self.strength, float) else Schedule.parse(self.strength)


@dataclass(frozen=True)
class State:
    """See the module.

    bundle, song: paths. seed, warp, style_mode: as of ``d2m infer``. draws: of every segment, the number of its draw;
    None, and segments beyond the list, as the bundle's motion threshold decides. edits: their sum is the target
    (:class:`d2m.edits.combined.Combined`).
    """

    bundle: str
    song: str
    seed: int = 0
    warp: bool = True
    style_mode: str | None = None
    draws: tuple[int, ...] | None = None
    edits: tuple[StateEdit, ...] = field(default=())

    @classmethod
    def parse(cls, value: Any, where: str = "state") -> Self:
        """From plain JSON.

        Raises:
            D2MError: one line that names the key and the expected value.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise D2MError(f"{where}: not a state of this version of d2m studio (format {FORMAT}); save it again")
        known = {"format", "bundle", "song", "seed", "warp", "style_mode", "draws", "edits"}
        for key in value:
            if key not in known:
                raise D2MError(f"{where}: unknown key '{key}'; a state has {', '.join(sorted(known))}")
        for key in ("bundle", "song"):
            if not isinstance(value.get(key), str) or not value[key] or "\0" in value[key]:
                raise D2MError(f"{where}.{key}: give a path")
        seed, warp, mode = value.get("seed", 0), value.get("warp", True), value.get("style_mode")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise D2MError(f"{where}.seed={seed}: expected a whole number")
        check_seed(seed, -(2**63), 2**63 - 1)  # torch's
        if not isinstance(warp, bool):
            raise D2MError(f"{where}.warp={warp}: expected true or false")
        draws, edits = value.get("draws"), value.get("edits", [])
        whole = isinstance(draws, list) and all(isinstance(d, int) and not isinstance(d, bool) for d in draws)
        if draws is not None and not (whole and len(draws) <= MAX_DRAWS and min(draws, default=0) >= 0):
            raise D2MError(f"{where}.draws: expected a list of numbers of draws, 0 and up, or null")
        if not isinstance(edits, list) or len(edits) > MAX_EDITS:
            raise D2MError(f"{where}.edits: expected a list of at most {MAX_EDITS}")
        return cls(
            value["bundle"], value["song"], seed, warp, None if mode is None else check_style_mode(mode),
            None if draws is None else tuple(draws),
            tuple(StateEdit.parse(e, f"{where}.edits[{i}]") for i, e in enumerate(edits)),
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """Plain JSON that :meth:`parse` reads."""
        return {
            "format": FORMAT, "bundle": self.bundle, "song": self.song, "seed": self.seed, "warp": self.warp,
            "style_mode": self.style_mode, "draws": None if self.draws is None else list(self.draws),
            "edits": [e.plain() for e in self.edits],
        }  # fmt: skip

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A state file.

        Raises:
            D2MError: missing, not JSON, or see :meth:`parse`.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as e:
            raise D2MError(f"state={path}: not readable as JSON; give a file that d2m studio saved") from e
        return cls.parse(value, f"state={path}")

    def write(self, path: Path) -> None:
        """Write the state to a file atomically.

        Raises:
            D2MError: it cannot be written.
        """
        write_json(path, self.plain())

    def edit(self, generator: DanceGenerator) -> tuple[LatentEdit | Combined | None, float | Schedule | Strengths]:
        """The state's edit and its strength: none, a single edit as in ``d2m infer``, or a sum of edits.

        Raises:
            D2MError: see :func:`d2m.edits.request.build_edit`.
        """
        built = [(build_edit(EditRequest.of(e.request), generator), e.amount()) for e in self.edits]
        parts = [(edit, amount) for edit, amount in built if edit is not None]
        if len(parts) < 2:
            return parts[0] if parts else (None, 1.0)
        return Combined([edit for edit, _ in parts]), Strengths([amount for _, amount in parts])
