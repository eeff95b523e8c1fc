"""Options that state what files do not: unit, up axis, frame rate, point order, picture size, sides, audio offset.

Everything is None by default: the format's own convention then applies (docs/data.md), and
:mod:`d2m.prepare.plausible` checks whether it can be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS
from d2m.prepare.sources.axes import UNITS, UPS, cm_per_unit, guess_up, leg_length, turn_picture, turn_up
from d2m.prepare.sources.clip import PoseClip
from d2m.prepare.sources.orders import ORDERS

_SWAPPED = [
    JOINTS.index(j.replace("right_", "?").replace("left_", "right_").replace("?", "left_"))
    for j in JOINTS
]  # fmt: skip
#: Up direction of pictures whose y points down, as in pixels.
_PIXELS = "-y"


@dataclass(frozen=True)
class Stated:
    """Stated by the user, for all recordings of a preparation or for one.

    unit: of 3-D poses, one of :data:`d2m.prepare.sources.axes.UNITS`, the centimetres of one unit, or "auto" (by each
        recording's legs).
    up: the direction in the file that is up, "y", "-y", "z", "-z", "x", "-x", or "auto" (by each recording's body).
        For 2-D poses, whose y usually points down, it is "-y".
    fps: frames per second; overrides the file's and the format's.
    order: of the points, one of :data:`d2m.prepare.sources.orders.ORDERS`.
    picture: its (width, height) in pixels, for 2-D coordinates that are shares of it.
    mirror: undo mirroring. In 2-D, x is flipped and left and right are exchanged, because a detector names the sides
        that it sees in the mirrored film; in 3-D only x is flipped, as for a left-handed file. False: it is not
        mirrored, which is then not checked.
    swap_sides: exchange the names left and right.
    names: our joint -> the rig's, for BVH.
    audio_offset: time of the poses, in seconds, at which the audio file begins, as in FFmpeg's -itsoffset; negative if
        the audio began first.
    """

    unit: str | float | None = None
    up: str | None = None
    fps: float | None = None
    order: str | None = None
    picture: tuple[float, float] | None = None
    mirror: bool | None = None
    swap_sides: bool | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    audio_offset: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.unit, str) and self.unit not in (*UNITS, "auto"):
            raise D2MError(f"unit={self.unit}: choose {', '.join(UNITS)}, auto, or give the centimetres per unit")
        if not (self.unit is None or isinstance(self.unit, str) or _number(self.unit, 1e-6, 1e6)):
            raise D2MError(f"unit={self.unit}: give the centimetres per unit, above 0")
        if self.up is not None and self.up not in (*UPS, "auto"):
            raise D2MError(f"up={self.up}: give {', '.join(UPS)} or auto")
        if self.fps is not None and not _number(self.fps, 1, 1000):
            raise D2MError(f"fps={self.fps}: give the frames per second, 1 to 1000")
        if self.order is not None and self.order not in ORDERS:
            raise D2MError(f"order={self.order}: give one of {', '.join(ORDERS)}")
        if self.picture is not None:
            size = list(self.picture) if isinstance(self.picture, list | tuple) else []
            if len(size) != 2 or not all(_number(n, 1e-6, 1e6) for n in size):
                raise D2MError(f"picture={self.picture}: give its width and height in pixels, picture=[1280,720]")
            object.__setattr__(self, "picture", (float(size[0]), float(size[1])))
        for key in ("mirror", "swap_sides"):
            if not isinstance(getattr(self, key), bool | None):
                raise D2MError(f"{key}={getattr(self, key)}: give true or false")
        if self.audio_offset is not None and not _number(self.audio_offset, -1e5, 1e5):
            raise D2MError(f"audio_offset={self.audio_offset}: give the second of the poses at which the sound begins")
        if not isinstance(self.names, Mapping):
            raise D2MError(f"names={self.names}: map our joints to the rig's, as in names={{left_wrist:Hand_L}}")
        if strangers := [str(k) for k in self.names if k not in JOINTS]:
            raise D2MError(f"names: '{strangers[0]}' is not one of our joints; choose from {', '.join(JOINTS)}")

    def plain(self) -> dict[str, Any]:
        """The stated options, as JSON; {} if there are none."""
        kept = {k: v for k, v in asdict(self).items() if v is not None and v != {}}
        if self.mirror:  # marks the exchange of 2-D sides: older corpora are prepared again
            kept["mirror"] = "x and sides"
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}


STATED = tuple(f.name for f in fields(Stated))


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def read_stated(given: Mapping[str, Any] | None) -> Stated:
    """Options by name -> Stated. Raises: D2MError: an unknown option, or an invalid value."""
    given = given or {}
    if strangers := sorted(set(given) - set(STATED)):
        raise D2MError(f"no such statement about poses: '{strangers[0]}'; choose from {', '.join(STATED)}")
    return Stated(**{k: v for k, v in given.items() if v is not None})


def parse_stated(row: Mapping[str, str]) -> dict[str, Any]:
    """Cells of a manifest by option -> values of :class:`Stated`: numbers, ``1280x720``, true and false."""
    return {key: _cell(key, text) for key, text in row.items()}


def _cell(key: str, text: str) -> Any:
    if key in ("mirror", "swap_sides"):
        return {"true": True, "false": False}.get(text.lower(), text)
    if key == "picture":
        return [_plain_number(n) for n in text.strip("[]").replace("x", ",").split(",")]
    return _plain_number(text) if key in ("unit", "fps", "audio_offset") else text


def _plain_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def bring(clip: PoseClip, stated: Stated, where: str) -> PoseClip:
    """Convert a clip as read to centimetres and y up (3-D), or pixels and y down (2-D), by the stated options.

    Raises:
        D2MError: an option does not apply to these poses.
    """
    flat = clip.joints.shape[-1] == 2
    if flat and stated.unit not in (None, "auto"):
        raise D2MError(f"{where}: 2-D poses are in pixels; omit unit={stated.unit}")
    if not flat and stated.picture is not None:
        raise D2MError(f"{where}: 3-D poses have no picture; omit picture=")
    x = np.asarray(clip.joints, np.float64)
    sure = clip.confidence
    if flat:
        up = guess_up(x) if stated.up == "auto" else stated.up or _PIXELS
        if "z" in up:
            raise D2MError(f"{where}: 2-D poses have no z; set up=y, up=x or up=-x, or omit up=")
        x = turn_picture(x * np.array(stated.picture or (1.0, 1.0)), up)
    else:
        x = x * cm_per_unit(stated.unit or "cm", leg_length(x), where)
        x = turn_up(x, guess_up(x) if stated.up == "auto" else stated.up or "y")
    if stated.mirror:
        x = x * np.array([-1.0, 1.0, 1.0][: x.shape[-1]])
    if bool(stated.swap_sides) != bool(flat and stated.mirror):
        x, sure = x[:, _SWAPPED], sure[:, _SWAPPED]
    return replace(clip, joints=x.astype(np.float32), confidence=sure)
