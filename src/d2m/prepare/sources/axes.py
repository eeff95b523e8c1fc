"""Units of length and the up direction: their names, guessing them from a body, and rotating a body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LEFT_HIP, NECK, RIGHT_HIP

Floats = NDArray[np.float64]

#: Unit -> centimetres. cmu: the unit of the CMU database's files, 1 / 0.45 inch.
UNITS: dict[str, float] = {
    "m": 100.0, "dm": 10.0, "cmu": 2.54 / 0.45, "inch": 2.54, "cm": 1.0, "mm": 0.1, "foot": 30.48,
}  # fmt: skip
_SPELT = {
    "metre": "m", "meter": "m", "decimetre": "dm", "decimeter": "dm", "centimetre": "cm", "centimeter": "cm",
    "millimetre": "mm", "millimeter": "mm", "in": "inch", "inche": "inch", "ft": "foot", "feet": "foot",
}  # fmt: skip
#: Candidates when a unit is guessed; feet (legs of 2.7) are too rare to be included.
_GUESSED = ("m", "dm", "cmu", "inch", "cm", "mm")
LEG_CM = 83.0  # of an adult: greater trochanter to ankle joint, about 0.48 of the height
LEG_RANGE_CM = (50.0, 130.0)
#: Up direction in the file -> (the file's axes for our x, y, z; their signs): pure rotations, without mirroring.
UPS: dict[str, tuple[tuple[int, int, int], tuple[float, float, float]]] = {
    "y": ((0, 1, 2), (1.0, 1.0, 1.0)), "z": ((0, 2, 1), (1.0, 1.0, -1.0)), "x": ((1, 0, 2), (-1.0, 1.0, 1.0)),
    "-y": ((0, 1, 2), (1.0, -1.0, -1.0)), "-z": ((0, 2, 1), (1.0, -1.0, 1.0)), "-x": ((1, 0, 2), (1.0, -1.0, 1.0)),
}  # fmt: skip
_AXES = "xyz"
_ANKLES = (JOINTS.index("right_ankle"), JOINTS.index("left_ankle"))
_MOSTLY = 0.6


def leg_length(joints: Floats) -> float:
    """(t, 14, 3) -> length of thigh plus shin, mean of both sides, in the file's unit; NaN if never seen."""
    bones = [
        np.linalg.norm(joints[:, k] - joints[:, k + 1], axis=-1) for h in (LEFT_HIP, RIGHT_HIP) for k in (h, h + 1)
    ]
    known = [bone[np.isfinite(bone)] for bone in bones]
    thigh, shin, other_thigh, other_shin = (float(np.median(k)) if len(k) else float("nan") for k in known)
    return 0.5 * ((thigh + shin) + (other_thigh + other_shin))


def named_unit(name: str) -> str:
    """The name in :data:`UNITS` for spellings such as ``Meters`` and ``ft``; other names are returned unchanged."""
    plain = name.strip().lower()
    return plain if plain in UNITS else _SPELT.get(plain.removesuffix("s"), _SPELT.get(plain, name))


def guess_unit(leg: float) -> str | None:
    """The unit in which a leg's length is nearest to an adult's; None if it is human in no unit."""
    best = min(_GUESSED, key=lambda name: abs(np.log(max(leg, 1e-9) * UNITS[name] / LEG_CM)))
    return best if LEG_RANGE_CM[0] <= leg * UNITS[best] <= LEG_RANGE_CM[1] else None


def cm_per_unit(unit: str | float, leg: float, where: str) -> float:
    """Centimetres per unit, for a unit's name, a number, or "auto": then guessed from a leg's length in that unit.

    Raises:
        D2MError: an invalid unit, or a leg that is human in no unit.
    """
    if unit == "auto":
        guessed = guess_unit(leg)
        if guessed is None:
            raise D2MError(
                f"{where}: legs of {leg:.3g} units fit a human in no known unit; set the centimetres of one unit, "
                f"unit={LEG_CM / max(leg, 1e-9):.4g} for an adult"
            )
        return UNITS[guessed]
    scale = UNITS.get(unit, float("nan")) if isinstance(unit, str) else float(unit)
    if not np.isfinite(scale) or scale <= 0:
        raise D2MError(
            f"{where}: unit={unit}: choose {', '.join(UNITS)}, auto, or give the centimetres per unit, above 0"
        )
    return scale


def uprightness(joints: Floats) -> dict[str, float]:
    """(t, 14, c) -> for every direction the mean cosine between it and the body from the ankles to the neck."""
    body = joints[:, NECK] - 0.5 * (joints[:, _ANKLES[0]] + joints[:, _ANKLES[1]])
    with np.errstate(invalid="ignore"):
        body = body / np.linalg.norm(body, axis=-1, keepdims=True)
    body = body[np.isfinite(body).all(axis=-1)]
    mean = body.mean(axis=0) if len(body) else np.zeros(joints.shape[-1])
    names = _AXES[: joints.shape[-1]]
    return {sign + a: float(m if not sign else -m) for a, m in zip(names, mean, strict=True) for sign in ("", "-")}


def guess_up(joints: Floats) -> str:
    """The direction in which a body stands; if it stands in none of them, the nearer one of y and z."""
    along = uprightness(joints)
    best = max(along, key=lambda d: along[d])
    if along[best] > _MOSTLY:
        return best
    return "z" if abs(along.get("z", 0.0)) > abs(along["y"]) else "y"


def turn_up(joints: Floats, up: str) -> Floats:
    """(t, j, 3) -> (t, j, 3), rotated so that y is up."""
    if up == "y":
        return joints
    axes, signs = UPS[up]
    return np.asarray(joints[..., list(axes)] * np.array(signs), np.float64)


def turn_picture(points: Floats, up: str) -> Floats:
    """(t, j, 2) -> y down, as in pixels: "-y" is unchanged, "y" is flipped, "x" and "-x" are a film on its side."""
    x, y = points[..., 0], points[..., 1]
    turned = {"-y": (x, y), "y": (x, -y), "x": (y, -x), "-x": (-y, x)}[up]
    return np.stack(turned, axis=-1)
