"""Checks that a recording shows a plausible upright human, given its stated or default unit, order, axes and rate.

The check is the same for all sources and runs right after reading. What cannot be a human is refused in one line that
names the option to fix it. The thresholds are explained in docs/adr/0059; docs/data.md lists what cannot be detected.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m.core.errors import D2MError
from d2m.core.skeleton import JOINTS, LEFT_HIP, NECK, RIGHT_HIP
from d2m.motion.kinematics import hip_midpoint, torso_length
from d2m.prepare.rates import look_at_rate
from d2m.prepare.sources import SOURCES, PoseClip
from d2m.prepare.sources.axes import LEG_CM, UNITS, guess_unit, leg_length, uprightness
from d2m.prepare.sources.crossed import find_crossed, find_slow_wrist
from d2m.prepare.sources.orders import is_body
from d2m.prepare.sources.swapped import find_swapped
from d2m.prepare.stated import Stated, bring

Floats = NDArray[np.float64]

#: Range of leg lengths in cm, hip to ankle: from a child of four to a very tall adult; a wider one if the unit is
#: stated.
_LEGS_CM, _ANY_LEGS_CM = (45.0, 130.0), (15.0, 250.0)
#: No 3-D body is thinner than this share of its torso along the file's third axis.
_DEPTH = 0.05
#: Smallest torso in a picture, pixels.
_TORSO_PX = 3.0
#: No torso spans this many pictures. "Pictures" below the second size are factors, for coordinates in hundredths etc.
_PICTURES, _SMALLEST_PX = 3.0, 100.0
#: Cosine of the ankles-to-neck direction and up: below the first the body does not stand; above the second, for another
#: direction, it stands in that one.
_LIES, _STANDS = 0.35, 0.75
#: A knee is bent if it is this share of the leg off the line from hip to ankle.
_BENT = 0.04
_BACKWARDS, _SOMETIMES_BENT = 0.9, 0.2
#: Largest coordinates below these are shares or percentages of a picture's sides.
_SHARE, _PERCENT = 1.3, 100.0
#: A crop: in this share of the frames the body is as wide or tall as in the others, up to the first number, and this
#: many joints reach its edges.
_CROPPED, _MOSTLY_CROPPED, _REACHED = 1e-3, 0.8, 3
_FEWEST_FRAMES, _ENOUGH_FRAMES = 8, 600
_MIN_CONFIDENCE = 0.1
#: How joints are named, of the sources that name them.
_LEAVE, _REWRITE = "leave the recording out", "leave it out, or write an npz with joint_names"
_FLAT = "save poses of pictures as joints (frames, 14, 2) and confidence (frames, 14)"
_NAMES = {"npz": "correct its joint_names", "bvh": "name the joints, names={left_wrist:JOINT,...}"}
#: Option -> the sources that read it, for options that not all read.
_READ_BY = {
    "order": ("npz", "openpose", "coco17"), "names": ("bvh",),
    "fps": ("npz", "openpose", "coco17", "aistpp", "bvh"),
}  # fmt: skip


def reads(source: str, option: str) -> bool:
    """Whether a source reads an option."""
    return source in _READ_BY.get(option, (source,))


def check_stated(source: str, stated: Stated) -> None:
    """Refuse options that a source does not read. Raises: D2MError."""
    for option in stated.plain():
        if not reads(source, option):
            raise D2MError(f"source={source} does not take {option}=; {', '.join(_READ_BY[option])} do")


def read_pose(source: str, path: Path, stated: Stated) -> PoseClip:
    """Read a recording with the stated options, and check it.

    Raises:
        D2MError: as the readers, and as :func:`look`.
    """
    given: dict[str, Any] = {k: v for k in _READ_BY if (v := getattr(stated, k)) and source in _READ_BY[k]}
    rest = stated
    if source == "npz":
        given["unit"] = stated.unit
    if source == "bvh":  # the reader determines both: a BVH file states neither
        given |= {"unit": stated.unit or "auto", "up": stated.up or "auto"}
        rest = replace(stated, unit=None, up=None)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 count as unseen
        clip = bring(SOURCES[source](path, **given), rest, str(path))
    look(clip, stated, str(path), source)
    return clip


def look(clip: PoseClip, stated: Stated, where: str, source: str = "npz") -> None:
    """Refuse anything but an upright human: an impossible unit, orientation, joint order, handedness or frame rate.

    Recordings with too few frames to tell, or with bodies of zero size, pass here and are refused by cleaning.

    Raises:
        D2MError: one line that names the option that fixes it.
    """
    x = np.array(clip.joints, np.float64)
    x[clip.confidence < _MIN_CONFIDENCE] = np.nan
    seen = np.isfinite(x[:, [NECK, RIGHT_HIP, LEFT_HIP]]).all(axis=(1, 2))
    if seen.sum() < _FEWEST_FRAMES or not torso_length(x) > 0:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # joints that are never seen
        some = x[:: max(1, len(x) // _ENOUGH_FRAMES)]
        if x.shape[-1] == 3:
            if source == "npz":
                _look_at_depth(some, where)
            _look_at_unit(some, stated, where, clip.cm_per_unit)
        else:
            _look_at_pixels(some, stated, where)
            _look_at_crop(some, where)
        _look_at_limbs(some, x, clip.seconds, stated, where, source)
        _look_at_up(some, stated, where)
        if x.shape[-1] == 3:
            _look_at_sides(some, stated, where)
        look_at_rate(x, clip.fps, where, reads(source, "fps"), stated.fps is not None)


def _look_at_depth(x: Floats, where: str) -> None:
    depth = np.nanmedian(np.nanmax(x[..., 2], axis=1) - np.nanmin(x[..., 2], axis=1))
    if depth < _DEPTH * torso_length(x):
        raise D2MError(f"{where}: a body without depth, its third numbers are not coordinates; {_FLAT}")


def _look_at_unit(x: Floats, stated: Stated, where: str, applied: float) -> None:
    leg = leg_length(x)
    low, high = _LEGS_CM if stated.unit is None else _ANY_LEGS_CM
    if not np.isfinite(leg) or low <= leg <= high:
        return
    if stated.unit is None:
        unit = guess_unit(leg / applied)
        mend = f"unit={unit}" if unit and UNITS[unit] != applied else f"unit={LEG_CM * applied / max(leg, 1e-9):.4g}"
        raise D2MError(f"{where}: its legs would be {leg:.3g} cm long; set {mend}, or unit=auto if recordings differ")
    raise D2MError(
        f"{where}: its legs would be {leg:.3g} cm long with unit={stated.unit}; set unit=auto, or the right one"
    )


def _look_at_pixels(x: Floats, stated: Stated, where: str) -> None:
    torso, largest, least = torso_length(x), float(np.nanmax(np.abs(x))), float(np.nanmin(x))
    if torso < _TORSO_PX:
        square = f"{100 / torso:.3g}"
        shares = f"set picture=[{square},{square}] (both coordinates divided by one length)"
        if largest < _SHARE:
            shares = (
                "set picture=[WIDTH,HEIGHT], its size in pixels, e.g. picture=[1280,720], if they are shares of its "
                f"sides (0 to 1, -1 to 1); if both were divided by one length, e.g. picture=[{square},{square}]"
            )  # fmt: skip
        raise D2MError(f"{where}: a torso of {torso:.2g} pixels, so its coordinates are not pixels; {shares}")
    if stated.picture is None and least >= 0 and largest <= _PERCENT and torso > 0.1 * largest:
        raise D2MError(
            f"{where}: its coordinates end at {largest:.0f}: if they are percentages of a picture's sides, "
            "set picture=[12.8,7.2] for one of 1280 x 720; if they are pixels, picture=[1,1]"
        )
    if stated.picture is not None and torso > _PICTURES * max(*stated.picture, _SMALLEST_PX):
        raise D2MError(f"{where}: a torso of {torso:.0f} pixels; its coordinates are pixels: omit picture=")


def _look_at_crop(x: Floats, where: str) -> None:
    """Check that pictures are not cut to the dancer frame by frame, which stretches and shifts every frame."""
    x = x[np.isfinite(x).all(axis=(1, 2))]
    if len(x) < _FEWEST_FRAMES:
        return
    for axis in (0, 1):
        size = np.ptp(x[..., axis], axis=1)
        same = np.abs(size - np.median(size)) < _CROPPED * np.median(size)
        ends = np.stack([x[..., axis].argmin(axis=1), x[..., axis].argmax(axis=1)])
        reached = (np.bincount(ends.ravel(), minlength=len(JOINTS)) > 0.05 * len(x)).sum()
        if same.mean() > _MOSTLY_CROPPED and reached >= _REACHED:  # many joints reach the edge of one box
            raise D2MError(
                f"{where}: the dancer is as {('wide', 'tall')[axis]} in every frame, so frames are cropped to the "
                "dancer; save coordinates of the whole picture"
            )


def _look_at_limbs(x: Floats, every: Floats, seconds: float, stated: Stated, where: str, source: str) -> None:
    mend, form = _NAMES.get(source, _LEAVE), "its joints form no body, so their names are wrong"
    exchanged = find_swapped(x, seconds) if is_body(x) else ((), None)
    if exchanged is None:
        names = find_crossed(x, seconds) or find_slow_wrist(every, len(every) / seconds)
        if names is not None:
            raise D2MError(f"{where}: {names} are exchanged; {mend if source in _NAMES else _REWRITE}")
        return
    pairs, span = exchanged
    width, height = stated.picture or (1.0, 1.0)
    if width != height:
        side = f"{max(width, height):g}"
        raise D2MError(
            f"{where}: with picture=[{width:g},{height:g}] its limbs are not a human's; if both coordinates were "
            f"divided by one length, set picture=[{side},{side}]"
        )
    if not pairs and source == "npz" and x.shape[-1] == 3 and is_body(x[..., :2]):
        raise D2MError(f"{where}: {form}, or its third numbers are not coordinates; {mend}, or {_FLAT}")
    if not pairs:
        raise D2MError(f"{where}: {form}; {mend}")
    one, other = (" and ".join(JOINTS[pair[i]] for pair in pairs) for i in (0, 1))
    when = f" from {span[0]:.0f} to {span[1]:.0f} s" if span else ""
    if source == "bvh":
        mend = f"name them, names={{{','.join(f'{JOINTS[j]}:JOINT' for pair in pairs for j in pair)}}}"
    elif source == "npz" and span is not None:
        mend = "correct them there, or prepare the rest (start, end)"
    elif source != "npz":
        mend = _REWRITE
    raise D2MError(f"{where}: {one} and {other} are exchanged{when}: no human has such limbs; {mend}")


def _look_at_up(x: Floats, stated: Stated, where: str) -> None:
    default_up = "y" if x.shape[-1] == 3 else "-y"
    if stated.up in (default_up, "auto"):
        return  # then a head below the feet is real
    along = uprightness(x)
    if stated.up is not None and along[default_up] < -_LIES:
        raise D2MError(f"{where}: with up={stated.up} the body stands on its head; set up=auto if recordings differ")
    if stated.up is not None and along[default_up] < _LIES and max(along.values()) > _STANDS:
        raise D2MError(f"{where}: with up={stated.up} the body lies on its side; set up=auto if recordings differ")
    best = max(along, key=lambda d: along[d])
    if along[default_up] < _LIES and along[best] > _STANDS:
        how = "stands on its head" if along[default_up] < -_STANDS else "lies on its side"
        rows = ", with mirror=true swap_sides=true as well if x and y are swapped" if x.shape[-1] == 2 else ""
        rows = rows if best.endswith("x") else ""
        raise D2MError(f"{where}: the body {how} throughout; set up={best} (or up={default_up} if it does){rows}")


def _look_at_sides(x: Floats, stated: Stated, where: str) -> None:
    """Check that knees bend forward, given the body's left and right; exchanged sides or a flipped axis break this."""
    if False in (stated.mirror, stated.swap_sides):
        return
    hips = hip_midpoint(x)
    across = (
        x[:, JOINTS.index("left_shoulder")] - x[:, JOINTS.index("right_shoulder")] + x[:, LEFT_HIP] - x[:, RIGHT_HIP]
    )
    ahead = np.cross(across, x[:, NECK] - hips)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    leg = leg_length(x)
    for hip in (RIGHT_HIP, LEFT_HIP):
        off = ((x[:, hip + 1] - 0.5 * (x[:, hip] + x[:, hip + 2])) * ahead).sum(axis=-1) / leg
        bent = np.abs(off) > _BENT
        if bent.sum() < _SOMETIMES_BENT * len(x) or not (off[bent] < 0).mean() > _BACKWARDS:
            return
    if ((x[:, 0] - x[:, NECK]) * ahead).sum(axis=-1).mean() > 0.03 * leg:
        return  # the nose confirms where the front is
    if stated.mirror or stated.swap_sides:
        said = "mirror=true" if stated.mirror else "swap_sides=true"
        raise D2MError(f"{where}: with {said} its knees bend backwards; prepare this recording separately, without it")
    raise D2MError(
        f"{where}: its knees bend backwards: the sides are swapped (set swap_sides=true) or one axis points the "
        "other way (set mirror=true; mirror=false if it is right)"
    )
