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
from d2m.prepare.sources import SOURCES, PoseClip
from d2m.prepare.sources.axes import LEG_CM, UNITS, guess_unit, leg_length, uprightness
from d2m.prepare.sources.crossed import find_crossed, find_slow_wrist
from d2m.prepare.sources.openpose import RATE_FILE
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
#: Median speed of hands and feet relative to the hips, torsos/s over 0.1 s; dancers have 0.4 to 3.5.
_TOO_FAST = 7.0
#: Below this frame rate, real hands and feet are faster than the second number, or still (below the third). Poses at 30
#: fps that are read as 3 fps are in between.
_FEW_FPS, _TOO_SLOW, _STILL = 12.0, 0.45, 0.02
#: Lowest plausible frame rate: below it the file's or the reader's rate is wrong, unless the user states it.
_FEWEST_FPS = 8.0
#: Largest coordinates below these are shares or percentages of a picture's sides.
_SHARE, _PERCENT = 1.3, 100.0
_FEWEST_FRAMES, _ENOUGH_FRAMES = 8, 600
_MIN_CONFIDENCE = 0.1
_RATES = (10.0, 12.0, 12.5, 15.0, 20.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 100.0, 120.0, 240.0)
_ENDS = tuple(JOINTS.index(f"{side}_{joint}") for joint in ("wrist", "ankle") for side in ("right", "left"))
#: How joints are named, of the sources that name them.
_LEAVE, _REWRITE = "leave the recording out", "leave it out, or write an npz with joint_names"
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


def assumes_rate(source: str, path: Path, stated: Stated) -> bool:
    """Whether a recording's frame rate is neither in its files nor stated by the user."""
    if source == "openpose":
        return not stated.fps and not (path / RATE_FILE).is_file()
    return source == "coco17" and not stated.fps and path.suffix.lower() in (".json", ".npy")


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
        _look_at_limbs(some, x, clip.seconds, stated, where, source)
        _look_at_up(some, stated, where)
        if x.shape[-1] == 3:
            _look_at_sides(some, stated, where)
        _look_at_rate(x, clip.fps, where, reads(source, "fps"), stated.fps is not None)


def _look_at_depth(x: Floats, where: str) -> None:
    depth = np.nanmedian(np.nanmax(x[..., 2], axis=1) - np.nanmin(x[..., 2], axis=1))
    if depth < _DEPTH * torso_length(x):
        raise D2MError(
            f"{where}: a body without depth, its third numbers are not coordinates; save poses of pictures as joints "
            "(frames, 14, 2) and confidence (frames, 14)"
        )


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
        raise D2MError(f"{where}: the body {how} throughout; set up={best} (or up={default_up} if it does)")


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


def _look_at_rate(x: Floats, fps: float, where: str, may_state: bool, is_stated: bool) -> None:
    if fps < _FEWEST_FPS and not is_stated:
        mend = f"set the right rate, e.g. fps=30 (fps={fps:g} if it is right)" if may_state else "leave it out"
        raise D2MError(f"{where}: {fps:g} frames per second are too few for a dance; {mend}")
    step = max(1, round(0.1 * fps))
    about = x[:, _ENDS] - hip_midpoint(x)[:, None]
    torso = torso_length(x)
    if len(about) <= step or not torso > 0:
        return
    away = np.linalg.norm(about[step:] - about[:-step], axis=-1) * (fps / step) / torso
    if np.isfinite(away).sum() < _FEWEST_FRAMES:
        return
    speed = float(np.nanmedian(away))
    mend = "set the right rate, e.g. fps=30" if may_state else "re-encode the film at its true rate"
    if speed > _TOO_FAST:
        raise D2MError(f"{where}: at {fps:g} frames per second hands and feet move at {speed / 2:.0f} m/s; {mend}")
    if fps < _FEW_FPS and _STILL < speed < _TOO_SLOW:
        raise D2MError(f"{where}: at {fps:g} frames per second hands and feet move at only {speed / 2:.2f} m/s; {mend}")


def likely_rate(fps: float, motion_s: float, music_s: float) -> str:
    """A hint naming the usual frame rate at which a motion would last as long as its music; "" if there is none."""
    rate = fps * motion_s / max(music_s, 1e-9)
    best = min(_RATES, key=lambda r: abs(np.log(r / max(rate, 1e-9))))
    near = abs(rate / best - 1.0) * music_s < max(0.3, 0.004 * music_s) and abs(best / fps - 1.0) > 0.002
    return f"; at {best:g} frames per second they would be equally long: set fps={best:g}" if near else ""
